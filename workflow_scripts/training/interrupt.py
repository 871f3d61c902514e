"""SIGTERM and SIGINT ask a training to save and stop, instead of ending it where it stands."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Context in which SIGTERM and SIGINT are noted in `number` (0: none) and handed on to child processes.

    A second SIGINT interrupts at once. Outside the main thread, where Python allows no handlers, it notes nothing.
    """

    def __init__(self):
        self.number = 0
        self._before = {}

    def _handle(self, number: int, _frame) -> None:
        if self.number and number == signal.SIGINT and not multiprocessing.parent_process():
            raise KeyboardInterrupt
        self.number = self.number or number
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGTERM)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
