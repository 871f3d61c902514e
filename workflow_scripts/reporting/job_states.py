"""The state of every job of a study: the plan, Snakemake's logs, the processes of this machine and Slurm's queue together."""

from __future__ import annotations

import getpass
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .planned_jobs import PlannedJob
from .run_log import FAILED, STARTED, LoggedJob, RunLog

DONE, RUNNING, QUEUED, WAITING, FAILED_JOB, CUT_OFF = "done", "running", "queued", "waiting", "failed", "cut off"
STATES = (DONE, RUNNING, QUEUED, WAITING, FAILED_JOB, CUT_OFF)
FRESH_SECONDS = 600.0
LOCKS = Path(".snakemake/locks")
_PENDING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}


@dataclass(frozen=True)
class Machine:
    """What can be seen from here, beside files.

    Attributes
    ----------
    host : name of this machine
    open_files : logs of runs that a Snakemake of this machine is writing, absolute
    job_logs : logs of jobs that a process of this machine is writing, absolute
    slurm : state of each of the user's jobs in Slurm's queue, by id; empty without Slurm
    """

    host: str
    open_files: frozenset[Path]
    job_logs: frozenset[Path]
    slurm: dict[str, str]


@dataclass(frozen=True)
class JobState:
    """A planned job, the state it is in, and what the newest run that started it logged of it (None: no run did)."""

    job: PlannedJob
    state: str
    logged: LoggedJob | None = None


@dataclass(frozen=True)
class Study:
    """The state of a study: its jobs, the newest run that concerns them, whether it goes on, and whether one locks the folder."""

    jobs: list[JobState]
    run: RunLog | None
    alive: bool
    locked: bool = False


def look_around(ask_slurm: bool) -> Machine:
    """What this machine's processes and Slurm's queue tell."""
    import psutil

    open_files, job_logs = set(), set()
    for process in psutil.process_iter(["name", "cmdline"]):
        command = process.info["cmdline"] or []
        try:
            if process.info["name"] == "tee":  # rules write their logs through it
                job_logs |= {Path(process.cwd(), word) for word in command[1:]}
            elif any("snakemake" in word for word in command):
                open_files |= {Path(file.path) for file in process.open_files()}
        except psutil.Error:  # ended meanwhile, or another user's
            continue
    slurm = _slurm_queue() if ask_slurm else {}
    return Machine(platform.node(), frozenset(open_files), frozenset(job_logs), slurm)


def _slurm_queue() -> dict[str, str]:
    if not shutil.which("squeue"):
        return {}
    command = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(line.strip().split("|", 1) for line in done.stdout.splitlines() if "|" in line)


def goes_on(run: RunLog, machine: Machine, workdir: Path) -> bool:
    """Whether the Snakemake of `run` still works.

    On its own machine the process tells, which holds its log open. From elsewhere: a job of it in Slurm's queue, or
    a log of it or of one of its jobs that was written to in the last ten minutes.
    """
    if run.complete:
        return False
    if run.path.absolute() in machine.open_files:
        return True
    if run.host in ("", machine.host):
        return False
    begun = [job for job in run.jobs.values() if job.state == STARTED]
    if any(job.slurm_id in machine.slurm for job in begun):
        return True
    return any(_is_fresh(path) for path in (run.path, *(workdir / job.log for job in begun if job.log)))


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < FRESH_SECONDS
    except OSError:
        return False


def study_state(planned: Sequence[PlannedJob], runs: Sequence[RunLog], machine: Machine, workdir: Path) -> Study:
    """The state of every planned job. `runs` are the newest first; those that know none of the jobs are passed over."""
    logs = {job.log for job in planned}
    runs = [run for run in runs if any(job.log in logs for job in run.jobs.values())]
    alive = [goes_on(run, machine, workdir) for run in runs]
    newest: dict[str, tuple[LoggedJob, int]] = {}  # log -> the job as its newest run knows it, number of that run
    for number, run in reversed(list(enumerate(runs))):
        newest |= {job.log: (job, number) for job in run.jobs.values() if job.log in logs}
    states = []
    for job in planned:
        logged, number = newest.get(job.log, (None, 0))
        if logged is None:
            state = DONE if job.up_to_date else WAITING
        else:
            # a run that goes on will come to what an older one left undone
            hope = number > 0 and any(alive[:number])
            state = _state(job, logged, alive[number], hope, machine, workdir)
        states.append(JobState(job, state, logged))
    locked = any((workdir / LOCKS).glob("*.lock"))
    return Study(states, runs[0] if runs else None, any(alive), locked)


def _state(job: PlannedJob, logged: LoggedJob, alive: bool, hope: bool, machine: Machine, workdir: Path) -> str:
    if logged.grouped and not (workdir / job.log).exists() and not job.up_to_date:
        return WAITING  # for the jobs before it in its group, or it was never reached
    if logged.state == STARTED:
        in_queue = machine.slurm.get(logged.slurm_id)
        if in_queue:
            return QUEUED if in_queue in _PENDING else RUNNING
        if alive or workdir.absolute() / job.log in machine.job_logs:
            return RUNNING
        return WAITING if hope else CUT_OFF  # also where its files are there: Snakemake does not trust them
    if job.up_to_date:
        return DONE
    if logged.state == FAILED:
        return WAITING if hope else FAILED_JOB
    return WAITING


def seconds_in_state(logged: LoggedJob, now: datetime) -> float | None:
    """Seconds since a job entered its state; None where the log tells no time."""
    return None if logged.since is None else max(0.0, (now - logged.since).total_seconds())
