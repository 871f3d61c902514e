"""The answer in three sentences: what real cases alone reach, what the best mix changes, and what that shows."""

import pandas as pd

from ...evaluation.statistics.verdict import verdict_of
from ...study.arms import Arm
from ...study.segmenters import SEGMENTERS
from ..looks import region_name
from ..tables.cells import count_of, number
from .answer import _interval

_WORDS = {
    "helped": "the interval lies above zero: synthetic cases helped",
    "harmed": "the interval lies below zero: even the best mix was worse than real cases alone",
    "unclear": "the interval holds zero: neither gain nor loss could be shown",
    "unconfirmed": "the interval leaves out zero, but the corrected test shows no difference",
    "too few": "there are too few test cases for a verdict: no gain, however large, could have been shown",
    "unmeasured": "there is no interval, and so no verdict",
}


def headline(table: pd.DataFrame) -> list[str]:
    """Three sentences about the largest region and the first segmenter, over all systems and every n_real.

    `table` as of ``ratio_table``, numbers as numbers. The best mix of each n_real is that of the highest mean Dice; it
    is chosen on the cases that judge it, and where there was a choice the last sentence says so.
    """
    region = table.region.iloc[0]
    name = region_name(region)
    segmenter = table.segmenter.iloc[0]
    by = f" by {SEGMENTERS[segmenter]}" * (table.segmenter.nunique() > 1)
    table = table[table.segmenter == segmenter]
    rows = [(Arm.of_row(row), row) for _, row in table[table.region == region].iterrows()]
    real = {arm.n_real: row for arm, row in rows if arm.is_real_only}
    first = next(iter(real.values()))
    reached = ", ".join(f"{number(row.dice_mean, 3)} with {n_real} patients" for n_real, row in real.items())
    tested = f"{count_of(int(first.n_cases), 'test case')} and {count_of(int(first.n_seeds), 'training seed')}"
    sentences = [
        f"Trained on real patients alone, the segmentation{by} reached a mean Dice of the {name} of {reached} ({tested})."
    ]

    mixes = {n_real: [] for n_real in real}
    for arm, row in rows:
        if arm.kind == "mix":
            mixes[arm.n_real].append((arm, row))
    best = {n_real: max(found, key=lambda pair: pair[1].dice_mean) for n_real, found in mixes.items() if found}
    if not best:
        return [*sentences, "No mix of real and synthetic cases was trained.", "So nothing was compared."]
    tried = max(len(found) for found in mixes.values())
    changes = "; ".join(
        f"{number(row.dice_difference, 3, True)} with {n_real} patients ({count_of(arm.ratio, 'synthetic case')} of "
        f"{arm.system} for each of them; {_interval(row)})"
        for n_real, (arm, row) in best.items()
    )
    lead = f"The best of {tried} mixes with synthetic cases" if tried > 1 else "The one mix with synthetic cases"
    lead += " at each number of patients" * (len(best) > 1)
    sentences.append(f"{lead} changed that by {changes}.")

    verdicts = {n_real: verdict_of(row) for n_real, (_, row) in best.items()}
    if len(set(verdicts.values())) == 1:
        shown = _WORDS[next(iter(verdicts.values()))]
    else:
        shown = "; ".join(f"with {n_real} patients {_WORDS[verdict]}" for n_real, verdict in verdicts.items())
    picked = ""
    if tried > 1:
        picked = ", but that mix was picked on these same test cases, which flatters it"
        picked = picked if "helped" in verdicts.values() else picked.replace(", but", "; and")
    return [*sentences, f"{shown[0].upper()}{shown[1:]}{picked}."]
