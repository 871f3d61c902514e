"""The augmentation-ratio table: one row per region and arm, every number."""

import numpy as np
import pandas as pd

from ...study.arm_labels import label_of
from ...study.arms import Arm
from ..scores import COUNTS, LESION_SETTINGS, arms_of, distance_column, regions_of, rows_of, score_array
from .bootstrap import summarise
from .comparison import Comparison, reference_cells, with_holm
from .onset import of_seeds

NOT_MEASURED = "not measured"


def ratio_table(
    scores: pd.DataFrame, bootstrap_samples: int, confidence: float, seed: int, power: float = 0.8
) -> pd.DataFrame:
    """One row per region and arm. `scores` as of `read_scores`.

    Every region uses the same resamples of patients and seeds for all arms and metrics (seeded by `seed` and the
    region). Entries that were not measured are the text "not measured", so that the table holds no NaN.

    confidence : of the intervals; 1 - `confidence` is the level of the tests
    power : chance with which the smallest detectable difference would be found
    """
    rows = []
    arms = arms_of(scores)
    comparison = Comparison(arms, bootstrap_samples, confidence, power, seed)
    for region in regions_of(scores):
        baselines: dict[Arm, pd.DataFrame] = {}
        for arm in arms:
            own = rows_of(scores, arm, region)
            dice = score_array(own, "dice")
            row = {
                "n_real": arm.n_real,
                "region": region,
                "system": arm.system,
                "arm": label_of(arm).label,
                "ratio": arm.ratio,
            }
            row |= {"synthetic_only": arm.synthetic_only, "control": arm.control}
            row |= {"mixing": arm.mixing, "segmenter": arm.segmenter}
            row |= {"n_cases": len(dice), "n_patients": own.patient_id.nunique(), "n_seeds": dice.shape[1]}
            row |= _spread("dice", dice) | {"onset": arm_onset(own)} | _region_scores(own)
            if arm.is_real_only:
                baselines[arm] = own
                row |= reference_cells(own)
            else:
                row |= comparison.cells(arm, own, baselines[arm.reference])
            rows.append(row | {"confidence": confidence, "bootstrap_samples": bootstrap_samples, "power": power})
    table = with_holm(pd.DataFrame(rows))
    table["order"] = np.arange(len(table))
    table = table.sort_values(["n_real", "order"], kind="stable").drop(columns="order").reset_index(drop=True)
    return table.apply(lambda column: column.map(_p_cell if "_wilcoxon_p" in column.name else _cell))


def arm_onset(own: pd.DataFrame) -> str:
    """Whether an arm's trainings had got past their onset, from its rows of a region: the worst of its seeds, and folds."""
    trainings = [name for name in ("seed", "fold") if name in own.columns]
    return of_seeds(own.drop_duplicates(trainings).onset)


def _spread(name: str, values: np.ndarray, unit: str = "") -> dict:
    """Mean of `values` (cases, seeds) and its spread over cases and over seeds, under the names of the table."""
    return {f"{name}_{kind}{unit}": value for kind, value in summarise(values).items()}


def _region_scores(own: pd.DataFrame) -> dict:
    """Distances, empty regions and lesion-wise scores of the rows of one arm and region."""
    distance = distance_column(own)
    found = _spread(distance.removesuffix("_mm"), score_array(own, distance), "_mm")
    empty = (own.reference_ml == 0).astype(int) + (own.predicted_ml == 0).astype(int)
    found |= {"empty_in_both": int((empty == 2).sum()), "empty_in_one": int((empty == 1).sum())}
    found |= _spread("lesion_dice", score_array(own, "lesion_dice"))
    found |= _spread(f"lesion_{distance.removesuffix('_mm')}", score_array(own, f"lesion_{distance}"), "_mm")
    found |= {name: int(own[name].sum()) for name in COUNTS}
    small = found["small_lesions"]
    found["small_lesion_sensitivity"] = found["small_lesions_hit"] / small if small else None
    return found | {name: own[name].iloc[0].item() for name in LESION_SETTINGS}


def _cell(value: object) -> object:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return NOT_MEASURED
    return round(value, 6) if isinstance(value, float) else value


def _p_cell(value: object) -> object:
    """A p-value may be far smaller than the last digit of a score."""
    return float(f"{value:.4g}") if isinstance(value, float) and np.isfinite(value) else _cell(value)
