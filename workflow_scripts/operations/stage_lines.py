"""What one sees of a running study: a line a stage with a bar and the time left, from the events of its run."""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .run_events import FAILED, FINISHED, STARTED, Noted, Run
from .status_text import progress_of, span, tail

BAR = 24  # characters
ENDED = DONE, BROKEN = "done", "failed"
UNKNOWN_SECONDS = 10.0  # the weight, in a bar, of a job whose like has never run
_LEFT = re.compile(r"(\d+):(\d\d):(\d\d) left")


@dataclass
class Line:
    """A stage: jobs done and planned, the share of its work that is done, the seconds left, and what runs.

    `left` is what is known of it: the seconds of jobs whose like has never run are not in it, and `unknown` counts these.
    """

    stage: str
    done: int = 0
    total: int = 0
    share: float = 0.0
    left: float = 0.0
    unknown: int = 0
    running: int = 0
    now: str = ""
    failed: bool = False


def expected_seconds(run: Run, earlier: Sequence[Run] = (), table: Path | None = None) -> dict[str, float]:
    """Mean seconds of a job of each rule: of this run, else of earlier ones, else of an earlier study's `table`.

    table : its tables/cost.csv. What it says is scaled by how much longer or shorter this run's jobs took so far.
    """
    of_runs: list[dict[str, list[float]]] = []
    for each in (run, *earlier):
        found: dict[str, list[float]] = {}
        for noted in each.jobs.values():
            if noted.state == FINISHED and noted.seconds:
                found.setdefault(noted.rule, []).append(noted.seconds)
        of_runs.append(found)
    expected = {}
    if table is not None and table.is_file():
        with table.open(encoding="utf-8") as stream:
            rows = {row["stage"]: float(row["wall_hours"]) * 3600 / int(row["jobs"]) for row in csv.DictReader(stream)}
        timed = {rule: seconds for rule, seconds in of_runs[0].items() if rule in rows}
        took = sum(sum(seconds) for seconds in timed.values())
        said = sum(rows[rule] * len(seconds) for rule, seconds in timed.items())
        expected = {rule: seconds * (took / said if said else 1.0) for rule, seconds in rows.items()}
    for found in reversed(of_runs):
        expected |= {rule: sum(seconds) / len(seconds) for rule, seconds in found.items()}
    return expected


def seconds_left(text: str) -> float | None:
    """What a line of `base.progress` says is left, s; None for any other line."""
    found = _LEFT.search(text)
    left = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3]) if found else 0
    return left or None  # 0: what is done after the last unit is not in it


def _of_running(noted: Noted, progress: str, expected: float | None, now: float) -> tuple[float, float | None]:
    """(share done, seconds left) of a job that runs: by its own log, else by how long its like took."""
    elapsed = max(0.0, now - noted.since)
    left = seconds_left(progress)
    if left is None and expected is not None:
        left = max(0.0, expected - elapsed)
    share = elapsed / (elapsed + left) if left is not None and elapsed + left else 0.0
    return min(share, 0.99), left


def stage_lines(run: Run, expected: dict[str, float], workdir: Path, now: float) -> list[Line]:
    """A line a stage of the run, in the order of the plan."""
    lines: dict[str, Line] = {}
    waiting = {}
    for rule, (stage, count) in run.planned.items():
        line = lines.setdefault(stage, Line(stage))
        line.total += count
        waiting[rule] = count
    weights = {stage: [0.0, 0.0] for stage in lines}  # work done, and all of it: in seconds where they are known
    for log, noted in run.jobs.items():
        stage, count = run.planned.get(noted.rule, ("", 0))
        if not count:
            continue
        line, weight = lines[stage], expected.get(noted.rule, UNKNOWN_SECONDS)
        if noted.state == FINISHED:
            line.done += 1
            weights[stage][0] += weight
        elif noted.state == STARTED:
            progress = progress_of(tail(workdir / log))
            share, left = _of_running(noted, progress, expected.get(noted.rule), now)
            weights[stage][0] += share * weight
            line.running += 1
            line.left += left or 0.0
            line.unknown += left is None
            line.now = noted.rule + (f", {progress.split(', ')[0]}" if seconds_left(progress) is not None else "")
        else:  # its next attempt, if it gets one, starts it again
            line.failed |= noted.state == FAILED
            continue
        waiting[noted.rule] -= 1
    for rule, (stage, count) in run.planned.items():
        weights[stage][1] += count * expected.get(rule, UNKNOWN_SECONDS)
        left = max(0, waiting[rule])
        lines[stage].left += left * expected.get(rule, 0.0)
        lines[stage].unknown += left * (rule not in expected)
    for stage, line in lines.items():
        line.share = 1.0 if line.done >= line.total else min(0.99, weights[stage][0] / (weights[stage][1] or 1.0))
    return list(lines.values())


def left_text(seconds: float, unknown: int) -> str:
    """`12 min left`; with jobs of unknown length, `12 min left and more`; "" where nothing is known."""
    if not seconds:
        return ""
    return f"{span(seconds)} left{' and more' if unknown else ''}"


def line_text(line: Line, width: int = 12) -> str:
    """One line of at most one stage, without colour."""
    full = int(line.share * BAR)
    if line.done >= line.total:
        state = DONE
    elif line.failed and not line.running:
        state = BROKEN
    else:
        others = f" and {line.running - 1} more" if line.running > 1 else ""
        left = left_text(line.left, line.unknown)
        state = "; ".join(filter(None, (left, line.now + others))) or "waits"
    return f"{line.stage:{width}}  {'#' * full}{'.' * (BAR - full)}  {line.done:>4} of {line.total:<4}  {state}"


def total_text(lines: Sequence[Line], run: Run, now: float) -> str:
    """All stages together. Jobs run side by side: what is left is divided by how many do at this moment."""
    done, total = sum(line.done for line in lines), sum(line.total for line in lines)
    if run.ended:
        return f"{done} of {total} jobs done in {span(now - run.begun)}"
    beside = max(1, sum(line.running for line in lines))
    left = left_text(sum(line.left for line in lines) / beside, sum(line.unknown for line in lines))
    return ", ".join(filter(None, (f"{done} of {total} jobs done", f"{span(now - run.begun)} so far", left)))


def fitted(text: str) -> str:
    """Cut to the terminal's width, so that a line stays one line."""
    try:
        columns = os.get_terminal_size(2).columns
    except OSError:
        columns = 120
    return text if len(text) < columns else text[: columns - 1]
