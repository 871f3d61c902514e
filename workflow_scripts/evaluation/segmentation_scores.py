"""Dice and Hausdorff distance of nested tumour regions on the original grid of a case.

Empty regions, the convention of the BraTS challenges: both masks empty: Dice 1, HD 0 mm; one of the two empty: Dice 0
and HD = the diagonal of the image in mm. BraTS fixes that penalty at 373.13 mm (in 2023: 374 mm), which is the diagonal
of its 240 x 240 x 155 grid at 1 mm; here it is the diagonal of the case's own image, so that it fits any grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base.errors import UserError
from ..cohort.regions import levels_to_channels

EMPTY_CONVENTION = (
    "region empty in both masks: Dice 1 and HD 0 mm; empty in one of them: Dice 0 and HD = the diagonal of the image "
    "in mm (373.13 mm on the BraTS grid, as BraTS does)"
)


def hd_column(percentile: float) -> str:
    """Name of the column that holds the Hausdorff distance at `percentile`, e.g. ``hd95_mm``."""
    return f"hd{percentile:g}_mm"


def image_diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Length of the diagonal of an image of `shape` voxels, mm."""
    return float(np.linalg.norm(np.asarray(shape) * np.asarray(spacing_mm)))


def _union_box(a: np.ndarray, b: np.ndarray) -> tuple[slice, ...]:
    """Slices of the smallest box around both masks, one voxel wider where the image allows it."""
    union = a | b
    box = []
    for axis in range(union.ndim):
        others = tuple(other for other in range(union.ndim) if other != axis)
        filled = np.flatnonzero(union.any(axis=others))
        box.append(slice(max(filled[0] - 1, 0), filled[-1] + 2))
    return tuple(box)


def mask_scores(
    reference: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float], percentile: float = 95.0
) -> tuple[float, float]:
    """Dice and the symmetric Hausdorff distance at `percentile`, mm, of two binary masks (X, Y, Z) on one grid.

    `spacing_mm` goes with the axes of the masks. Both come from ``monai.metrics``, on the box around the union of
    the masks: voxels outside it change neither. The distance is the larger of the two directed percentiles.
    """
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance

    reference, predicted = np.asarray(reference, dtype=bool), np.asarray(predicted, dtype=bool)
    if reference.shape != predicted.shape:
        raise ValueError(f"masks on different grids: {reference.shape} and {predicted.shape}")
    if not reference.any() and not predicted.any():
        return 1.0, 0.0
    if not reference.any() or not predicted.any():
        return 0.0, image_diagonal_mm(reference.shape, spacing_mm)
    box = _union_box(reference, predicted)
    y = torch.from_numpy(np.ascontiguousarray(reference[box]))[None, None].float()
    y_pred = torch.from_numpy(np.ascontiguousarray(predicted[box]))[None, None].float()
    dice = compute_dice(y_pred, y, include_background=True, ignore_empty=False)
    distance = compute_hausdorff_distance(
        y_pred, y, include_background=True, percentile=percentile, spacing=[float(edge) for edge in spacing_mm]
    )
    return float(dice), float(distance)


def case_scores(
    reference: np.ndarray,
    predicted: np.ndarray,
    spacing_mm: Sequence[float],
    regions: Sequence[str],
    percentile: float = 95.0,
) -> list[dict]:
    """Scores of one case: a row a region with ``region, dice, hd<percentile>_mm, reference_ml, predicted_ml``.

    `reference` and `predicted` are nested level maps (0 background, 1 oedema, 2 non-enhancing core, 3 enhancing) on
    the same grid, axes as in `spacing_mm`. Raises UserError when the grids differ.
    """
    if reference.shape != predicted.shape:
        raise UserError(f"the prediction has shape {predicted.shape}, the expert's mask {reference.shape}")
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
            }
        )
    return rows
