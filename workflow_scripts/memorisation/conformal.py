"""How far real cases go, and what a few of them can tell: thresholds from a handful of scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Threshold:
    """value: what a score must exceed; n: scores that it comes from; false_positive_rate: what those can promise."""

    value: float
    n: int
    false_positive_rate: float


def conformal_threshold(scores: Sequence[float], false_positive_rate: float) -> Threshold:
    """The threshold that a further case like those of `scores` exceeds with at most the given chance.

    The k-th largest of m scores is exceeded by an exchangeable one with chance k / (m + 1) at most (Laxhammar and
    Falkman 2010, after Vovk et al. 2005). k is the largest with k / (m + 1) <= `false_positive_rate`, but at least 1:
    with too few scores the chance is 1 / (m + 1), and `Threshold.false_positive_rate` says so.

    Raises ValueError without any score.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    if not len(ordered):
        raise ValueError("a threshold needs at least one score")
    rank = max(1, int(false_positive_rate * (len(ordered) + 1) + 1e-9))
    rank = min(rank, len(ordered))
    return Threshold(float(ordered[rank - 1]), len(ordered), rank / (len(ordered) + 1))
