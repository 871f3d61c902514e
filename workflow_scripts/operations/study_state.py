"""The state of every job of a study: the plan, the events of the runs, this machine's processes and Slurm's queue together."""

import contextlib
import getpass
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .run_events import FAILED, STARTED, Noted, Run

DONE, RUNNING, QUEUED, WAITING, BROKEN, CUT_OFF = STATES = "done", "running", "queued", "waiting", "failed", "cut off"
FRESH_SECONDS = 600.0
_IN_QUEUE = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}


@dataclass
class Job:
    """A job of the study; `noted` is what the newest run that started it noted, None where no run did."""

    rule: str
    log: str  # relative to the working directory
    up_to_date: bool
    state: str = WAITING
    noted: Noted | None = None


@dataclass(frozen=True)
class Study:
    """A study's jobs, the newest run that concerns it, whether a run goes on, and whether one locks the folder."""

    jobs: list[Job]
    run: Run | None
    alive: bool
    locked: bool = False


def jobs_of(workflow) -> list[Job]:
    """The jobs of a planned workflow (`plan.plan`), in the order of the rule files; named targets, without log, left out."""
    order = {rule.name: number for number, rule in enumerate(workflow.rules)}
    jobs = [Job(job.rule.name, str(job.log[0]), not workflow.dag.needrun(job)) for job in workflow.dag.jobs if job.log]
    return sorted(jobs, key=lambda job: (order[job.rule], job.log))


def slurm_queue() -> dict[str, str]:
    """State of each of the user's jobs in Slurm's queue, by number; empty without a Slurm that answers."""
    command = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(line.strip().split("|", 1) for line in done.stdout.splitlines() if "|" in line)


def logs_in_writing() -> set[Path]:
    """Logs that a process of this machine writes: rules pipe what they say through tee."""
    import psutil

    found = set()
    for process in psutil.process_iter(["name", "cmdline"]):
        with contextlib.suppress(psutil.Error):  # ended meanwhile, or another user's
            if process.info["name"] == "tee":
                found |= {Path(process.cwd(), word) for word in process.info["cmdline"][1:]}
    return found


def goes_on(run: Run, queue: dict[str, str], workdir: Path) -> bool:
    """Whether the Snakemake of `run` still works: its process tells on its own machine.

    From elsewhere: a job of it in Slurm's queue, or a log of it or of one of its jobs written to in ten minutes.
    """
    import psutil

    if run.ended or not run.host:
        return False
    if run.host == platform.node():
        try:
            return abs(psutil.Process(run.process[0]).create_time() - run.process[1]) < 1
        except psutil.Error:
            return False
    begun = {log: noted for log, noted in run.jobs.items() if noted.state == STARTED}
    if any(noted.slurm_id in queue for noted in begun.values()):
        return True
    return any(silent_seconds(path) < FRESH_SECONDS for path in (run.path, *(workdir / log for log in begun)))


def silent_seconds(path: Path) -> float:
    """Seconds since a file was written to; infinity where there is none."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")


def study_state(jobs: list[Job], runs: Sequence[Run], workdir: Path) -> Study:
    """Give every job its state. `runs` are the newest first; those that know none of the jobs are passed over."""
    logs = {job.log for job in jobs}
    runs = [run for run in runs if logs & run.jobs.keys()]
    queue = slurm_queue() if any(noted.slurm_id for run in runs for noted in run.jobs.values()) else {}
    alive = [goes_on(run, queue, workdir) for run in runs]
    written = logs_in_writing()
    for job in jobs:
        number = next((number for number, run in enumerate(runs) if job.log in run.jobs), None)
        if number is None:
            job.state = DONE if job.up_to_date else WAITING
            continue
        job.noted = noted = runs[number].jobs[job.log]
        path = workdir.absolute() / job.log
        hope = any(alive[:number])  # a run that goes on will come to what an older one left undone
        in_queue = queue.get(noted.slurm_id)
        if noted.grouped and not path.exists() and not job.up_to_date:
            job.state = WAITING  # for the jobs before it in its group, or it was never reached
        elif noted.state == STARTED and in_queue:
            job.state = QUEUED if in_queue in _IN_QUEUE else RUNNING
        elif noted.state == STARTED and (alive[number] or path in written):
            job.state = RUNNING
        elif noted.state == STARTED:  # also where its files are there: Snakemake does not trust them
            job.state = WAITING if hope else CUT_OFF
        elif job.up_to_date:
            job.state = DONE
        elif noted.state == FAILED and not hope and not (alive[number] and noted.failures <= runs[number].retries):
            job.state = BROKEN
    return Study(jobs, runs[0] if runs else None, any(alive), any((workdir / ".snakemake/locks").glob("*.lock")))
