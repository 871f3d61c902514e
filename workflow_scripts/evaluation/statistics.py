"""Means, spreads and intervals of scores that are measured per case and per training seed.

Scores of one arm are an array (cases, seeds). The cases are the sample that a claim is made from; seeds repeat the
training on the same cases, so they are averaged within each case before anything is resampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Mean of an arm over cases and seeds, and its spread. A spread of one value was not measured: None.

    sd_cases: standard deviation over cases of the seeds' average; how much patients differ.
    sd_seeds: standard deviation over seeds of the cases' average; how much trainings differ.
    """

    mean: float
    sd_cases: float | None
    sd_seeds: float | None
    n_cases: int
    n_seeds: int


def summarise(scores: np.ndarray) -> Summary:
    """Summary of `scores`, shape (cases, seeds), every entry finite."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"finite scores of shape (cases, seeds) expected, got {scores.shape}")
    n_cases, n_seeds = scores.shape
    return Summary(
        mean=float(scores.mean()),
        sd_cases=float(scores.mean(axis=1).std(ddof=1)) if n_cases > 1 else None,
        sd_seeds=float(scores.mean(axis=0).std(ddof=1)) if n_seeds > 1 else None,
        n_cases=n_cases,
        n_seeds=n_seeds,
    )


def best_coverage(n_cases: int) -> float:
    """The most that any percentile bootstrap interval of `n_cases` values can cover.

    The interval cannot leave [min, max], and all values fall on one side of the true median with chance 2^(1-n).
    """
    return 1.0 - 2.0 ** (1 - n_cases)


def expanded_tail(n_cases: int, confidence: float) -> float:
    """The quantile at which a percentile bootstrap interval of `n_cases` values begins (and from 1 on, ends).

    The plain percentile interval is too narrow for few cases: it lacks the factor n/(n-1) in the variance and uses
    normal instead of t quantiles. The tails are moved so that it would be right for the mean of normal data
    (Hesterberg 2015, The American Statistician 69:371, section 4.2).
    """
    from scipy.stats import t

    return NormalDist().cdf(-math.sqrt(n_cases / (n_cases - 1)) * t.ppf(0.5 + confidence / 2, n_cases - 1))


def bootstrap_interval(
    values: np.ndarray, samples: int, confidence: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Bootstrap interval of the mean of `values`, shape (cases,): percentiles at `expanded_tail`. None with fewer
    than two cases."""
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < 2:
        return None
    tail = expanded_tail(n, confidence)
    means = rng.multinomial(n, np.full(n, 1.0 / n), size=samples) @ values / n
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def paired_difference(
    scores: np.ndarray, baseline: np.ndarray, samples: int, confidence: float, rng: np.random.Generator
) -> tuple[float, tuple[float, float] | None]:
    """Mean of `scores` - `baseline` and its bootstrap interval, paired over cases.

    Both are (cases, seeds) with the same cases in the same order; seeds may differ in number and are averaged.
    """
    scores, baseline = np.asarray(scores, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if len(scores) != len(baseline):
        raise ValueError(f"pairing needs the same cases: {len(scores)} against {len(baseline)}")
    differences = scores.mean(axis=1) - baseline.mean(axis=1)
    return float(differences.mean()), bootstrap_interval(differences, samples, confidence, rng)
