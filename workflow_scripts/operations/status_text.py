"""The state of a study as text for a terminal: a row a stage, what runs, and why what failed did."""

import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from .study_state import BROKEN, CUT_OFF, DONE, QUEUED, RUNNING, STATES, WAITING, Job, Study, silent_seconds

SILENT_SECONDS = 600.0
MOST = 12  # jobs listed of a kind
SHOWN = 6  # lines of an error
TAIL_BYTES = 16384
COLOURS = {DONE: "32", RUNNING: "36", QUEUED: "36", BROKEN: "31", CUT_OFF: "33"}
_SLURM = re.compile(r"slurmstepd: error|oom.?kill|Out Of Memory|CANCELLED|TIME LIMIT|Killed", re.IGNORECASE)


def use_colours(is_terminal: bool) -> bool:
    """Colours on a terminal alone, and not where the user has turned them off (no-color.org)."""
    return is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def tail(path: Path) -> list[str]:
    """The last lines of a log that say something, as far as `TAIL_BYTES` reach; none where there is no log."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            lines = stream.read().decode("utf-8", errors="replace").splitlines()[size > TAIL_BYTES :]
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip()]


def progress_of(lines: list[str]) -> str:
    """The last line of `base.progress`, with its time left; the last line where there is none, or where it came to its end."""
    counting = next((line for line in reversed(lines) if line.count(" of ") and " left" in line), "")
    if counting and "/s, 0:00:00 left" not in counting:
        return counting.rpartition(": ")[2]
    return lines[-1] if lines else "it has logged nothing"


def error_of(lines: list[str], slurm_lines: list[str]) -> list[str]:
    """The lines that say why a job failed: a program's sentence, an exception, or what Slurm wrote; at least one line."""
    sentences = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if sentences:
        return lines[sentences[-1] :][:SHOWN]
    traces = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if traces:
        return [line for line in lines[traces[-1] + 1 :] if not line.startswith(" ")][:SHOWN] or lines[-1:]
    if told := [line.strip() for line in slurm_lines if _SLURM.search(line)]:
        return told[-SHOWN:]
    if not lines:
        return ["its log is empty", *slurm_lines[-2:]]
    return ["it left no error message; the last line of its log:", lines[-1]]


def span(seconds: float) -> str:
    """A duration in words: 40 s, 12 min, 3 h 05 min, 4 days."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{int(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 48 * 60 else f"{minutes // 1440} days"


def _paint(text: str, state: str, colour: bool) -> str:
    return f"\033[{COLOURS[state]}m{text}\033[0m" if colour and state in COLOURS else text


def stage_table(study: Study, colour: bool) -> list[str]:
    """A row a stage: how many of its jobs are in which state, in aligned columns; states that no job is in are left out."""
    counts: dict[str, Counter] = {}
    for job in study.jobs:
        counts.setdefault(job.rule, Counter())[job.state] += 1
    total = sum(counts.values(), Counter())
    states = [state for state in STATES if state not in (QUEUED, CUT_OFF) or total[state]]
    rows = [["stage", *states, "jobs"]]
    for name, row in [*counts.items(), ("all stages", total)]:
        rows.append([name, *(str(row[state] or "-") for state in states), str(sum(row.values()))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        painted = [
            _paint(cell, state, colour and row is not rows[0] and cell.strip() != "-")
            for cell, state in zip(cells, [*states, "jobs"], strict=True)
        ]
        lines.append("  ".join([row[0].ljust(widths[0]), *painted]).rstrip())
    return [*lines[:-1], "-" * (sum(widths) + 2 * (len(widths) - 1)), lines[-1]]


def _name(job: Job) -> str:
    """The log's path under logs/: it holds the stage and what the job is about."""
    return job.log.rpartition("/logs/")[2].removesuffix(".log")


def running_lines(job: Job, workdir: Path, now: float) -> list[str]:
    """How long a job has run, how far it is by its own log, and how long that log has been silent."""
    path, noted = workdir / job.log, job.noted
    lasted = span(max(0.0, now - noted.since))
    parts = [_name(job), f"submitted {lasted} ago" if noted.slurm_id else f"for {lasted}"]
    parts += [f"attempt {noted.failures + 1}"] if noted.failures else []
    lines = tail(path)
    parts += [progress_of(lines)] if lines else []
    silent = silent_seconds(path)
    quiet = f" (its log has been silent for {span(silent)})" if SILENT_SECONDS < silent < float("inf") else ""
    return [", ".join(parts) + quiet]


def failed_lines(job: Job, workdir: Path) -> list[str]:
    """The log of a failed job, and the lines that say why."""
    noted = job.noted
    again = [f"failed {noted.failures} times"] if noted.failures > 1 else []
    told = [noted.message] if noted.message else []
    why = error_of(tail(workdir / job.log), tail(workdir / noted.slurm_log) if noted.slurm_log else [])
    return [f"{_name(job)}  ({job.log})", *again, *told, *why]


def verdict(study: Study) -> str:
    """One sentence: what the study does now, and what the user is to do."""
    counts = Counter(job.state for job in study.jobs)
    if counts[DONE] == len(study.jobs):
        return "Everything is done."
    if study.run is None:
        return "No run of this study has been started here yet."
    since = f"since {time.strftime('%Y-%m-%d %H:%M', time.localtime(study.run.begun))} on {study.run.host}"
    if study.alive:
        return f"Snakemake has been at work {since}."
    again = f"{'unlock the folder (the same command with `--unlock`), then ' * study.locked}start it again by the same command"
    if counts[RUNNING] or counts[QUEUED]:
        return f"The Snakemake that ran {since} is gone, but jobs of it are still there. When they have ended, {again}."
    if counts[CUT_OFF]:
        kept = "What is done stays, and trainings go on from their last checkpoint"
        return f"The run {since} was cut off. {kept}: {again}."
    if counts[BROKEN]:
        return f"Nothing is running. What is done stays: fix what failed, then {again}."
    return f"Nothing is running, {counts[WAITING]} jobs wait: {again}."


def status_text(folder: str, study: Study, workdir: Path, now: float, colour: bool) -> str:
    """The whole: title, stages, running, cut-off and failed jobs, verdict."""
    done = sum(job.state == DONE for job in study.jobs)
    lines = [f"{folder}: {done} of {len(study.jobs)} jobs done", "", *stage_table(study, colour)]
    describe: dict[str, Callable[[Job], list[str]]] = {
        RUNNING: lambda job: running_lines(job, workdir, now),
        CUT_OFF: lambda job: [f"{_name(job)}  (at its end: {progress_of(tail(workdir / job.log))})"],
        BROKEN: lambda job: failed_lines(job, workdir),
    }
    for state, told in describe.items():
        jobs = [job for job in study.jobs if job.state == state]
        lines += ["", _paint(f"{state}:", state, colour)] if jobs else []
        for job in jobs[:MOST]:
            first, *others = told(job)
            lines += [f"  {first}", *(f"      {line}" for line in others)]
        lines += [f"  and {len(jobs) - MOST} more"] if len(jobs) > MOST else []
    return "\n".join([*lines, "", verdict(study)])
