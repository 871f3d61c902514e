"""What a job of a Slurm cluster knows of itself: when its time is up, and the way back into the queue."""

from __future__ import annotations

import os
import time

from ..cli import log
from ..errors import UserError
from .queries import ask, parse_minutes


def job_id() -> str | None:
    """Slurm's number of the job that this process belongs to; None outside Slurm."""
    return os.environ.get("SLURM_JOB_ID")


def seconds_left() -> float | None:
    """Seconds until Slurm ends this job; None outside Slurm, without a limit, or where Slurm does not tell."""
    if job_id() is None:
        return None
    if end := os.environ.get("SLURM_JOB_END_TIME"):  # newer versions of Slurm
        return float(end) - time.time()
    answer = _answer("squeue", "--noheader", "--jobs", job_id(), "--format", "%L")
    minutes = None if answer is None else parse_minutes(answer.strip())
    return None if minutes is None else 60.0 * minutes


def requeue() -> bool:
    """Ask Slurm to put this job back into the queue, under the same number; False where it refused.

    Slurm then ends the job's processes, this one among them, and starts the job anew.
    """
    if job_id() is None or _answer("scontrol", "requeue", job_id()) is None:
        return False
    log.info("job %s goes back to the queue, and goes on from its checkpoint when it starts again", job_id())
    return True


def _answer(*command: str) -> str | None:
    """What a command of Slurm says; None, and a line in the log, where it fails: the training goes on without."""
    try:
        return ask(*command)
    except UserError as error:
        log.warning("%s", error)
        return None
