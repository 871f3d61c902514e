"""An endless order of samples: shuffled rounds, in each of which every sample comes once."""

from functools import lru_cache

import numpy as np

from ..base.seeds import numpy_rng


class Order:
    """Sample at each place of the order, a function of (seed, place) alone.

    name : orders of other names are independent
    count : samples
    """

    def __init__(self, seed: int, name: str, count: int):
        self.seed, self.name, self.count = seed, name, count

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """places (n,) from 0 -> sample numbers (n,)."""
        turns, within = np.divmod(np.asarray(places), self.count)
        numbers = [_round(self.seed, self.name, self.count, int(t))[w] for t, w in zip(turns, within, strict=True)]
        return np.array(numbers, dtype=np.int64)  # of no places too

    def batch(self, step: int, batch_size: int) -> np.ndarray:
        """Sample numbers (batch_size,) of step `step`, from 0."""
        return self[np.arange(step * batch_size, (step + 1) * batch_size)]


@lru_cache(maxsize=8)
def _round(seed: int, name: str, count: int, turn: int) -> np.ndarray:
    return numpy_rng(seed, name, turn).permutation(count)
