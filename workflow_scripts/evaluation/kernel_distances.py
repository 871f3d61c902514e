"""Kernel distances between two sets of cases: KID and MMD, unbiased, with an interval over cases.

A sample is a case: its features are means over its slices, so that samples are independent. Neighbouring slices are all
but equal, and a U-statistic over slices would count their likeness as likeness of the sets.

    MMD^2 = mean of k(x, x') over pairs x != x' + mean of k(y, y') over pairs y != y' - 2 mean of k(x, y)
                                                                          (Gretton et al. 2012, JMLR 13:723, equation 3)

KID is MMD^2 with k(x, y) = (x.y / F + 1)^3 (Binkowski et al. 2018, arXiv:1801.01401). All of it is a function of the inner
products between cases, N x N whatever the number of features. An unbiased estimate of a distance near 0 may be negative.
"""

from dataclasses import dataclass

import numpy as np

from .statistics.bootstrap import case_weights, interval_of


def squared_distances(gram: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (N, N) from the inner products (N, N) of the same cases."""
    norms = np.diag(gram)
    return np.maximum(norms[:, None] + norms[None] - 2.0 * gram, 0.0)


def polynomial_kernel(gram: np.ndarray, dimension: int) -> np.ndarray:
    """KID's kernel, (N, N), from inner products of features of length `dimension`."""
    return (gram / dimension + 1.0) ** 3


def median_distance(squared: np.ndarray) -> float:
    """Median distance between two different cases, from their squared distances (N, N), N at least 2."""
    return float(np.sqrt(np.median(squared[np.triu_indices(len(squared), 1)])))


def gaussian_kernel(squared: np.ndarray, bandwidth: float) -> np.ndarray:
    """exp(-d^2 / (2 bandwidth^2)), (N, N)."""
    return np.exp(-squared / (2.0 * bandwidth**2))


@dataclass(frozen=True)
class Estimate:
    """A value and its interval; None where there are too few cases for one."""

    value: float
    interval: tuple[float, float] | None


def _within(kernel: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of k over pairs of different cases, (B,), for weights (B, n). A case drawn twice makes no pair with itself."""
    kernel = kernel - np.diag(np.diag(kernel))
    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return ((weights @ kernel) * weights).sum(axis=1) / pairs


def _squared_mmd(kernel: np.ndarray, n: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """MMD^2, (B,), of weights (B, n) of the first n cases of `kernel` against weights (B, m) of the others."""
    cross = ((first @ kernel[:n, n:]) * second).sum(axis=1) / (first.sum(axis=1) * second.sum(axis=1))
    return _within(kernel[:n, :n], first) + _within(kernel[n:, n:], second) - 2.0 * cross


def squared_mmd(
    kernel: np.ndarray, n: int, samples: int, confidence: float, rng: np.random.Generator
) -> Estimate | None:
    """Unbiased MMD^2 between the first `n` cases of `kernel` (n + m, n + m) and the other m.

    The interval comes from resampling the cases of both sets. None with fewer than two cases in a set.
    """
    m = len(kernel) - n
    if min(n, m) < 2:
        return None
    value = float(_squared_mmd(kernel, n, np.ones((1, n)), np.ones((1, m)))[0])
    first, second = case_weights(n, samples, rng), case_weights(m, samples, rng)
    return Estimate(value, interval_of(_squared_mmd(kernel, n, first, second), min(n, m), confidence))


def pair_mean(
    values: np.ndarray, pairs: np.ndarray, n: int, samples: int, confidence: float, rng: np.random.Generator
) -> Estimate:
    """Mean of values (P,) measured on pairs (P, 2) of `n` cases; the interval comes from resampling the cases.

    Raises ValueError without any pair.
    """
    if not len(values):
        raise ValueError("no pair of cases")
    weights = case_weights(n, samples, rng)
    products = weights[:, pairs[:, 0]] * weights[:, pairs[:, 1]]
    with np.errstate(invalid="ignore"):
        replicates = products @ values / products.sum(axis=1)
    return Estimate(float(np.mean(values)), interval_of(replicates, n, confidence))
