"""Scores of all arms as one checked table: one row per arm, seed, test case and region.

`dice.tsv` of one arm and seed has a row a test case and region; its `onset` is the training's (`statistics.onset`). A mean over arms that saw different cases or seeds
compares nothing, so a gap in the grid is an error that names the arm.
"""

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.errors import UserError
from ..base.files import read_tsv
from ..study.arms import ARM_COLUMNS, NO_CONTROL, REAL_ONLY, Arm

KEYS = [*ARM_COLUMNS, "seed", "case_id", "region"]
COUNTS = ["lesions", "lesions_missed", "lesions_false", "small_lesions", "small_lesions_hit"]
LESION_SETTINGS = ["lesion_dilation_voxels", "lesion_min_mm3", "small_lesion_ml"]  # the same in every row
COLUMNS = [*KEYS, "patient_id", "dice", "reference_ml", "predicted_ml", "lesion_dice"]
COLUMNS += [*COUNTS, *LESION_SETTINGS, "onset"]


def distance_column(table: pd.DataFrame) -> str:
    """The one Hausdorff column, e.g. ``hd95_mm``. Raises UserError if there is none or the percentiles are mixed."""
    found = [name for name in table.columns if re.fullmatch(r"hd[\d.]+_mm", name)]
    if len(found) != 1:
        raise UserError(f"one Hausdorff column (hd95_mm) expected in the dice tables, found {found or 'none'}")
    return found[0]


def read_scores(files: Sequence[str | Path]) -> pd.DataFrame:
    """All dice.tsv files as one checked table: finite values, no row twice, no arm, seed, case or region missing.

    Raises UserError that names the file or the arm.
    """
    if not files:
        raise UserError("no dice.tsv file was given: run the segmentation arms first (snakemake segmentation)")
    parts = []
    for file in files:
        part = read_tsv(file)
        missing = [name for name in COLUMNS if name not in part.columns]
        if missing:
            raise UserError(f"{file} lacks the columns {', '.join(missing)}: score this arm again")
        if part.empty:
            raise UserError(f"{file} holds no scores: its arm has no test case")
        distance = distance_column(part)
        if f"lesion_{distance}" not in part.columns:
            raise UserError(f"{file} lacks the column lesion_{distance}: score this arm again")
        measured = ["dice", distance, "reference_ml", "predicted_ml", "lesion_dice", f"lesion_{distance}", *COUNTS]
        numbers = part[measured].to_numpy(float)
        if not np.isfinite(numbers).all():
            case = part.case_id[~np.isfinite(numbers).all(axis=1)].iloc[0]
            raise UserError(f"{file}: a score of case {case} is no number: score this arm again")
        parts.append(part.assign(system=part.system.fillna(REAL_ONLY).astype(str), ratio=part.ratio.astype(float)))
    scores = pd.concat(parts, ignore_index=True)
    distance_column(scores)
    if scores.isna().any(axis=None):
        raise UserError("the dice tables have different columns: score all arms again with one version")
    twice = scores.duplicated(KEYS)
    if twice.any():
        row = scores[twice].iloc[0]
        raise UserError(f"arm {Arm.of_row(row, row.seed).name} is given twice")
    nothing_added = scores[(scores.system == REAL_ONLY) & (scores.ratio > 0) & (scores.control == NO_CONTROL)]
    if len(nothing_added):
        n_real, ratio = nothing_added.iloc[0][["n_real", "ratio"]]
        raise UserError(
            f"ratio {ratio:g} of n_real={n_real} rounds to no synthetic case: remove it from segmentation: ratios"
        )
    if len(scores[LESION_SETTINGS].drop_duplicates()) > 1:
        raise UserError("the dice tables count different things as lesions: score all arms again with one config")
    _check_grid(scores)
    owners = scores.groupby("case_id").patient_id.nunique()
    if (owners > 1).any():
        case = owners.index[owners > 1][0]
        raise UserError(f"case {case} belongs to two patients in the dice tables: score all arms again")
    return scores


def _check_grid(scores: pd.DataFrame) -> None:
    have = {
        Arm.of_row(dict(zip(KEYS, key, strict=False)), key[-1]): set(zip(group.case_id, group.region, strict=True))
        for key, group in scores.groupby([*ARM_COLUMNS, "seed"], sort=True)
    }
    segmenters = sorted({arm.segmenter for arm in have})
    seeds = sorted({arm.seed for arm in have})
    wanted, real_only = set(), Arm(0).what
    # a size of the learning curve has real only alone; one without enough other patients has no ladder
    groups = [
        {real_only},
        *({arm.what for arm in have if arm.of_ladder is ladder} - {real_only} for ladder in (True, False)),
    ]
    for size in {arm.n_real for arm in have}:
        found = {real_only} | {arm.what for arm in have if arm.n_real == size}
        wanted |= {(size, what) for group in groups if group & found for what in group}
    everything = set.union(*have.values())
    for (n_real, mix), segmenter, seed in product(sorted(wanted), segmenters, seeds):
        arm = Arm(n_real, *mix, segmenter, seed)
        if arm not in have:
            raise UserError(
                f"no scores of the arm {arm.name}, which the other arms need for comparison. "
                "Run `snakemake segmentation`, and give its dice.tsv"
            )
        gap = sorted(everything - have[arm])
        if gap:
            case, region = gap[0]
            raise UserError(
                f"the arm {arm.name} has no score of case {case}, region {region} ({len(gap)} missing): "
                "arms are compared on the same test cases only. Predict and score this arm again"
            )


def arms_of(scores: pd.DataFrame, curve: bool = False) -> list[Arm]:
    """The arms over all their seeds, in the order in which they are read.

    curve : those of the learning curve too: real only at sizes that have no other arm, where others have
    """
    found = {Arm.of_row(row) for row in scores[ARM_COLUMNS].drop_duplicates().to_dict("records")}
    compared = {arm.n_real for arm in found if not arm.is_real_only}
    kept = found if curve or not compared else {arm for arm in found if arm.n_real in compared}
    return sorted(kept, key=lambda arm: arm.reading_order)


def regions_of(scores: pd.DataFrame) -> list[str]:
    """The regions, largest first."""
    volumes_ml = scores.groupby("region", sort=False).reference_ml.sum()
    return list(volumes_ml.sort_values(ascending=False, kind="stable").index)


def rows_of(scores: pd.DataFrame, arm: Arm, region: str) -> pd.DataFrame:
    """All rows of one arm and region."""
    same = [scores[name] == getattr(arm, name) for name in ARM_COLUMNS]
    return scores[np.logical_and.reduce([*same, scores.region == region])]


def score_array(rows: pd.DataFrame, column: str) -> np.ndarray:
    """(cases, seeds) array of one column of one arm and region; cases and seeds in sorted order."""
    return rows.pivot(index="case_id", columns="seed", values=column).sort_index().sort_index(axis=1).to_numpy(float)


def patients_of(rows: pd.DataFrame) -> np.ndarray:
    """Patient ids (cases,) of one arm and region, in the order of `score_array`."""
    return rows.drop_duplicates("case_id").sort_values("case_id").patient_id.to_numpy(str)
