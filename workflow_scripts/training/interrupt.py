"""A training is asked to save and stop, instead of being ended where it stands: by SIGTERM, SIGINT, or its time limit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from typing import NoReturn

from ..base import allocation
from ..base.cli import log

SIGNALS = (signal.SIGTERM, signal.SIGINT)
TIME_IS_UP = signal.SIGALRM


def seconds_to_stop() -> float | None:
    """Seconds after which a training in a cluster job saves and stops: a tenth of the time that is left, at least 10 s
    and at most 5 min, is kept for the checkpoint. None where there is no limit."""
    left = allocation.seconds_left()
    return None if left is None else max(1.0, left - min(max(0.1 * left, 10.0), 300.0))


class StopRequest:
    """Context in which SIGTERM and SIGINT are noted in `number` (0: none) and handed on to child processes.

    In a cluster job SIGALRM is noted as well, shortly before the job's time is up. A second SIGINT interrupts at once.
    Outside the main thread, where Python allows no handlers, it notes nothing.
    """

    def __init__(self):
        self.number = 0
        self._before = {}

    def _handle(self, number: int, _frame) -> None:
        if self.number and number == signal.SIGINT and not multiprocessing.parent_process():
            raise KeyboardInterrupt
        self.number = self.number or number
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGTERM)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (*SIGNALS, TIME_IS_UP)}
            if not multiprocessing.parent_process() and (seconds := seconds_to_stop()) is not None:
                signal.setitimer(signal.ITIMER_REAL, seconds)
        return self

    def __exit__(self, *_) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)


def leave(number: int) -> NoReturn:
    """End the program that was stopped by signal `number` and has saved its state: SystemExit(128 + number).

    A job whose time is up goes back to the queue first, and waits there to be ended by Slurm, so that nobody takes its
    end for a failure. After SIGTERM it does not: whoever sent it (preemption, scancel) decides what becomes of the job.
    """
    if number == TIME_IS_UP:
        if allocation.requeue():
            time.sleep(120)
        else:
            log.warning("the time limit is near: run the same command again to go on")
    raise SystemExit(128 + number)
