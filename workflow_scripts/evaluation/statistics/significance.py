"""What a paired comparison can show: the Wilcoxon test, Holm's correction, and the smallest gain that could be seen."""

import math
from collections.abc import Sequence

import numpy as np

DIGITS = 12  # differences that are equal but for rounding are ties


def wilcoxon_p(differences: np.ndarray) -> float | None:
    """Two-sided p-value of the Wilcoxon signed-rank test that `differences` (patients,) lie symmetrically around 0.

    ``scipy.stats.wilcoxon``: zeros are left out; exact up to 50 patients without ties and zeros, and up to 13 with
    them; else the normal approximation with continuity correction. 1 where every difference is 0, None with fewer
    than two patients.
    """
    from scipy.stats import wilcoxon

    differences = np.round(np.asarray(differences, dtype=np.float64), DIGITS)
    if len(differences) < 2:
        return None
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="wilcox", correction=True, method="auto").pvalue)


def smallest_wilcoxon_p(n_patients: int) -> float:
    """The smallest two-sided p-value that `n_patients` can give: all differences on one side, 2 of 2^n sign patterns."""
    return 2.0 ** (1 - n_patients)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down method (1979, Scandinavian Journal of Statistics 6:65).

    The i-th smallest of m is multiplied by m - i + 1; none becomes smaller than the one before it, or larger than 1.
    """
    m, adjusted, largest = len(p_values), [0.0] * len(p_values), 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (m - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def detectable_difference(differences: np.ndarray, alpha: float, power: float) -> float | None:
    """The true mean difference that a paired t-test on as many patients as `differences` would find with `power`.

    Solves power = 1 - F(t; n-1, delta) + 1 - F(t; n-1, -delta) for delta = d sqrt(n) / sd, where F is the noncentral t
    distribution, t the 1 - alpha/2 quantile of the central one, and sd the standard deviation of `differences` (patients,);
    returns d (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, chapter 2). The Wilcoxon test needs
    about 5 % more patients on normal data. None with fewer than two patients.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    differences = np.asarray(differences, dtype=np.float64)
    n = len(differences)
    if n < 2:
        return None
    if alpha >= power:
        return 0.0
    limit = t.ppf(1 - alpha / 2, n - 1)

    def lacking(delta: float) -> float:
        return nct.sf(limit, n - 1, delta) + nct.sf(limit, n - 1, -delta) - power

    upper = 1.0
    while lacking(upper) < 0:
        upper *= 2
    return float(brentq(lacking, 0.0, upper) * differences.std(ddof=1) / math.sqrt(n))
