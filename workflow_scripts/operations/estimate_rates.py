"""How fast this machine is at each rule's work, from the benchmarks and job records of an earlier run of the workflow."""

import contextlib
import json
import math
import stat
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.errors import UserError
from ..reporting.tables.cost import read_jobs
from .estimate_work import LIKE, NNUNET_FEATURES, Amounts

USUAL = "the usual start"


@dataclass(frozen=True)
class PlannedJob:
    """A job of a plan: its rule, wildcards, and what it takes of a machine. `needs`: places of others in the list."""

    rule: str
    stage: str
    wildcards: dict[str, str]
    threads: int
    gpus: int
    needs: tuple[int, ...]


@dataclass(frozen=True)
class Rate:
    """Of a rule: seconds of each job, seconds of a unit of `Amounts.of`, peak memory (NaN: not measured), its origin."""

    start_seconds: float
    unit_seconds: float = 0.0
    peak_mib: float = math.nan
    gpus: float = 0.0
    of: str = ""  # the rule, or the file, that it was taken from where that is another

    def seconds(self, work: float | None) -> float:
        return self.start_seconds + self.unit_seconds * (work or 0.0)


def jobs_of_plan(workflow) -> list[PlannedJob]:
    """The jobs of a planned workflow (`plan.plan`), done or not, each after those that it needs; named targets left out."""
    ordered = [job for layer in workflow.dag.toposorted() for job in layer]
    places: dict[Any, int] = {}
    jobs: list[PlannedJob] = []
    for job in ordered:
        if not job.log:
            continue
        needs = tuple(sorted(places[other] for other in workflow.dag.dependencies[job] if other in places))
        threads = dict(job.rule.resources.items()).get("_cores", 1)
        threads = getattr(threads, "value", threads)
        places[job] = len(jobs)
        gpus = int(job.resources.get("gpu") or 0)
        stage = Path(job.rule.snakefile).stem
        wildcards = dict(job.wildcards_dict)
        jobs.append(
            PlannedJob(job.rule.name, stage, wildcards, threads if isinstance(threads, int) else 1, gpus, needs)
        )
    return jobs


def rates_of_run(folder: Path, jobs: Sequence[PlannedJob], amounts: Amounts) -> tuple[dict[str, Rate], str]:
    """Rates by rule from what an earlier run measured, and the devices that it ran on.

    folder : of the earlier run, results/<run>; jobs, amounts : of its own plan
    Raises UserError where nothing was measured there.
    """
    rules = {job.rule for job in jobs}
    measured = read_jobs(folder, sorted(rules))
    if measured.empty:
        raise UserError(f"{folder}/benchmarks holds no benchmark of a job: give the config of a run that was made here")
    tracked = measured.dropna(subset="work_seconds")
    beside = tracked.seconds - tracked.work_seconds
    start = float(beside.clip(lower=0).median()) if len(tracked) else 0.0
    rates = {}
    for rule, rows in measured.groupby("stage"):
        work = [amounts.of(job.rule, job.wildcards) for job in jobs if job.rule == rule]
        known = [amount for amount in work if amount is not None]
        seconds = float(rows.seconds.mean())
        if not known:
            unit = 0.0
        elif rows.work_seconds.notna().any():
            # a job of the rule that has no loop, as carvemix's training, does none of its work
            unit = float(rows.work_seconds.fillna(0).mean()) / (sum(known) / len(known))
        else:  # no loop of it is timed: what it takes beyond a usual start
            unit = max(0.0, seconds - start) / (sum(known) / len(known))
        fixed = max(0.0, seconds - unit * (sum(known) / len(known) if known else 0.0))
        gpus = float(rows.gpus.fillna(0).max())
        rates[str(rule)] = Rate(fixed, unit, float(rows.peak_memory_mib.max()), gpus)
    devices = sorted({device for device in measured.device if device})
    return rates, "; ".join(device for device in devices if device != "CPU" or len(devices) == 1) or "unknown device"


def with_likes(rates: dict[str, Rate], jobs: Sequence[PlannedJob]) -> dict[str, Rate]:
    """A rate for each rule of `jobs`: its own, that of its like, or the median start of rules that ask for a GPU as it does."""
    asks = {job.rule: job.gpus > 0 for job in jobs}
    full = dict(rates)
    for rule, gpu in asks.items():
        like = LIKE.get(rule, "")
        if rule in rates:
            continue
        if like in rates:
            full[rule] = replace(rates[like], of=like)
        else:
            starts = [rate.start_seconds for other, rate in rates.items() if asks.get(other) == gpu]
            full[rule] = Rate(statistics.median(starts or [rate.start_seconds for rate in rates.values()]), of=USUAL)
    return full


# Forward FLOP of nnU-Net for a voxel of a patch, divided by the square of its first width: counted, 380 to 450 for plans of 3
# to 6 stages. Its sliding window sees a voxel about 2**3 times where a volume is larger than a patch.
NNUNET_FLOP, OVERLAP = 450.0, 8
NNUNET_SPEED = 0.25  # operations a second, of the denoiser's: half of its work is on large grids of few channels
TRAININGS = {"train_autoencoder": 0, "train_generator": 2}  # rule -> row of the benchmark
SAMPLERS = ("synthesize", "evaluate_control", "sample_control_sweep", "measure_cost")


def with_benchmark(rates: dict[str, Rate], path: Path, speed: float) -> tuple[dict[str, Rate], str]:
    """Rates whose networks run as fast as `benchmarks.networks` measured on another device, and that device.

    path : the JSON of that benchmark; speed : of the device at hand, as a share of that one's
        nnU-Net is not in the benchmark: it is put at `NNUNET_SPEED` of the denoiser's.
    Raises UserError where the file is none of that benchmark.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = found["rows"]
        flops = {rule: 2e9 * rows[row]["gmacs"] / rows[row]["train_seconds"] for rule, row in TRAININGS.items()}
        forward = 2e9 * rows[2]["gmacs"] / rows[2]["forward_seconds"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{path} is no file of `python -m benchmarks.networks --out` ({error})") from None
    changed = {rule: 1 / (rate * speed) for rule, rate in flops.items()}
    changed |= {rule: 1 / (forward * speed) for rule in (*SAMPLERS, "extract_latents", "measure_reconstruction")}
    changed["train_segmentation"] = NNUNET_FLOP / (flops["train_generator"] * NNUNET_SPEED * speed)
    changed["predict_segmentation"] = NNUNET_FLOP * NNUNET_FEATURES**2 * OVERLAP / (forward * NNUNET_SPEED * speed)
    new = {
        rule: replace(rate, unit_seconds=changed.get(rule, rate.unit_seconds), gpus=rate.gpus)
        for rule, rate in rates.items()
    }
    return new, f"{found['device']}, of which {speed:g} of the speed is taken"


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; links are not followed, and a second name of a file is not counted again."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) and (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_size
    return total
