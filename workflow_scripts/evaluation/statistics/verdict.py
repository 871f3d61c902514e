"""What a difference to real only allows to say."""

import pandas as pd

from .bootstrap import best_coverage
from .significance import smallest_wilcoxon_p


def verdict_of(row: pd.Series) -> str:
    """What interval and corrected test of a difference say: "helped", "harmed", "unclear", "unconfirmed", "too few" or "unmeasured"."""
    if isinstance(row.dice_difference_low, str):
        return "unmeasured"
    n, alpha = int(row.n_patients), 1 - float(row.confidence)
    if best_coverage(n) < 1 - alpha or smallest_wilcoxon_p(n) * int(row.holm_tests) >= alpha:
        return "too few"
    if row.dice_difference_low <= 0 <= row.dice_difference_high:
        return "unclear"
    if row.dice_wilcoxon_p_holm >= alpha:
        return "unconfirmed"
    return "helped" if row.dice_difference_low > 0 else "harmed"
