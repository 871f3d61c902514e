"""Dice and Hausdorff distance of two masks.

Empty regions, the convention of the BraTS challenges: both masks empty: Dice 1, HD 0 mm; one of the two empty: Dice 0
and HD = the diagonal of the image in mm. BraTS fixes that penalty at 373.13 mm (in 2023: 374 mm), which is the diagonal
of its 240 x 240 x 155 grid at 1 mm; here it is the diagonal of the case's own image, so that it fits any grid.
"""

from collections.abc import Sequence

import numpy as np

from ..cohort.planes import bounding_box

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
    box = bounding_box(reference | predicted, margin=1)
    y = torch.from_numpy(np.ascontiguousarray(reference[box]))[None, None].float()
    y_pred = torch.from_numpy(np.ascontiguousarray(predicted[box]))[None, None].float()
    dice = compute_dice(y_pred, y, include_background=True, ignore_empty=False)
    distance = compute_hausdorff_distance(
        y_pred, y, include_background=True, percentile=percentile, spacing=[float(edge) for edge in spacing_mm]
    )
    return float(dice), float(distance)
