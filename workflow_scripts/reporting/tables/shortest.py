"""The one table that everybody reads: arm, Dice, difference with its interval, corrected p."""

import pandas as pd

from ...evaluation.statistics.comparison import REFERENCE
from ...evaluation.statistics.onset import is_early
from ...study.arm_labels import label_of
from ...study.arms import CEILING, RECONSTRUCTIONS, Arm
from ...study.segmenters import SEGMENTERS
from .augmentation_ratio import difference_cell, p_cell
from .cells import EARLY, count_of, marked, number

NO_BREAK = "\u00a0"


def arm_name(arm: Arm) -> str:
    """An arm with its system in it: ``+ 2x slice_ldm, fixed real share``."""
    name = label_of(arm).label.replace("synthetic", arm.system, 1).replace("real + ", "+ ", 1)
    by = f" by {arm.system}" if arm.control == RECONSTRUCTIONS else " (ceiling)" * (arm.control == CEILING)
    return name + by


def shortest(table: pd.DataFrame) -> pd.DataFrame:
    """What a reader needs first, of one region: arm, Dice, difference with interval, corrected p; a group a number of patients.

    No line breaks within an interval, so that the table fits a phone.
    """
    rows = []
    for _, row in table.iterrows():
        by = f", {SEGMENTERS[row.segmenter]}" * (table.segmenter.nunique() > 1)
        difference, _, interval = difference_cell(row, "dice", "", 3).replace(REFERENCE, "-").partition(" ")
        rows.append(
            {
                "patients": f"{row.n_real} real training patients{by}",
                "trained on": arm_name(Arm.of_row(row)),
                "Dice": marked(number(row.dice_mean, 3), row.onset).replace(" ", NO_BREAK),
                "minus real only": f"{difference} {interval.replace(' ', NO_BREAK)}".strip(),
                "corrected p": p_cell(row.dice_wilcoxon_p_holm).replace(REFERENCE, "-"),
            }
        )
    return pd.DataFrame(rows)


def shortest_notes(table: pd.DataFrame, simulated: bool) -> list[str]:
    """What the numbers of `shortest` are, in as few words as are honest."""
    first = table.iloc[0]
    early = bool(table.onset.map(is_early).any())
    n, seeds, kind = int(first.n_patients), int(first.n_seeds), "simulated" if simulated else "real"
    return [
        f"Means over {count_of(n, f'{kind} test patient')}, whom no stage has seen, and "
        f"{count_of(seeds, 'training seed')}. Brackets: {float(first.confidence):.0%} interval of the paired difference. p: "
        "Wilcoxon's, corrected (Holm) for the number of arms.",
        *[f"{EARLY}: trained too short for that region: such a Dice says how fast it learned."] * early,
    ]
