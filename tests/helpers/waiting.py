"""Waiting for what a process that a test has started does, never for a time: a slow machine does it later."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(
    look: Callable[[], Found],
    what: str,
    process: subprocess.Popen | None = None,
    said: Callable[[], str] = lambda: "",
    seconds: float = 300,
    every_seconds: float = 0.005,
) -> Found:
    """What `look` returns, as soon as it is true; an error with what was `said` if `process` ends before.

    What a process that has ended had done before is still seen.
    """
    deadline = time.monotonic() + seconds
    while True:
        ended = process is not None and process.poll() is not None
        if found := look():
            return found
        if ended:
            raise AssertionError(f"ended before there was {what}:\n{said()[-4000:]}")
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {seconds:.0f} s:\n{said()[-4000:]}")
        time.sleep(every_seconds)


def checkpoint_under(state: Path, newer_than: float = 0.0, step: int = 0) -> Callable[[], list[Path]]:
    """A look for whole checkpoints below `state`, of `step` or later, younger than `newer_than` (seconds since 1970)."""

    def look() -> list[Path]:
        found = []
        for path in state.rglob("checkpoint-*.pt"):
            try:
                if path.stat().st_mtime > newer_than and int(path.stem.split("-")[1]) >= step:
                    found.append(path)
            except FileNotFoundError:  # a newer one took its place
                continue
        return found

    return look


def rows_under(state: Path, rows: int) -> Callable[[], bool]:
    """A look for a loss curve below `state` that has at least so many rows."""
    return lambda: any(path.read_text().count("\n") > rows for path in state.rglob("loss.csv"))
