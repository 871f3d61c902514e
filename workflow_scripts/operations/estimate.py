"""What a study will cost: jobs, hours, GPU hours and memory by stage, its disk, and which settings would halve it."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .estimate_rates import PlannedJob, Rate, folder_bytes
from .estimate_work import Amounts

TOTAL = "all stages"


def seconds_of(jobs: Sequence[PlannedJob], rates: Mapping[str, Rate], amounts: Amounts) -> list[float]:
    """Seconds of each job."""
    return [rates[job.rule].seconds(amounts.of(job.rule, job.wildcards)) for job in jobs]


def wall_seconds(jobs: Sequence[PlannedJob], seconds: Sequence[float], cores: int, gpus: int) -> float:
    """When the last job ends on one machine, where each starts as soon as what it needs, its threads and its GPU are there."""
    waiting = {place: len(job.needs) for place, job in enumerate(jobs)}
    follow: dict[int, list[int]] = {}
    for place, job in enumerate(jobs):
        for other in job.needs:
            follow.setdefault(other, []).append(place)
    ready = [place for place, count in waiting.items() if not count]
    running: list[tuple[float, int]] = []
    now, free_cores, free_gpus = 0.0, cores, gpus
    while ready or running:
        for place in sorted(ready, key=lambda place: -seconds[place]):
            threads, cards = min(jobs[place].threads, cores), min(jobs[place].gpus, gpus)
            if threads <= free_cores and cards <= free_gpus:
                free_cores, free_gpus = free_cores - threads, free_gpus - cards
                ready.remove(place)
                heapq.heappush(running, (now + seconds[place], place))
        now, place = heapq.heappop(running)
        free_cores += min(jobs[place].threads, cores)
        free_gpus += min(jobs[place].gpus, gpus)
        for other in follow.get(place, []):
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return now


def estimate_table(jobs: Sequence[PlannedJob], rates: Mapping[str, Rate], amounts: Amounts) -> pd.DataFrame:
    """One row a rule, in the order of the plan, and one for all: stage, jobs, hours, gpu_hours, peak_memory_mib, measured_by.

    hours : summed over jobs; gpu_hours : the part of it in which a GPU is held, times how many; peak_memory_mib : of the
    largest job measured, NaN where none was.
    """
    hours = [seconds / 3600 for seconds in seconds_of(jobs, rates, amounts)]
    gpu_hours = [each * job.gpus for each, job in zip(hours, jobs, strict=True)]
    each_job = {"stage": [job.rule for job in jobs], "jobs": 1, "hours": hours, "gpu_hours": gpu_hours}
    table = pd.DataFrame(each_job).groupby("stage", sort=False, as_index=False).sum()
    table["peak_memory_mib"] = [rates[rule].peak_mib for rule in table.stage]
    table["by"] = [rates[rule].of for rule in table.stage]
    total = {"stage": TOTAL, "jobs": len(jobs), **table[["hours", "gpu_hours"]].sum()}
    total |= {"peak_memory_mib": table.peak_memory_mib.max(), "by": ""}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


@dataclass(frozen=True)
class Place:
    """A part of a run's folder: its name, the folders' patterns, and the rules by whose work it grows (none: by jobs)."""

    name: str
    patterns: tuple[str, ...]
    cases: str = ""


PLACES = (
    Place("simulated patients", ("demo_cohort",), "demo"),
    Place("preprocessed volumes", ("cohort/volumes",), "cohort"),
    Place("synthetic volumes", ("n_real~*/synthetic",), "synthetic"),
    Place("segmenter's pools", ("n_real~*/segmentation/*/pool",), "pool"),
    Place("predictions", ("n_real~*/segmentation/**/predictions",), "predictions"),
    Place("models and states", ("n_real~*/autoencoder", "n_real~*/generator", ".state"), "models"),
)


def disk_units(amounts: Amounts, jobs: Sequence[PlannedJob]) -> dict[str, float]:
    """How much of each place of `PLACES` a study fills, in units of its own: voxels of cases, or models."""
    splits, block = amounts.splits, amounts.synthesis["block_size"]
    blocks = sum(job.rule == "synthesize" for job in jobs)
    pools = sum(job.rule == "pool_synthetic" for job in jobs)
    real = sum(n + splits["val"] for n in splits["n_real"])
    predicted = sum(job.rule == "predict_segmentation" for job in jobs) * len(amounts.config["segmentation"]["seeds"])
    return {
        "demo": amounts.cases / amounts.config["demo_cohort"]["spacing_mm"] ** 3,
        "cohort": amounts.cases * amounts.voxels,
        "synthetic": blocks * block * amounts.voxels,
        "pool": (pools * block + real) * amounts.voxels,
        "predictions": predicted * splits["test"] * amounts.voxels,
        "models": sum(job.rule in ("train_autoencoder", "train_generator") for job in jobs),
    }


def disk_bytes(earlier: Path, before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """Bytes of each place, by what an earlier run filled: `before` and `now` are the `disk_units` of both studies.

    A place that the earlier run lacks takes as many bytes a voxel as the preprocessed volumes.
    """
    per_unit = {}
    for place in PLACES:
        size = sum(folder_bytes(folder) for pattern in place.patterns for folder in earlier.glob(pattern))
        if size and before[place.cases]:
            per_unit[place.cases] = size / before[place.cases]
    volumes = per_unit.get("cohort", 0.0)
    likes = {"demo": 0.0, "models": 0.0}
    return {
        place.name: now[place.cases] * per_unit.get(place.cases, likes.get(place.cases, volumes)) for place in PLACES
    }


def cheaper_settings(config: Mapping) -> list[str]:
    """Settings that would each make the study smaller, as one writes them behind --config."""
    segmentation, found = config["segmentation"], []
    if len(config["splits"]["n_real"]) > 1:
        found.append(f"splits={{n_real: {sorted(config['splits']['n_real'])[:-1]}}}")
    if len(segmentation["seeds"]) > 1:
        found.append(f"segmentation={{seeds: {segmentation['seeds'][: len(segmentation['seeds']) // 2]}}}")
    if len(segmentation["ratios"]) > 2:
        found.append(f"segmentation={{ratios: {[0, 1]}}}")
    epochs = segmentation["epochs"] or 1000
    if epochs > 1:
        found.append(f"segmentation={{epochs: {epochs // 2}}}")
    if segmentation["mirroring"]:
        found.append("segmentation={mirroring: false}")
    if len(config["systems"]) > 1:
        found.append(f"systems=[{config['systems'][0]}]")
    for name, system in config["system"].items():
        for part, block in system.items():
            steps = ((block if isinstance(block, dict) else {}).get("training") or {}).get("steps", 0)
            if steps > 1:
                found.append(f"system_settings={{{name}: {{{part}: {{training: {{steps: {steps // 2}}}}}}}}}")
    return found


def amount_text(hours: float) -> str:
    """Minutes below two hours, hours below two days, else days."""
    if hours < 2:
        return f"{hours * 60:.1f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def estimate_text(table: pd.DataFrame, wall_hours: float, disk: Mapping[str, float], on_gpu: bool) -> list[str]:
    """The table and the sum as people read them; without a GPU its column is left out."""
    rows = [["stage", "jobs", "time", *(["GPU time"] if on_gpu else []), "peak memory"]]
    for row in table.itertuples():
        memory = "-" if math.isnan(row.peak_memory_mib) else f"{row.peak_memory_mib:,.0f} MiB"
        gpu = [amount_text(row.gpu_hours) if row.gpu_hours else "-"] if on_gpu else []
        rows.append([row.stage, str(row.jobs), amount_text(row.hours), *gpu, memory])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    lines.insert(len(lines) - 1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    parts = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in disk.items() if size >= 5e6)
    return [
        *lines,
        "",
        f"On this machine alone: {amount_text(wall_hours)}.",
        f"Disk: {sum(disk.values()) / 1e9:.2f} GB ({parts}).",
    ]
