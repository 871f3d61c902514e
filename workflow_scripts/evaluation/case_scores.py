"""All segmentation scores of one case: a row a nested region."""

from collections.abc import Sequence

import numpy as np

from ..base.errors import UserError
from ..cohort.regions import levels_to_channels
from ..study.voxels import Lesions
from .lesions import lesion_scores
from .segmentation_scores import hd_column, mask_scores


def case_scores(
    reference: np.ndarray,
    predicted: np.ndarray,
    spacing_mm: Sequence[float],
    regions: Sequence[str],
    percentile: float = 95.0,
    lesions: Lesions | None = None,
) -> list[dict]:
    """Scores of one case: a row a region with ``region, dice, hd<percentile>_mm, reference_ml, predicted_ml`` and the
    lesion-wise columns of `lesion_scores`; `lesions` says what a lesion is.

    `reference` and `predicted` are nested level maps (see `cohort.regions`) on
    the same grid, axes as in `spacing_mm`. Raises UserError when the grids differ.
    """
    if reference.shape != predicted.shape:
        raise UserError(f"the prediction has shape {predicted.shape}, the expert's mask {reference.shape}")
    lesions = lesions or Lesions()
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    rows = []
    masks = zip(levels_to_channels(reference, regions), levels_to_channels(predicted, regions), strict=True)
    for region, (truth, guess) in zip(regions, masks, strict=True):
        dice, distance = mask_scores(truth, guess, spacing_mm, percentile)
        rows.append(
            {
                "region": region,
                "dice": dice,
                hd_column(percentile): distance,
                "reference_ml": float(np.count_nonzero(truth)) * voxel_ml,
                "predicted_ml": float(np.count_nonzero(guess)) * voxel_ml,
                **lesion_scores(truth, guess, spacing_mm, lesions, percentile),
            }
        )
    return rows
