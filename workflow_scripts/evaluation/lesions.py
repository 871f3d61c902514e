"""Lesion-wise Dice and Hausdorff distance as the BraTS 2023 challenge defines them, and how many small lesions are hit.

The definition (Saluja et al., github.com/rachitsaluja/BraTS-2023-Metrics), for each region of a case:

1. The reference is dilated (18-neighbourhood, `dilation_voxels` times); reference voxels within one connected part
   (26-neighbourhood) of the dilated mask are one lesion. Its mask itself is not changed.
2. Every connected part (26) of the prediction that touches a lesion's dilated extent is matched with that lesion; one
   part may be matched with several. A lesion's Dice and HD95 are those of the lesion against all its parts together.
3. A lesion without a part is missed: Dice 0, HD95 374 mm. A part without a lesion is false: Dice 0, HD95 374 mm.
4. Lesions of `min_volume_mm3` or less are left out, hit or missed; parts matched with them are not false.
5. The case's score is the mean over the remaining lesions and the false parts; if there are none, Dice 1 and HD95 0 mm.

BraTS 2023 uses the same numbers for all regions of a challenge: 3 voxels and 50 mm3 for gliomas (adult, paediatric,
Sub-Saharan Africa), 1 voxel and 50 mm3 for meningiomas, 1 voxel and 2 mm3 for metastases. One thing differs here: HD95
counts each border voxel once, as the HD95 of the whole region does, where the challenge's tool weighs them by area.
"""

from collections.abc import Sequence

import numpy as np

from ..cohort.planes import bounding_box
from ..study.voxels import Lesions
from .segmentation_scores import hd_column, mask_scores

PENALTY_MM = 374.0  # of BraTS 2023: the diagonal of its 240 x 240 x 155 mm image, rounded up
LESION_CONVENTION = (
    "a lesion that is missed, and a false one, count with Dice 0 and HD 374 mm; without lesions and without false ones "
    "Dice is 1 and HD 0 mm"
)


def lesion_scores(
    reference: np.ndarray,
    predicted: np.ndarray,
    spacing_mm: Sequence[float],
    settings: Lesions,
    percentile: float = 95.0,
) -> dict[str, float]:
    """Lesion-wise scores of two binary masks (X, Y, Z) on one grid; `spacing_mm` goes with their axes.

    Returns ``lesion_dice``, ``lesion_hd95_mm``; ``lesions`` of the reference that count, ``lesions_missed`` of them,
    and ``lesions_false`` of the prediction; ``small_lesions`` and ``small_lesions_hit``. A lesion is hit if a part of
    the prediction touches its dilated extent. Then the settings: ``lesion_dilation_voxels``, ``lesion_min_mm3``,
    ``small_lesion_ml``.
    """
    from scipy.ndimage import binary_dilation, generate_binary_structure, label

    reference, predicted = np.asarray(reference, dtype=bool), np.asarray(predicted, dtype=bool)
    dice, distance, hit, small = [], [], [], []
    n_parts, matched = 0, set()
    if reference.any() or predicted.any():
        box = bounding_box(reference | predicted, margin=settings.dilation_voxels + 1)
        reference, predicted = reference[box], predicted[box]
        extent = reference
        if settings.dilation_voxels:  # SciPy reads 0 iterations as "until nothing changes"
            neighbours = generate_binary_structure(3, 2)
            extent = binary_dilation(reference, neighbours, iterations=settings.dilation_voxels)
        cube = np.ones((3, 3, 3), dtype=bool)
        extents, n_lesions = label(extent, cube)
        parts, n_parts = label(predicted, cube)
        voxel_mm3 = float(np.prod(spacing_mm))
        for index in range(1, n_lesions + 1):
            here = extents == index
            lesion = reference & here
            own = set(np.unique(parts[here]).tolist()) - {0}
            matched |= own
            volume_mm3 = round(np.count_nonzero(lesion) * voxel_mm3, 3)  # 50 voxels of 1 mm are 50 mm3
            if volume_mm3 <= settings.min_volume_mm3:
                continue
            hit.append(bool(own))
            small.append(bool(volume_mm3 < 1000.0 * settings.small_volume_ml))
            scores = mask_scores(lesion, np.isin(parts, list(own)), spacing_mm, percentile) if own else (0, PENALTY_MM)
            dice.append(scores[0])
            distance.append(scores[1])
    n_false = n_parts - len(matched)
    n_counted = len(dice) + n_false
    return {
        "lesion_dice": sum(dice) / n_counted if n_counted else 1.0,
        f"lesion_{hd_column(percentile)}": (sum(distance) + n_false * PENALTY_MM) / n_counted if n_counted else 0.0,
        "lesions": len(dice),
        "lesions_missed": hit.count(False),
        "lesions_false": n_false,
        "small_lesions": sum(small),
        "small_lesions_hit": sum(is_small and is_hit for is_small, is_hit in zip(small, hit, strict=True)),
        "lesion_dilation_voxels": settings.dilation_voxels,
        "lesion_min_mm3": settings.min_volume_mm3,
        "small_lesion_ml": settings.small_volume_ml,
    }
