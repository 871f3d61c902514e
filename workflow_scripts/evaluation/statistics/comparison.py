"""Each arm against real only: paired differences of every metric, their intervals and tests, and what could be seen.

A difference is arm minus real only: of a Dice a positive one is better, of a distance in mm a negative one.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...base.seeds import numpy_rng
from ...study.arms import NO_CONTROL, Arm
from ..scores import distance_column, patients_of, score_array
from .bootstrap import bootstrap_interval, paired_differences, patient_means
from .significance import detectable_difference, holm, smallest_wilcoxon_p, wilcoxon_p

REFERENCE = "reference"  # what a difference to real only is in the real-only row itself
NONE_DETECTABLE = "none"  # no difference, however large, could be significant


def metrics_of(stem: str) -> list[tuple[str, str]]:
    """(name, unit as columns end in it) of the metrics that are compared; `stem` of the distance as ``hd95``."""
    return [("dice", ""), (stem, "_mm"), ("lesion_dice", ""), (f"lesion_{stem}", "_mm")]


def difference_columns(name: str, unit: str) -> list[str]:
    """Columns of a metric's difference to real only and of the two ends of its interval."""
    return [f"{name}_difference{end}{unit}" for end in ("", "_low", "_high")]


def _metrics_in(scores: pd.DataFrame) -> list[tuple[str, str]]:
    return metrics_of(distance_column(scores).removesuffix("_mm"))


def reference_cells(own: pd.DataFrame) -> dict[str, str]:
    """What `Comparison.cells` and `with_holm` are for others, for real only itself: the text "reference"."""
    names = []
    for name, unit in _metrics_in(own):
        names += [*difference_columns(name, unit), f"{name}_wilcoxon_p", f"{name}_wilcoxon_p_holm"]
    return dict.fromkeys([*names, "dice_detectable", "holm_tests"], REFERENCE)


class Comparison:
    """Compares arms with real only.

    arms : all that are compared, by which tests are counted
    bootstrap_samples, confidence, seed : of the intervals; arms and metrics of a region have the same resamples
    power : chance with which the smallest detectable difference would be found
    """

    def __init__(self, arms: Sequence[Arm], bootstrap_samples: int, confidence: float, power: float, seed: int):
        self.samples, self.confidence, self.power, self.seed = bootstrap_samples, confidence, power, seed
        self.tests = Counter(_family(arm) for arm in arms if not arm.is_real_only)

    def cells(self, arm: Arm, own: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, float | int | str | None]:
        """Columns of every metric, by the names of the table, from the rows of one region of `arm` and of real only.

        The p-values are not corrected yet: see `with_holm`. None: not measured, as there are fewer than two patients.
        """
        patients, n_tests = patients_of(own), self.tests[_family(arm)]
        cells: dict[str, float | int | str | None] = {}
        for name, unit in _metrics_in(own):
            pair = (score_array(rows, f"{name}{unit}") for rows in (own, baseline))
            differences = paired_differences(*pair)
            means = patient_means(differences, patients)
            rng = numpy_rng(self.seed, "bootstrap over patients and seeds", own.region.iloc[0])
            interval = bootstrap_interval(differences, patients, self.samples, self.confidence, rng) or (None, None)
            found = (float(differences.mean()), *interval)
            cells |= dict(zip(difference_columns(name, unit), found, strict=True))
            cells |= {f"{name}_wilcoxon_p": wilcoxon_p(means), f"{name}_wilcoxon_p_holm": None}
            if name == "dice":
                cells["dice_detectable"] = detectable(means, 1 - self.confidence, n_tests, self.power)
        return cells | {"holm_tests": n_tests}


def detectable(differences: np.ndarray, alpha: float, n_tests: int, power: float) -> float | str | None:
    """The smallest true mean difference that would be found in spite of Holm's correction over `n_tests`.

    Holm asks of the smallest of m p-values to lie below `alpha` / m; that is the level taken here.

    differences : (patients,)
    alpha, power : of the comparison; see ``detectable_difference``

    Returns a number in the unit of `differences`; `NONE_DETECTABLE` where no Wilcoxon test of so many patients can fall below
    that level; None with fewer than two patients
    """
    if len(differences) > 1 and smallest_wilcoxon_p(len(differences)) * n_tests >= alpha:
        return NONE_DETECTABLE
    return detectable_difference(differences, alpha / n_tests, power)


def _family(arm: Arm) -> tuple[Arm, bool]:
    """Arms whose p-values of a region and metric are corrected together: all with synthetic cases of one n_real and
    segmenter.

    Their controls, the ladder's with them, are a family of their own: they answer another question.
    """
    return arm.reference, arm.is_control


def with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """The table with each metric's p-values corrected by Holm, within the families of `_family` and regions."""
    p_columns = [name for name in table.columns if name.endswith("_wilcoxon_p")]
    table = table.astype({f"{name}_holm": object for name in p_columns})  # numbers and the text "reference"
    compared = table[table.holm_tests != REFERENCE]
    families = [compared.n_real, compared.segmenter, compared.region, compared.control != NO_CONTROL]
    for _, family in compared.groupby(families):
        for name in p_columns:
            measured = family[name].notna().all()
            table.loc[family.index, f"{name}_holm"] = holm(family[name].tolist()) if measured else None
    return table
