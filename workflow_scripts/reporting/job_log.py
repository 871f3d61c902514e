"""What a job's own log tells: how far it is, and why it failed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 16384
_PROGRESS = re.compile(
    r"^(?:\d\d:\d\d:\d\d )?(?P<title>.+): (?P<done>\d+) of (?P<total>\d+) (?P<unit>\w+)s, "
    r"(?P<rate>\S+) \w+/s, (?P<left>[\d:]+|unknown time) left(?:, (?P<values>.*))?$"
)
_SLURM = re.compile(r"slurmstepd: error|oom.?kill|Out Of Memory|CANCELLED|TIME LIMIT|Killed", re.IGNORECASE)
_SHOWN = 6  # lines of an error


@dataclass(frozen=True)
class Progress:
    """A line of `base.progress`: `done` of `total` units, `left` as h:mm:ss, and the values, such as ``loss 0.12``."""

    title: str
    done: int
    total: int
    unit: str
    left: str
    values: str

    def __str__(self) -> str:
        values = f", {self.values}" if self.values else ""
        return f"{self.done} of {self.total} {self.unit}s, {self.left} left{values}"


def tail(path: Path) -> str:
    """The end of a log, whole lines as far as `TAIL_BYTES` reach; "" where there is none."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if size > TAIL_BYTES else text


def progress_of(text: str) -> Progress | None:
    """The last progress line of a log; None where there is none, or where what it counts is done."""
    for line in reversed(text.splitlines()):
        if found := _PROGRESS.match(line):
            done, total = int(found["done"]), int(found["total"])
            parts = found["title"], done, total, found["unit"], found["left"], found["values"] or ""
            return Progress(*parts) if done < total else None
    return None


def error_of(text: str, slurm_text: str = "") -> list[str]:
    """The lines that say why a job failed: a program's sentence, an exception, or what Slurm wrote; at least one line."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    sentences = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if sentences:
        return lines[sentences[-1] :][:_SHOWN]
    traces = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if traces:
        return [line for line in lines[traces[-1] + 1 :] if not line.startswith(" ")][:_SHOWN] or lines[-1:]
    slurm_lines = [line.strip() for line in slurm_text.splitlines() if line.strip()]
    if told := [line for line in slurm_lines if _SLURM.search(line)]:
        return told[-_SHOWN:]
    if not lines:
        return ["its log is empty", *slurm_lines[-2:]]
    return ["it left no error message; the last line of its log:", lines[-1]]
