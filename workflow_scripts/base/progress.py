"""Progress of long work: a bar with rate and time left on a terminal, a plain line now and then in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .cli import log
from .job_record import note_work

LINE_EVERY_SECONDS = 15.0


class _Clock:
    """How long the units took. The first update has start-up in it (threads, kernels that are chosen), so that the steady
    rate is that of the others."""

    def __init__(self) -> None:
        self.began, self.units = time.monotonic(), 0
        self.first: tuple[float, int] | None = None
        self.last = self.began

    def tick(self, count: int) -> None:
        self.last = time.monotonic()
        self.units += count
        if self.first is None:
            self.first = self.last, count

    @property
    def seconds(self) -> float:
        """Seconds of all units by the steady rate."""
        if self.first is None or self.units == self.first[1]:
            return self.last - self.began
        at, count = self.first
        return (self.last - at) * self.units / (self.units - count)


class _Lines:
    """Log lines with the same interface as the bar."""

    def __init__(self, total: int, title: str, unit: str, initial: int):
        self.clock = _Clock()
        self.total, self.title, self.unit, self.done, self.initial = total, title, unit, initial, initial
        self.started = self.last = time.monotonic()

    def update(self, count: int = 1, **values: float) -> None:
        self.clock.tick(count)
        self.done += count
        now = time.monotonic()
        if now - self.last >= LINE_EVERY_SECONDS or self.done == self.total:
            self.last = now
            rate = (self.done - self.initial) / max(now - self.started, 1e-9)
            left = (self.total - self.done) / rate if rate else float("inf")
            shown = "".join(f", {name} {value:.4g}" for name, value in values.items())
            log.info(
                "%s: %d of %d %ss, %.3g %ss/s, %s left%s",
                *(self.title, self.done, self.total, self.unit, rate, self.unit, _clock(left), shown),
            )


class _Bar:
    def __init__(self, bar):
        self.clock, self._bar = _Clock(), bar

    def update(self, count: int = 1, **values: float) -> None:
        self.clock.tick(count)
        if values:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
        self._bar.update(count)


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


@contextmanager
def track(total: int, title: str, unit: str = "step", initial: int = 0) -> Iterator[_Lines | _Bar]:
    """Yield an object whose ``update(count, **values)`` moves the progress of `total` units, `initial` of them done.

    In the end the job's record is told how long they took.
    """
    if not sys.stderr.isatty():
        lines = _Lines(total, title, unit, initial)
        yield lines
        clock = lines.clock
    else:
        from tqdm import tqdm

        with tqdm(total=total, desc=title, unit=unit, initial=initial, dynamic_ncols=True) as shown:
            bar = _Bar(shown)
            yield bar
        clock = bar.clock
    note_work(unit, clock.units, clock.seconds)
