"""Slurm, as a job or a login node asks it: its commands, when this job's time is up, and the way back into the queue."""

import os
import re
import subprocess
import time

from .cli import log
from .errors import UserError

ANSWER_SECONDS = 40.0  # Slurm's own commands give up sooner: MessageTimeout is 10 s


def ask_slurm(*command: str) -> str:
    """Standard output of a command of Slurm. Raises UserError where it is missing, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is not on the PATH: this machine is no login node of a Slurm cluster, or its Slurm commands "
            "come with a module (`module avail slurm`)"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"Slurm does not answer: {command[0]} said nothing in {ANSWER_SECONDS:.0f} s. Ask `scontrol ping`, and try again"
        ) from None
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise UserError(
            f"Slurm does not answer: {command[0]} says {said!r}. Ask `scontrol ping`, and try again; if it stays so, "
            "ask the cluster's administrators"
        )
    return done.stdout


def parse_minutes(limit: str) -> float | None:
    """Minutes of a time limit as Slurm prints it (``2-00:00:00``, ``4:00:00``, ``30:00``); None for no limit."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        return None  # infinite, n/a
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 1:
        hours, minutes, seconds = 0, parts[0], 0
    else:
        hours, minutes, seconds = [0, *parts][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def job_id() -> str | None:
    """Slurm's number of the job that this process belongs to; None outside Slurm."""
    return os.environ.get("SLURM_JOB_ID")


def seconds_left() -> float | None:
    """Seconds until Slurm ends this job; None outside Slurm, without a limit, or where Slurm does not tell."""
    if (job := job_id()) is None:
        return None
    if end := os.environ.get("SLURM_JOB_END_TIME"):  # newer versions of Slurm
        return float(end) - time.time()
    answer = _answer("squeue", "--noheader", "--jobs", job, "--format", "%L")
    minutes = None if answer is None else parse_minutes(answer.strip())
    return None if minutes is None else 60.0 * minutes


def requeue() -> bool:
    """Ask Slurm to put this job back into the queue, under the same number; False where it refused.

    Slurm then ends the job's processes, this one among them, and starts the job anew.
    """
    if (job := job_id()) is None or _answer("scontrol", "requeue", job) is None:
        return False
    log.info("job %s goes back to the queue, and goes on from its checkpoint when it starts again", job)
    return True


def _answer(*command: str) -> str | None:
    """What a command of Slurm says; None, and a line in the log, where it fails: the training goes on without."""
    try:
        return ask_slurm(*command)
    except UserError as error:
        log.warning("%s", error)
        return None
