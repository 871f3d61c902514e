"""Do two samples of tumour masks come from one distribution? A test a feature, and one over all features at once."""

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

_ROWS_AT_ONCE = 256  # permutations: bounds memory


def kolmogorov_smirnov(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Largest distance between the two empirical distribution functions, 0 to 1, and its two-sided p-value.

    Exact for small samples without ties; ties, as of fractions that are 0, make it conservative.
    """
    found = ks_2samp(one, other)
    return float(found.statistic), float(found.pvalue)


def energy_test(one: np.ndarray, other: np.ndarray, permutations: int, rng: np.random.Generator) -> tuple[float, float]:
    """Squared energy distance of two samples (n, F), (m, F), features in pooled standard deviations, and its p-value.

    The distance is 2 E|X-Y| - E|X-X'| - E|Y-Y'|, 0 if and only if they agree (Székely & Rizzo 2013, Journal of
    Statistical Planning and Inference 143:1249); in one dimension the square of ``scipy.stats.energy_distance``.
    Permutation test: p = (1 + permuted distances that reach the observed one) / (1 + permutations), valid at any
    sample size (Phipson & Smyth 2010). A feature that never varies says nothing and counts nothing.
    """
    pooled = np.concatenate([one, other]).astype(np.float64)
    std = pooled.std(axis=0)
    varies = std > 1e-9 * np.abs(pooled).max(axis=0)
    scaled = pooled[:, varies] / std[varies]
    distances = cdist(scaled, scaled)
    first = (np.arange(len(pooled)) < len(one)).astype(np.float64)
    observed = float(_energy(first[None], distances)[0])
    reached = 0
    for start in range(0, permutations, _ROWS_AT_ONCE):
        rows = np.tile(first, (min(_ROWS_AT_ONCE, permutations - start), 1))
        reached += int((_energy(rng.permuted(rows, axis=1), distances) >= observed * (1 - 1e-9)).sum())
    return observed, (1 + reached) / (1 + permutations)


def _energy(first: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Squared energy distance for each row of memberships (rows, n + m): 1 in the first sample, 0 in the second."""
    second = 1.0 - first
    n, m = first.sum(axis=1), second.sum(axis=1)
    to_first, to_second = first @ distances, second @ distances
    between = (to_first * second).sum(axis=1) / (n * m)
    within = (to_first * first).sum(axis=1) / n**2 + (to_second * second).sum(axis=1) / m**2
    return 2 * between - within
