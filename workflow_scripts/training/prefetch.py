"""Batches made ahead of need in a background thread; still a pure function of the step."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Batch = TypeVar("Batch")


@contextmanager
def prefetched(make: Callable[[int], Batch], start: int, stop: int, ahead: int) -> Iterator[Iterator[Batch]]:
    """Yield an iterator over ``make(start) ... make(stop - 1)`` in which up to `ahead` batches are made in advance.

    An error in `make` is raised at the step it belongs to.
    """
    if ahead == 0:
        yield map(make, range(start, stop))
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    waiting: deque = deque()

    def batches() -> Iterator[Batch]:
        for step in range(start, stop):
            while len(waiting) <= ahead and step + len(waiting) < stop:
                waiting.append(pool.submit(make, step + len(waiting)))
            yield waiting.popleft().result()

    try:
        yield batches()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
