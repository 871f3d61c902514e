"""What a job of a Slurm cluster knows of itself: when its time is up, and the way back into the queue."""

from __future__ import annotations

import os
import subprocess
import time

from .cli import log

ASK_SECONDS = 20  # a busy controller answers late; a job must not wait for it for long


def job_id() -> str | None:
    """Slurm's number of the job that this process belongs to; None outside Slurm."""
    return os.environ.get("SLURM_JOB_ID")


def seconds_left() -> float | None:
    """Seconds until Slurm ends this job; None outside Slurm, without a limit, or where Slurm does not tell."""
    if job_id() is None:
        return None
    if end := os.environ.get("SLURM_JOB_END_TIME"):  # newer versions of Slurm
        return float(end) - time.time()
    answer = _ask("squeue", "--noheader", "--jobs", job_id(), "--format", "%L")
    return None if answer is None else seconds_of(answer.strip())


def requeue() -> bool:
    """Ask Slurm to put this job back into the queue, under the same number; False where it refused.

    Slurm then ends the job's processes, this one among them, and starts the job anew.
    """
    if job_id() is None or _ask("scontrol", "requeue", job_id()) is None:
        return False
    log.info("job %s goes back to the queue, and goes on from its checkpoint when it starts again", job_id())
    return True


def is_alive(job: str) -> bool:
    """Whether Slurm knows `job` as running, or ending; False as well where Slurm does not answer."""
    states = _ask("squeue", "--noheader", "--jobs", job, "--format", "%T")
    return states is not None and any(state in ("RUNNING", "COMPLETING", "SUSPENDED") for state in states.split())


def seconds_of(left: str) -> float | None:
    """Seconds of Slurm's [days-][[hours:]minutes:]seconds; None for UNLIMITED, NOT_SET, INVALID."""
    days, dash, clock = left.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in ([days] if dash else []) + parts):
        return None
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return float(seconds + 86400 * int(days or 0))


def _ask(*command: str) -> str | None:
    """The answer of one of Slurm's commands; None, and a line in the log, where there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        log.warning("%s: %s", command[0], said)
        return None
    return done.stdout
