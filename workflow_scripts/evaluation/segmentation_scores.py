"""Dice and Hausdorff distance of two masks.

Empty regions, the convention of the BraTS challenges: both masks empty: Dice 1, HD 0 mm; one of the two empty: Dice 0
and HD = the diagonal of the image in mm. BraTS fixes that penalty at 373.13 mm (in 2023: 374 mm), which is the diagonal
of its 240 x 240 x 155 grid at 1 mm; here it is the diagonal of the case's own image, so that it fits any grid.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

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

    `spacing_mm` goes with the axes of the masks. The distance is the larger of the two directed percentiles, between the
    voxels at the masks' surfaces, as ``monai.metrics`` has it; measured on the box around the union of the masks, since
    voxels outside it change neither.
    """
    reference, predicted = np.asarray(reference, dtype=bool), np.asarray(predicted, dtype=bool)
    if reference.shape != predicted.shape:
        raise ValueError(f"masks on different grids: {reference.shape} and {predicted.shape}")
    if not reference.any() and not predicted.any():
        return 1.0, 0.0
    if not reference.any() or not predicted.any():
        return 0.0, image_diagonal_mm(reference.shape, spacing_mm)
    box = bounding_box(reference | predicted, margin=1)
    masks = [np.pad(mask[box], 1) for mask in (reference, predicted)]
    dice = 2.0 * np.count_nonzero(masks[0] & masks[1]) / sum(map(np.count_nonzero, masks))
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
    away = [ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    directed = [np.percentile(away[1][surfaces[0]], percentile), np.percentile(away[0][surfaces[1]], percentile)]
    return float(dice), float(max(directed))
