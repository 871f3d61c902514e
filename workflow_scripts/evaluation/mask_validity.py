"""What can be wrong with the tumour mask of one case, and what is measured of a mask without a tumour."""

import math

import numpy as np

from ..cohort.tumours import pieces_of

VALIDITY = ("empty", "pieces", "largest_piece_fraction", "outside_foreground_fraction", "unnested_fraction")
EMPTY_MEASURES = dict.fromkeys(("volume_ml", "surface_mm2", "box_width_mm", "box_height_mm", "box_depth_mm"), 0.0)
"""What an empty mask measures; it has no centre, no form and no fractions."""


def validity(levels: np.ndarray, foreground: np.ndarray) -> dict[str, float]:
    """What can be wrong with the mask (D, H, W) of a case and its foreground (D, H, W), by the names of `VALIDITY`.

    ``empty`` is 0 or 1; ``pieces`` counts; ``largest_piece_fraction`` and ``outside_foreground_fraction`` are shares of
    the whole tumour's voxels, NaN for an empty mask; ``unnested_fraction`` is 0, as levels are nested.
    """
    tumour = levels > 0
    count, largest = pieces_of(tumour)
    total = int(np.count_nonzero(tumour))
    outside = np.count_nonzero(tumour & ~foreground) / total if total else math.nan
    values = (float(total == 0), float(count), largest, outside, 0.0 if total else math.nan)
    return dict(zip(VALIDITY, values, strict=True))
