"""The state of a study as text for a terminal: a row a stage, what runs, and why what failed did."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from .job_log import error_of, progress_of, tail
from .job_states import CUT_OFF, DONE, FAILED_JOB, QUEUED, RUNNING, STATES, WAITING, JobState, Study, seconds_in_state

SILENT_SECONDS = 600.0
MOST = 12  # jobs listed of a kind
_COLOURS = {DONE: "32", RUNNING: "36", QUEUED: "36", FAILED_JOB: "31", CUT_OFF: "33"}


def use_colours(is_terminal: bool) -> bool:
    """Colours on a terminal alone, and not where the user has turned them off (no-color.org)."""
    return is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _span(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{int(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 48 * 60 else f"{minutes // 1440} days"


def stage_table(study: Study, colour: bool) -> list[str]:
    """A row a stage: how many of its jobs are in which state, in aligned columns; states that no job is in are left out."""
    counts: dict[str, Counter] = {}
    for job in study.jobs:
        counts.setdefault(job.job.rule, Counter())[job.state] += 1
    total = sum(counts.values(), Counter())
    optional = (QUEUED, CUT_OFF)
    states = [state for state in STATES if state not in optional or total[state]]
    header = ["stage", *states, "jobs"]
    rows = [
        [name, *(str(row[state] or "-") for state in states), str(sum(row.values()))]
        for name, row in [*counts.items(), ("all stages", total)]
    ]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [_aligned(header, widths, {})]
    for row in rows:
        shades = {column: state for column, state in enumerate(states, start=1) if row[column] != "-"}
        lines.append(_aligned(row, widths, shades if colour else {}))
    return [*lines[:-1], "-" * (sum(widths) + 2 * (len(widths) - 1)), lines[-1]]


def _aligned(cells: list[str], widths: list[int], shades: dict[int, str]) -> str:
    shown = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        text = cell.rjust(width) if column else cell.ljust(width)
        shown.append(_paint(text, _COLOURS.get(shades.get(column, ""), "")))
    return "  ".join(shown).rstrip()


def _paint(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if colour else text


def _listed(title: str, jobs: list[JobState], describe: Callable[[JobState], list[str]], colour: str) -> list[str]:
    if not jobs:
        return []
    lines = ["", _paint(f"{title}:", colour)]
    for job in jobs[:MOST]:
        first, *others = describe(job)
        lines += [f"  {first}", *(f"      {line}" for line in others)]
    return lines + ([f"  and {len(jobs) - MOST} more"] if len(jobs) > MOST else [])


def _name(job: JobState) -> str:
    """The log's path under logs/: it holds the stage and what the job is about."""
    return job.job.log.rpartition("/logs/")[2].removesuffix(".log")


def running_line(job: JobState, workdir: Path, now: datetime) -> list[str]:
    """How long a job has run, how far it is by its own log, and how long that log has been silent."""
    path = workdir / job.job.log
    parts = [_name(job)]
    elapsed = seconds_in_state(job.logged, now) if job.logged else None
    if elapsed is not None:
        span = _span(elapsed)
        parts.append(f"submitted {span} ago" if job.logged.slurm_id else f"for {span}")
    if job.logged and job.logged.failures:
        parts.append(f"attempt {job.logged.failures + 1}")
    text = tail(path)
    progress = progress_of(text)
    if progress:
        parts.append(str(progress))
    elif text.strip():
        parts.append(text.strip().splitlines()[-1])
    try:
        silent = now.timestamp() - path.stat().st_mtime
    except OSError:
        silent = 0.0
    return [", ".join(parts) + (f" (its log has been silent for {_span(silent)})" if silent > SILENT_SECONDS else "")]


def failed_lines(job: JobState, workdir: Path) -> list[str]:
    """The log of a failed job, and the lines that say why."""
    slurm = tail(workdir / job.logged.slurm_log) if job.logged.slurm_log else ""
    why = error_of(tail(workdir / job.job.log), slurm)
    told = [job.logged.message] if job.logged.message else []
    again = [f"failed {job.logged.failures} times"] if job.logged.failures > 1 else []
    return [f"{_name(job)}  ({job.job.log})", *again, *told, *why]


def _last_line(job: JobState, workdir: Path) -> list[str]:
    text = tail(workdir / job.job.log)
    progress = progress_of(text)
    last = str(progress) if progress else (text.strip().splitlines() or ["it had logged nothing"])[-1]
    return [f"{_name(job)}  (at its end: {last})"]


def verdict(study: Study) -> str:
    """One sentence: what the study does now, and what the user is to do."""
    counts = Counter(job.state for job in study.jobs)
    if counts[DONE] == len(study.jobs):
        return "Everything is done."
    begun = f" since {study.run.begun:%Y-%m-%d %H:%M}" if study.run and study.run.begun else ""
    host = f" on {study.run.host}" if study.run and study.run.host else ""
    if study.alive:
        return f"Snakemake has been at work{begun}{host}."
    again = f"{'unlock the folder (`snakemake --unlock`), then ' * study.locked}start it again by the same command"
    if counts[RUNNING] or counts[QUEUED]:
        return f"The Snakemake that ran{begun}{host} is gone, but jobs of it are still there. When they have ended, {again}."
    if counts[CUT_OFF]:
        kept = "What is done stays, and trainings go on from their last checkpoint"
        return f"The run{begun}{host} was cut off. {kept}: {again}."
    if counts[FAILED_JOB]:
        return f"Nothing is running. What is done stays: mend what failed, then {again}."
    if study.run is None:
        return "No run of this study has been started here yet."
    return f"Nothing is running, {counts[WAITING]} jobs wait: {again}."


def status_text(folder: str, study: Study, workdir: Path, now: datetime, colour: bool) -> str:
    """The whole: title, stages, running, cut-off and failed jobs, verdict."""

    def of(*states: str) -> list[JobState]:
        return [job for job in study.jobs if job.state in states]

    lines = [f"{folder}: {len(of(DONE))} of {len(study.jobs)} jobs done", "", *stage_table(study, colour)]
    paint = _COLOURS if colour else {}
    lines += _listed("running", of(RUNNING), lambda job: running_line(job, workdir, now), paint.get(RUNNING, ""))
    lines += _listed("cut off", of(CUT_OFF), lambda job: _last_line(job, workdir), paint.get(CUT_OFF, ""))
    lines += _listed("failed", of(FAILED_JOB), lambda job: failed_lines(job, workdir), paint.get(FAILED_JOB, ""))
    return "\n".join([*lines, "", verdict(study)])


def needs_the_user(study: Study) -> bool:
    """Whether a job has failed, or was cut off with nobody left to start it again."""
    return any(job.state in (FAILED_JOB, CUT_OFF) for job in study.jobs)
