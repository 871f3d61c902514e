"""What a job ran on: a small JSON beside its log, from which the table of the run's cost takes its GPU hours."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import read_json, write_json

PLACE = "SLICEAUG_JOB_RECORD"  # in the environment: processes that a program starts write into the same record


def begin(log: str) -> Path:
    """Begin the record of the job with this log: it runs no network so far, and starts from nothing. Returns its path."""
    path = Path(log).with_suffix(".json")
    os.environ[PLACE] = str(path)
    with suppress(OSError):
        path.unlink(missing_ok=True)
    note(device="CPU", gpus=0, resumed=False)
    return path


def note_work(unit: str, units: int, seconds: float) -> None:
    """Add to the record that the job made `units` of its long work, in `seconds` by their steady rate."""
    note(work={"unit": unit, "units": units, "seconds": seconds})


def note(**facts: Any) -> None:
    """Add to the record: device (its name), gpus (how many), resumed, work (added to that noted before). Without a record, or in another task of srun than the
    first, nothing; a disk that refuses costs the record, and not the job."""
    place = os.environ.get(PLACE)
    if place is None or (int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1 and os.environ.get("SLURM_PROCID") != "0"):
        return
    known: dict = {}
    with suppress(UserError, OSError):
        known = read_json(place)
    if "work" in facts:
        facts["work"] = [*known.get("work", []), facts["work"]]
    with suppress(OSError):
        write_json(place, known | facts)
