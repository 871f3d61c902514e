"""Means, spreads and intervals of scores that are measured per case and per training seed.

Scores of one arm are an array (cases, seeds). The patients are the sample that a claim is made from: the cases of one
patient, several time points, are no independent evidence and stay together. Seeds repeat the training on the same cases.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


def expanded_tail(n_cases: int, confidence: float) -> float:
    """Share of a bootstrap distribution to leave out at either end, for an interval over two cases or more.

    The plain percentile interval is too narrow for few cases: it lacks the factor n/(n-1) in the variance and uses
    normal instead of t quantiles. The tails are moved so that it would be right for means of normal data
    (Hesterberg 2015, The American Statistician 69:371, section 4.2).
    """
    from scipy.stats import t

    return NormalDist().cdf(-math.sqrt(n_cases / (n_cases - 1)) * t.ppf(0.5 + confidence / 2, n_cases - 1))


def case_weights(n: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `n` cases is drawn in each of `samples` resamples, (samples, n)."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=samples).astype(float)


def interval_of(replicates: np.ndarray, n_cases: int, confidence: float) -> tuple[float, float] | None:
    """Percentiles of bootstrap replicates, at `expanded_tail`; None with fewer than three cases.

    Replicates that are not finite (one case drawn every time: no pair, no R2) are left out.
    """
    replicates = replicates[np.isfinite(replicates)]
    if n_cases < 3 or not len(replicates):
        return None
    tail = expanded_tail(n_cases, confidence)
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return float(low), float(high)


def summarise(scores: np.ndarray) -> dict[str, float | None]:
    """Mean of `scores` (cases, seeds), every entry finite, and its spread; a spread of one value was not measured: None.

    sd_cases: standard deviation over cases of the seeds' average; how much patients differ.
    sd_seeds: standard deviation over seeds of the cases' average; how much trainings differ.
    """
    scores = _checked(scores)
    spreads = {
        f"sd_{name}": float(scores.mean(axis=1 - axis).std(ddof=1)) if scores.shape[axis] > 1 else None
        for axis, name in enumerate(("cases", "seeds"))
    }
    return {"mean": float(scores.mean()), **spreads}


def best_coverage(n_patients: int) -> float:
    """The most that any percentile bootstrap interval over `n_patients` values can cover.

    The interval cannot leave [min, max], and all values fall on one side of the true median with chance 2^(1-n).
    """
    return 1.0 - 2.0 ** (1 - n_patients)


def patient_means(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Means (patients,) of `values` (cases, seeds) over each patient's cases and the seeds, patients in sorted order."""
    values, (_, member) = _checked(values), np.unique(patients, return_inverse=True)
    return np.bincount(member, values.mean(axis=1)) / np.bincount(member)


def bootstrap_interval(
    values: np.ndarray, patients: np.ndarray, samples: int, confidence: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Expanded-percentile bootstrap interval of the mean of `values`, in which patients and seeds are resampled.

    Patients and seeds are drawn independently of each other, with replacement, as rows and columns of the table (the
    pigeonhole bootstrap, Owen 2007, Annals of Applied Statistics 1:386; conservative). A drawn patient
    brings all their cases. Of S seeds S - 1 are drawn, which gives the mean over seeds its unbiased variance (McCarthy
    and Snowden 1985, Vital and Health Statistics 2:95); a single seed is no sample and stays as it is. The plain
    percentile interval is too narrow for few patients: it lacks the factor n/(n-1) in the variance and uses normal
    instead of t quantiles. The tails are moved so that it would be right for normal data (Hesterberg 2015, The American
    Statistician 69:371, section 4.2).

    values : (cases, seeds)
    patients : (cases,), who each case is of
    samples : bootstrap resamples
    confidence : 0 to 1

    Returns (low, high), or None with fewer than two patients
    """
    n = len(np.unique(patients))
    if n < 2:
        return None
    tail = expanded_tail(n, confidence)
    (means,) = resampled_means([values], patients, samples, rng)
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def resampled_means(
    arms: Sequence[np.ndarray], patients: np.ndarray, samples: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Means (samples,) of each of `arms` (cases, seeds) over the same resamples of patients and seeds: see
    `bootstrap_interval`."""
    arms, (_, member, n_cases) = [*map(_checked, arms)], np.unique(patients, return_inverse=True, return_counts=True)
    n, n_seeds = len(n_cases), arms[0].shape[1]
    drawn_patients = rng.multinomial(n, np.full(n, 1.0 / n), size=samples)  # (samples, P)
    n_drawn = max(n_seeds - 1, 1)
    drawn_seeds = rng.multinomial(n_drawn, np.full(n_seeds, 1.0 / n_seeds), size=samples) / n_drawn  # (samples, S)
    means = []
    for values in arms:
        totals = np.zeros((n, n_seeds))
        np.add.at(totals, member, values)
        means.append(((drawn_patients @ totals) * drawn_seeds).sum(axis=1) / (drawn_patients @ n_cases))
    return means


def share_interval(count: int, total: int, confidence: float, method: str = "exact") -> tuple[float, float]:
    """Interval of the share behind `count` of `total`: exact for the binomial (Clopper and Pearson 1934), or "wilson"."""
    from scipy.stats import binomtest

    found = binomtest(count, total).proportion_ci(confidence, method=method)
    return float(found.low), float(found.high)


def paired_differences(scores: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """`scores` - `baseline`, paired over cases and seeds: both (cases, seeds), in the same order."""
    scores, baseline = _checked(scores), _checked(baseline)
    if scores.shape != baseline.shape:
        raise ValueError(f"pairing needs the same cases and seeds: {scores.shape} against {baseline.shape}")
    return scores - baseline


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"finite values of shape (cases, seeds) expected, got {values.shape}")
    return values
