"""What the runs of Snakemake in a folder did: Snakemake's own events of each job, an event a line, a file a run."""

import contextlib
import json
import logging
import os
import platform
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

EVENTS = Path(".snakemake/events")
STARTED, FINISHED, FAILED = "started", "finished", "failed"
_STATUS = re.compile(r"returned non-zero exit status (\d+)\.|died with <Signals\.(SIG\w+)")


class EventFile(logging.Handler):
    """Writes the events of the run that this process makes; a dry run leaves no file."""

    def __init__(self, workflow, begun: Callable[[], None] = lambda: None):
        super().__init__()
        self.workflow, self.begun, self.file = workflow, begun, None
        self.logs: dict[int, str] = {}  # of each job that was started, by Snakemake's number
        self.group_log = self.ended_by = ""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a full disk ends no study
            note = getattr(self, f"_{getattr(record, 'event', None)}", None)
            if note and not self.workflow.dryrun:
                note(record)

    def _write(self, **values) -> None:
        with self.lock:
            if self.file is None:
                self.file = self._open()
            self.file.write(json.dumps({"time": time.time()} | values) + "\n")
            self.file.flush()

    def _open(self):
        """A new file, whose first line tells of the run."""
        import psutil

        self.begun()
        EVENTS.mkdir(parents=True, exist_ok=True)
        name = f"{time.strftime('%Y-%m-%dT%H%M%S')}-{os.getpid()}.jsonl"
        settings = self.workflow.config_settings
        run = {
            "time": time.time(),
            "host": platform.node(),
            "process": [os.getpid(), psutil.Process().create_time()],
            "configfiles": [str(path) for path in settings.configfiles],
            "config": list(settings.config_args or []),
            "retries": self.workflow.execution_settings.retries,
        }
        self._note_slurm_ids(self.workflow.persistence)
        file = (EVENTS / name).open("a", encoding="utf-8")
        file.write(json.dumps(run) + "\n")
        return file

    def _note_slurm_ids(self, persistence) -> None:
        """Snakemake marks what a job makes as begun, with the job's number in Slurm: no event tells it, and the job itself,
        which marks it again, drops it."""
        mark = persistence.started

        def mark_and_note(job, external_jobid=None):
            mark(job, external_jobid)
            if external_jobid and job.log:
                with contextlib.suppress(OSError):
                    self._write(slurm_id=external_jobid, log=str(job.log[0]))

        persistence.started = mark_and_note

    def _run_info(self, record) -> None:
        """How many jobs of each rule are to run; a rule's stage is its file in rules/. Named targets have no log."""
        rules = [(rule, record.stats.get(rule.name, 0)) for rule in self.workflow.rules if rule.log]
        planned = {rule.name: [Path(rule.snakefile).stem, count] for rule, count in rules if count}
        if planned:
            self._write(planned=planned)

    def _job_info(self, record) -> None:
        if record.log:  # named targets have none
            self.logs[record.jobid] = record.log[0]
            self._write(state=STARTED, log=record.log[0], grouped=record.indent, rule=record.rule_name)

    def _job_finished(self, record) -> None:
        if record.job_id in self.logs:
            self._write(state=FINISHED, log=self.logs[record.job_id])

    def _error(self, record) -> None:
        if found := _STATUS.search(record.getMessage()):
            self.ended_by = found[2] or _signal_of(int(found[1]))

    def _group_error(self, record) -> None:
        self.group_log = str((record.aux_logs or [""])[-1])  # an error of each of its jobs follows

    def _job_error(self, record) -> None:
        own, *others = map(str, record.log or [""])
        message = record.rule_msg or (f"ended by {self.ended_by}" if self.ended_by else "")
        slurm_log = self.group_log if record.indent else others[-1] if others else ""
        self._write(state=FAILED, log=own, grouped=record.indent, message=message, slurm_log=slurm_log)
        self.ended_by = ""

    def close(self) -> None:
        """Called at the end of the process, unless that is killed."""
        if self.file:
            with contextlib.suppress(OSError):
                self._write(ended=True)
                self.file.close()
            self.file = None
        super().close()


def _signal_of(status: int) -> str:
    """SIGKILL of 137: what a shell returns for a program that a signal ended; "" for a program's own status."""
    try:
        return signal.Signals(status - 128).name
    except ValueError:
        return ""


def write_events(workflow, begun: Callable[[], None]) -> None:
    """Let the run of Snakemake that parses this workflow note its events; jobs of it, which parse it again, note none.

    begun : called at the first of them, in no dry run
    """
    from snakemake.logging import logger

    if workflow.is_main_process:
        logger.addHandler(EventFile(workflow, begun))


@dataclass
class Noted:
    """A job as a run left it. `slurm_log` is what Slurm wrote about it, after a failure."""

    state: str
    since: float
    rule: str = ""
    seconds: float = 0.0  # from start to end, of a job that has ended
    grouped: bool = False  # shares its submission with others, which are started and fail all together
    failures: int = 0
    message: str = ""
    slurm_log: str = ""
    slurm_id: str = ""  # its number in Slurm


@dataclass
class Run:
    """A run of Snakemake, and its jobs by their log files."""

    path: Path
    begun: float = 0.0
    host: str = ""
    process: tuple[int, float] = (0, 0.0)  # number, and when it was started
    configfiles: list[str] = field(default_factory=list)
    config: list[str] = field(default_factory=list)
    retries: int = 0
    ended: bool = False
    planned: dict[str, tuple[str, int]] = field(default_factory=dict)  # rule -> its stage, and how many jobs
    jobs: dict[str, Noted] = field(default_factory=dict)


def read_runs(workdir: Path, newest: int = 20) -> list[Run]:
    """The newest runs of Snakemake in `workdir`, the last first; a line that was cut is passed over."""
    return [read_run(path) for path in sorted((workdir / EVENTS).glob("*.jsonl"), reverse=True)[:newest]]


def read_run(path: Path) -> Run:
    run = Run(path)
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            event = json.loads(line)
            if "host" in event:
                run = Run(path, event.pop("time"), **event | {"process": tuple(event["process"])})
            elif event.get("ended"):
                run.ended = True
            elif "planned" in event:
                run.planned = {rule: (stage, count) for rule, (stage, count) in event["planned"].items()}
            elif "slurm_id" in event:
                run.jobs.setdefault(event["log"], Noted(STARTED, event["time"])).slurm_id = event["slurm_id"]
            else:
                at, log = event.pop("time"), event.pop("log")
                before = run.jobs.get(log, Noted("", 0.0))
                kept = {"grouped": before.grouped, "failures": before.failures, "rule": before.rule}
                run.jobs[log] = Noted(**kept | event, since=at)
                run.jobs[log].failures += event["state"] == FAILED
                if before.state == STARTED and event["state"] != STARTED:
                    run.jobs[log].seconds = at - before.since
    return run
