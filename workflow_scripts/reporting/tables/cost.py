"""What the run cost: hours and memory of its jobs, from Snakemake's benchmark files and from the jobs' own records."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ...base.errors import UserError
from ...base.files import read_json
from ...evaluation.statistics.ratio_table import NOT_MEASURED
from .text import Table

JOB_COLUMNS = ("stage", "seconds", "cpu_seconds", "peak_memory_mib", "gpus", "device", "resumed", "work_seconds")
TOTAL = "all stages"
OWN = Path("make_table/cost.tsv")  # benchmark of the job that makes this table: of an earlier time


def stage_of(benchmark: Path) -> str:
    """The rule of a benchmark file, from its path under benchmarks/: ``n_real~20/synthesize/slice_ldm/3.tsv``."""
    parts = [part for part in benchmark.with_suffix("").parts if not part.startswith("n_real~")]
    return parts[0]


def read_jobs(run: Path, stages: Sequence[str]) -> pd.DataFrame:
    """`JOB_COLUMNS` of every job of `stages` with a benchmark file under `run`; what was not measured is NaN or "".

    Raises UserError that names a benchmark file which cannot be read.
    """
    rows = []
    for path in sorted((run / "benchmarks").rglob("*.tsv")):
        place = path.relative_to(run / "benchmarks")
        if stage_of(place) in stages and place != OWN:
            record = (run / "logs" / place).with_suffix(".json")
            rows.append({"stage": stage_of(place), **_measured(path), **_recorded(record)})
    return pd.DataFrame(rows, columns=list(JOB_COLUMNS))


def _measured(path: Path) -> dict[str, float]:
    try:
        row = pd.read_csv(path, sep="\t", na_values=["NA", "-"]).iloc[-1]
        return {
            "seconds": float(row["s"]),
            "cpu_seconds": float(row["cpu_time"]),
            "peak_memory_mib": float(row["max_rss"]),
        }
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"{path} is no benchmark file of Snakemake ({error}): remove it, its job is then not counted"
        ) from None


def _recorded(record: Path) -> dict[str, object]:
    """What `base.job_record` holds of a job."""
    try:
        found = read_json(record)
        work = sum(part["seconds"] for part in found["work"]) if "work" in found else np.nan
        known = {"gpus": int(found["gpus"]), "device": str(found["device"]), "resumed": bool(found["resumed"])}
        return known | {"work_seconds": work}
    except (UserError, OSError, KeyError, TypeError, ValueError):
        return {"gpus": np.nan, "device": "", "resumed": np.nan, "work_seconds": np.nan}


def cost_table(jobs: pd.DataFrame, stages: Sequence[str]) -> pd.DataFrame:
    """One row a stage, in the order of `stages`, and a last row for all: job counts, hours, MiB, devices.

    CPU hours and memory are over the jobs that were sampled; ``unsampled_jobs`` ended before the first sample. GPU hours
    are "not measured" where the record of a job is missing, since it alone tells whether a GPU was used.
    """
    parts = [(stage, jobs[jobs.stage == stage]) for stage in stages]
    rows = [_row(stage, part) for stage, part in parts if len(part)]
    return pd.DataFrame([*rows, _row(TOTAL, jobs)])


def _row(stage: str, jobs: pd.DataFrame) -> dict[str, object]:
    sampled = jobs.cpu_seconds.notna()
    peak, gpu_seconds = jobs.peak_memory_mib.max(), (jobs.seconds * jobs.gpus).sum(skipna=False)
    return {
        "stage": stage,
        "jobs": len(jobs),
        "wall_hours": round(jobs.seconds.sum() / 3600, 6),
        "gpu_hours": NOT_MEASURED if np.isnan(gpu_seconds) else round(gpu_seconds / 3600, 6),
        "cpu_hours": round(jobs.cpu_seconds.sum() / 3600, 6) if sampled.any() else NOT_MEASURED,
        "peak_memory_mib": NOT_MEASURED if np.isnan(peak) else round(peak, 2),
        "devices": "; ".join(sorted({device for device in jobs.device if device})) or NOT_MEASURED,
        "resumed_jobs": int((jobs.resumed == True).sum()),  # noqa: E712  (NaN where the record is missing)
        "unsampled_jobs": int((~sampled).sum()),
    }


def readable_cost(table: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it, all cells text: in minutes where all of it took less than two hours."""
    unit, per_hour, digits = ("min", 60, 1) if table.wall_hours.iloc[-1] < 2 else ("h", 1, 2)

    def shown(value: object, factor: float, digits: int) -> str:
        return value if isinstance(value, str) else f"{value * factor:,.{digits}f}" if value else "0"

    rows = []
    for row in table.itertuples():
        times = {"wall": row.wall_hours, "GPU": row.gpu_hours, "CPU": row.cpu_hours}
        cells = {f"{name} time, {unit}": shown(hours, per_hour, digits) for name, hours in times.items()}
        memory = shown(row.peak_memory_mib, 1, 0)
        rows.append({"stage": row.stage, "jobs": str(row.jobs), **cells, "peak memory, MiB": memory})
    return pd.DataFrame(rows)


def beside_estimate(table: pd.DataFrame, rows: Sequence[dict]) -> pd.DataFrame:
    """Wall time of each stage as `make estimate` said (`rows` of its estimate.json) and as measured, and their ratio; all
    stages are those of both."""
    said = {row["stage"]: row["hours"] for row in rows if row["stage"] != TOTAL}
    took = {row.stage: row.wall_hours for row in table.itertuples() if row.stage in said}
    pairs = [*((stage, said[stage], hours) for stage, hours in took.items())]
    pairs.append((TOTAL, sum(said[stage] for stage in took), sum(took.values())))
    return pd.DataFrame(
        {
            "stage": stage,
            "estimated, min": f"{before * 60:,.1f}",
            "measured, min": f"{after * 60:,.1f}",
            "estimated / measured": f"{before / after:.2f}" if after else "-",
        }
        for stage, before, after in pairs
    )


def cost_notes(table: pd.DataFrame) -> list[str]:
    """What the numbers are, and what they leave out."""
    total = table.iloc[-1]
    gpus = [device for device in str(total.devices).split("; ") if device not in ("CPU", NOT_MEASURED)]
    if isinstance(total.gpu_hours, str):
        used = "not measured where the record of a job (the JSON beside its log) is missing, which alone tells whether a GPU was used."
    elif gpus:
        used = f"wall time of the jobs that ran on a GPU, times their GPUs ({'; '.join(gpus)})."
    else:
        used = "0, since no GPU was used."
    notes = [
        "Measured by Snakemake, job by job. Wall time: summed over jobs, from start to end of each, waiting in a queue not "
        "counted; jobs that ran side by side add up.",
        f"GPU time: {used}",
        "CPU time and peak memory (of all processes of a job, the largest job of the stage) are samples, every half second "
        "at first and every 30 s later: the last half minute of a job may be missing from them, so both are lower bounds.",
        "Each job counts with its last attempt: what was killed or failed before is not in it.",
    ]
    if total.resumed_jobs:
        notes.append(
            f"{total.resumed_jobs} of the jobs went on from a checkpoint of an earlier attempt, whose time is missing here."
        )
    if total.unsampled_jobs:
        notes.append(
            f"{total.unsampled_jobs} of the jobs ended before the first sample: their CPU time and memory are unknown."
        )
    notes.append(
        "Every job whose benchmark file lies in the run's folder is counted, those of settings that the config no longer has "
        "included. This table and the report are not."
    )
    return notes


def _make(files: dict[str, list[Path]], settings: dict) -> pd.DataFrame:
    run, stages = Path(settings["run"]), settings["stages"]
    jobs = read_jobs(run, stages)
    if jobs.empty:
        raise UserError(f"{run}/benchmarks holds no benchmark file of these stages: run Snakemake first")
    return cost_table(jobs, stages)


TABLE = Table(
    "What the run cost",
    _make,
    lambda table, settings: [("", readable_cost(table))],
    lambda table, simulated: cost_notes(table),
)
