"""Precision, recall, density and coverage: whether synthetic cases lie among real ones, and real among synthetic.

A set's manifold is the union of balls around its cases, each as wide as the distance to the case's k-th nearest
neighbour in the set.

- precision: share of the synthetic cases within the real manifold; recall: share of the real cases within the synthetic
  manifold (Kynkäänniemi et al. 2019, arXiv:1904.06991)
- density: in how many real balls a synthetic case lies, over k; about 1 for the same distribution, and may be above 1
- coverage: share of the real balls that hold a synthetic case (density and coverage: Naeem et al. 2020, arXiv:2002.09797)
"""

import numpy as np

from .statistics.bootstrap import bootstrap_interval, share_interval

SHARES = ("precision", "recall", "coverage")  # means of yes and no; density is a mean of counts


def neighbour_radius(distances: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each case to its k-th nearest other case, (N,), from the set's distances (N, N), k below N."""
    return np.partition(distances, neighbours, axis=1)[:, neighbours]  # column 0 is the case itself


def manifold_scores(
    real: np.ndarray, synthetic: np.ndarray, across: np.ndarray, neighbours: int
) -> dict[str, np.ndarray]:
    """A score a case; each metric is the mean of its scores.

    real : (N, N) distances between real cases
    synthetic : (M, M) distances between synthetic cases
    across : (N, M) distances of real to synthetic cases
    neighbours : k, at least 1, below N and M

    Returns precision (M,) and density (M,), a score for each synthetic case; recall (N,) and coverage (N,) for each
    real one
    """
    if not 1 <= neighbours < min(len(real), len(synthetic)):
        raise ValueError(f"{neighbours} neighbours among {len(real)} and {len(synthetic)} cases")
    real_radius, synthetic_radius = neighbour_radius(real, neighbours), neighbour_radius(synthetic, neighbours)
    in_real = across < real_radius[:, None]  # (N, M)
    return {
        "precision": in_real.any(axis=0).astype(float),
        "recall": (across < synthetic_radius[None]).any(axis=1).astype(float),
        "density": in_real.sum(axis=0) / neighbours,
        "coverage": (across.min(axis=1) < real_radius).astype(float),
    }


def manifold_interval(
    metric: str, scores: np.ndarray, samples: int, confidence: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Interval of the mean of `scores` (cases,), the other set and the manifolds held fixed.

    Wilson's for shares, which is no point where all cases agree; a bootstrap over cases for density. None with fewer than
    two cases, and for a density that is the same in all of them.
    """
    if metric not in SHARES:
        if not np.ptp(scores):
            return None
        return bootstrap_interval(scores[:, None], np.arange(len(scores)), samples, confidence, rng)
    if len(scores) < 2:
        return None
    return share_interval(int(scores.sum()), len(scores), confidence, method="wilson")
