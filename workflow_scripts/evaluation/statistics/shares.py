"""Intervals of shares."""


def share_interval(count: int, total: int, confidence: float, method: str = "exact") -> tuple[float, float]:
    """Interval of the share behind `count` of `total`: exact for the binomial (Clopper and Pearson 1934), or "wilson"."""
    from scipy.stats import binomtest

    found = binomtest(count, total).proportion_ci(confidence, method=method)
    return float(found.low), float(found.high)
