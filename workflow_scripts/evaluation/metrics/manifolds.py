"""Precision, recall, density and coverage over cases (`evaluation.manifolds`), with intervals over cases."""

from collections.abc import Iterator

import numpy as np

from ..manifolds import manifold_interval, manifold_scores
from . import Metric, Pair, of_pairs

AMONG = "cases among cases, by plane and modality"


@of_pairs(
    Metric("precision", "precision", "higher", 2, place=4, heading=AMONG),
    Metric("recall", "recall", "higher", 2, place=5, heading=AMONG),
    Metric("density", "density", "near real", 2, place=6, heading=AMONG),
    Metric("coverage", "coverage", "higher", 2, place=7, heading=AMONG),
)
def manifolds(pair: Pair) -> Iterator[dict]:
    """None with a single case."""
    neighbours = min(pair.settings.neighbours, pair.n - 1)
    if neighbours < 1:
        return
    real, own = pair.place("reference"), pair.place(pair.name)
    blocks = [np.sqrt(pair.squared[rows, columns]) for rows, columns in ((real, real), (own, own), (real, own))]
    for metric, scores in manifold_scores(*blocks, neighbours).items():
        settings = pair.settings
        interval = manifold_interval(metric, scores, settings.samples, settings.confidence, pair.rng(metric))
        yield pair.over_cases(metric, float(scores.mean()), interval, f"{neighbours} neighbours")
