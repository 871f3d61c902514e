"""How far a distance between two sets of cases would move with other cases: a delete-a-group jackknife.

For statistics whose resamples would need every case again: a resample for the Fréchet distance needs each case's own
scatter, F^2 numbers. Here the cases of each set are gathered in a few groups, and the statistic is taken again without
each of them. Both sets hold n cases, and the same group of both is left out at once: what a smooth statistic moves by is
the sum of what either set brings, so that its spread holds the errors of both.
"""

import math
from statistics import NormalDist

import numpy as np

GROUPS = 10
FEWEST = 3  # groups, and so cases, of which a spread is given


def case_groups(n: int, most: int = GROUPS) -> np.ndarray:
    """The group of each of `n` cases, (n,), 0 to min(n, most) - 1, at least one group; sizes differ by one at most."""
    return np.arange(n) % max(1, min(n, most))


def standard_error(value: float, left_out: np.ndarray, n: int) -> float | None:
    """Standard error of `value`, a statistic of `n` cases a set, from its values without each of their g groups, (g,).

    SE^2 = (g - 1) / g * sum_j (d_-j - mean)^2 where all groups are equal. Where they are not, the same of their
    pseudo-values (Busing, Meijer and van der Leeden 1999, Statistics and Computing 9:3), which a bias that falls with 1/n
    does not move, however many cases a group has. None with fewer than FEWEST groups or without a finite value of each.
    """
    if not FEWEST <= len(left_out) <= n or not np.isfinite(left_out).all():
        return None
    sizes = np.bincount(case_groups(n, len(left_out)))
    shares = n / sizes
    pseudo = shares * value - (shares - 1) * left_out
    return float(np.sqrt(np.mean((pseudo - (pseudo / shares).sum()) ** 2 / (shares - 1))))


def normal_interval(
    value: float, error: float | None, confidence: float, lowest: float = -math.inf
) -> tuple[float, float] | None:
    """`value` plus and minus the normal quantile of `confidence` times its standard error, cut at `lowest`; None without one."""
    if error is None or not math.isfinite(error):
        return None
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    return max(value - reach, lowest), value + reach
