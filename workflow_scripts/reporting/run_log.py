"""What Snakemake's own log of a run tells: which jobs were started, ended well, failed, and are tried again."""

from __future__ import annotations

import contextlib
import re
import signal
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

LOGS = Path(".snakemake/log")
STARTED, FINISHED, FAILED, RETRIED = "started", "finished", "failed", "retried"
_CHECK = " (check log file(s) for error details)"


@dataclass
class LoggedJob:
    """A job as the log shows it at its end. `log` is the file the rule declares, "" where it declares none."""

    rule: str
    log: str = ""
    state: str = STARTED
    since: datetime | None = None  # when it entered this state, local time
    failures: int = 0
    message: str = ""  # of the last failure: what the executor said, or the signal that ended the program
    grouped: bool = False  # shares its submission with others, which the log starts and fails all together
    slurm_id: str = ""
    slurm_log: str = ""


@dataclass
class RunLog:
    """One run of Snakemake: where and how it was started, and its jobs by Snakemake's number."""

    path: Path
    begun: datetime | None = None
    host: str = ""
    command: str = ""
    complete: bool = False  # Snakemake came to its end, well or not
    jobs: dict[int, LoggedJob] = field(default_factory=dict)


def parse_run_log(text: str, path: Path = Path()) -> RunLog:
    """The run that wrote `text`, in Snakemake's default format; lines that are cut or unknown are passed over."""
    reader = _Reader(RunLog(path))
    for line in text.splitlines():
        reader.read(line)
    return reader.run


def read_run_logs(workdir: Path, newest: int = 20) -> list[RunLog]:
    """The newest runs of Snakemake in `workdir`, the last first."""
    paths = sorted((workdir / LOGS).glob("*.snakemake.log"), reverse=True)[:newest]
    return [parse_run_log(path.read_text(encoding="utf-8", errors="replace"), path) for path in paths]


class _Reader:
    """Follows a log line by line. A job's block has a headline, then indented fields; the order of the fields varies."""

    # A job of a group is indented by four spaces more; the summary of a failed group, by eight, repeats what follows it.
    START = re.compile(r"(?: {4})?(?:local)?(?:rule|checkpoint) (\w+):$")
    ERROR = re.compile(r"(?: {4})?Error in rule (\w+):$")
    FIELD = re.compile(r" {4}(?: {4})?(jobid|log|message|wildcards): (.*)$")
    TIME = re.compile(r" *\[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\](.*)$")
    FINISHED = re.compile(r"Finished jobid: (\d+) \(Rule: \w+\)")
    RESTART = re.compile(r"Trying to restart job (\d+)\.")
    SUBMITTED = re.compile(r"Job (\S+) has been submitted with SLURM jobid (\S+) \(log: (.*)\)\.$")
    ARRAY = re.compile(r"Submitted array job with Snakemake IDs ([\d,]+) and SLURM job ID (\d+)\..* (\d+)-\d+\.$")
    STATUS = re.compile(r".*returned non-zero exit status (\d+)\.$|.*died with <Signals\.(SIG\w+): \d+>\.$")

    def __init__(self, run: RunLog):
        self.run = run
        self.now: datetime | None = None
        self.block: dict[str, str] | None = None  # of the job whose fields are being read
        self.group: list[int] = []  # the jobs of the group being read
        self.groups: dict[str, list[int]] = {}  # Snakemake's name of a submission -> jobs of the group
        self.group_log = self.ended_by = ""

    def read(self, line: str) -> None:
        if not line.startswith(" "):
            self.block = None
        if found := self.TIME.match(line):
            with contextlib.suppress(ValueError):
                self.now = datetime.strptime(found[1], "%a %b %d %H:%M:%S %Y")
            self.block = None
            if found[2].startswith(" Group job "):
                self.group = []
        elif found := self.START.match(line):
            self.block = {"kind": STARTED, "rule": found[1], "grouped": "yes" * line.startswith(" ")}
        elif found := self.ERROR.match(line):
            self.block = {"kind": FAILED, "rule": found[1], "grouped": "yes" * line.startswith(" ")}
        elif found := self.FIELD.match(line):
            self._read_field(found[1], found[2].removesuffix(_CHECK))
        elif found := self.FINISHED.match(line):
            self._enter(int(found[1]), FINISHED)
        elif found := self.RESTART.match(line):
            self._enter(int(found[1]), RETRIED)
        elif found := self.SUBMITTED.match(line):
            for number in self.groups.get(found[1], [int(found[1])] if found[1].isdigit() else []):
                self._submitted(number, found[2], found[3])
        elif found := self.ARRAY.match(line):
            for task, number in enumerate(found[1].split(","), start=int(found[3])):
                self._submitted(int(number), f"{found[2]}_{task}")
        elif found := self.STATUS.match(line):
            self.ended_by = found[2] or _signal_of(int(found[1]))
        elif line.startswith("Complete log(s):"):
            self.run.complete = True
        elif not self.run.jobs:
            self._read_header(line)

    def _read_header(self, line: str) -> None:
        name, _, value = line.strip().partition(": ")
        if name == "Host":
            self.run.host = value
        elif name == "Command":
            self.run.command = value
        elif name == "Date":
            with contextlib.suppress(ValueError):
                self.run.begun = datetime.strptime(value, "%Y-%m-%d %H:%M:%S")

    def _read_field(self, name: str, value: str) -> None:
        block = self.block
        if block is None:
            self.group_log = value if name == "log" else self.group_log  # of a failed group
            return
        block.setdefault(name, value)
        if "jobid" not in block or not block["jobid"].isdigit():
            return
        number, grouped = int(block["jobid"]), bool(block["grouped"])
        if block["kind"] == FAILED:
            self._failed(number, block, grouped)
        elif name == "jobid":
            before = self.run.jobs.get(number)
            failures = before.failures if before else 0
            log = block.get("log", "").split(", ")[0]
            self.run.jobs[number] = LoggedJob(block["rule"], log, STARTED, self.now, failures, grouped=grouped)
        if grouped and block["kind"] == STARTED:
            self.group += [number] if name == "jobid" else []
            self.groups[_submission_name(block)] = self.group

    def _failed(self, number: int, block: dict[str, str], grouped: bool) -> None:
        logs = block.get("log", "").split(", ")
        job = self.run.jobs.setdefault(number, LoggedJob(block["rule"], logs[0], grouped=grouped))
        if "counted" not in block:
            block["counted"] = "yes"
            job.failures += 1
            job.state, job.since = FAILED, self.now
            signal_name, self.ended_by = self.ended_by, ""
            said = block.get("message", "None")
            job.message = said if said != "None" else f"ended by {signal_name}" if signal_name else ""
            job.slurm_log = (self.group_log if grouped else "") or job.slurm_log
        job.log = job.log or logs[0]
        if len(logs) > 1:
            job.slurm_log = logs[-1]

    def _enter(self, number: int, state: str) -> None:
        if number in self.run.jobs:
            self.run.jobs[number].state, self.run.jobs[number].since = state, self.now

    def _submitted(self, number: int, slurm_id: str, slurm_log: str = "") -> None:
        if number in self.run.jobs:
            job = self.run.jobs[number]
            job.slurm_id, job.slurm_log = slurm_id, slurm_log.replace("%j", slurm_id)


def _signal_of(status: int) -> str:
    """SIGKILL of 137: what a shell returns for a program that a signal ended; "" for a program's own status."""
    try:
        return signal.Signals(status - 128).name
    except ValueError:
        return ""


def _submission_name(block: dict[str, str]) -> str:
    """How Snakemake calls the submission of a group whose last job is this one (snakemake.jobs.Job.uuid)."""
    from snakemake.common import get_uuid

    pairs = [part.partition("=") for part in block.get("wildcards", "").split(", ") if part]
    named = ",".join(sorted(f"{name}:{value}" for name, _, value in pairs))
    return str(get_uuid(f"{block['rule']}:{named}"))


def options_of(command: str) -> tuple[list[str], list[str]]:
    """(files after ``--configfile``, assignments after ``--config``) of a command as Snakemake logs it, unquoted."""
    values: dict[str, list[str]] = {"--configfile": [], "--config": []}
    current = None
    for word in command.split():
        option, assigned, value = word.partition("=")
        if word.startswith("-"):
            current = {"--configfiles": "--configfile", "-C": "--config"}.get(option, option)
            if assigned and current in values:
                values[current].append(value)
        elif current == "--config" and values[current] and not re.match(r"\w+=", word):
            values[current][-1] += f" {word}"  # of a value with spaces
        elif current in values:
            values[current].append(word)
    return values["--configfile"], values["--config"]
