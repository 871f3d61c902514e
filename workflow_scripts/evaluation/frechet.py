"""Fréchet distance between two sets of features, each described by a Gaussian.

d^2 = |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2)      (Dowson & Landau 1982; Heusel et al. 2017, FID)

Mean and covariance are gathered in one pass (Chan, Golub & LeVeque 1983) in float64, so memory is F x F whatever the
number of samples, and sets gathered apart can be merged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg.lapack import dpstrf

from ..base.errors import UserError
from .statistics.jackknife import FEWEST


class GaussianStatistics:
    """Running count, mean and scatter of samples of `dimension` features.

    count : int
        Samples seen.
    mean : (F,) float64
    scatter : (F, F) float64
        Sum of outer products of the deviations from the mean.
    """

    def __init__(self, dimension: int):
        self.count = 0
        self.mean = np.zeros(dimension)
        self.scatter = np.zeros((dimension, dimension))

    def update(self, features: np.ndarray) -> GaussianStatistics:
        """Add samples, `features` of shape (n, F); n may be 0. Raises UserError on values that are not finite."""
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features of shape (n, {len(self.mean)}) expected, got {features.shape}")
        if not np.isfinite(features).all():
            raise UserError("image features hold NaN or infinity: the images or the network's weights are broken")
        if len(features):
            mean = features.mean(axis=0)
            deviations = features - mean
            self._combine(len(features), mean, deviations.T @ deviations)
        return self

    def merge(self, other: GaussianStatistics) -> GaussianStatistics:
        """Add all samples that `other` has seen."""
        if other.count:
            self._combine(other.count, other.mean, other.scatter)
        return self

    def _combine(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        shift = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(shift, shift) * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    def covariance(self) -> np.ndarray:
        """Unbiased covariance, (F, F). Raises UserError with fewer than two samples."""
        if self.count < 2:
            raise UserError(f"a covariance of image features needs at least 2 slices, there are {self.count}")
        return self.scatter / (self.count - 1)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """L of shape (F, rank) with L L^T = covariance, by Cholesky with pivots: it stops where only rounding is left."""
    lower, pivots, rank, _ = dpstrf(covariance, tol=-1, lower=1)  # tol -1: F * eps * the largest variance
    factor = np.zeros((len(covariance), rank))
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    return factor


def frechet_distance(a: GaussianStatistics, b: GaussianStatistics) -> float:
    """Squared Fréchet distance between the Gaussians of `a` and `b`, as FID is reported; never negative.

    The trace of the matrix root is the sum of the roots of the eigenvalues of the symmetric product
    S_a^1/2 S_b S_a^1/2. These roots are the singular values of L_a^T L_b for any L with S = L L^T: nothing is squared, no general
    matrix root is taken, and singular covariances (fewer samples than features) are as safe as full ones.
    """
    covariance_a, covariance_b = a.covariance(), b.covariance()
    roots = np.linalg.svd(_factor(covariance_a).T @ _factor(covariance_b), compute_uv=False)
    shift = a.mean - b.mean
    distance = shift @ shift + np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * roots.sum()
    return float(max(distance, 0.0))


def merged(parts: Sequence[GaussianStatistics]) -> GaussianStatistics:
    """The samples of all parts, one or more, together; the parts stay as they are."""
    whole = GaussianStatistics(len(parts[0].mean))
    for part in parts:
        whole.merge(part)
    return whole


def left_out_distances(a: Sequence[GaussianStatistics], b: Sequence[GaussianStatistics]) -> np.ndarray:
    """The distance of two sets without part j of either, for each of the g parts in which both were gathered: (g,).

    Empty with fewer than three parts, of which no spread is taken; NaN where fewer than two samples would be left.
    """
    if len(a) != len(b):
        raise ValueError(f"two sets in as many parts expected, got {len(a)} and {len(b)}")
    if len(a) < FEWEST:
        return np.empty(0)
    found = np.full(len(a), np.nan)
    for place in range(len(a)):
        rest = [merged([*parts[:place], *parts[place + 1 :]]) for parts in (a, b)]
        if min(one.count for one in rest) >= 2:
            found[place] = frechet_distance(*rest)
    return found
