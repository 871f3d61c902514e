"""What of a case is compared where cases are made in training patients on purpose: the tumour and little around it."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

CASES, TUMOURS = "cases", "tumours"  # what is compared: all of a case, or its tumour alone
MARGIN_MM = 8.0
"""Around the tumour that is compared as well: how a tumour goes over into its surroundings is its own."""


def tumour_alone(image: np.ndarray, levels: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Image (M, D, H, W) and levels (D, H, W) with the tumour's centroid in the middle, background beyond the margin.

    Wherever in a patient it lies, it is the same tumour. A case without tumour is background throughout.
    """
    tumour = np.asarray(levels) >= 1
    alone, moved = np.full(image.shape, -1.0, dtype=np.float32), np.zeros_like(np.asarray(levels))
    if not tumour.any():
        return alone, moved
    near = ndimage.distance_transform_edt(~tumour, sampling=spacing_mm) <= MARGIN_MM
    step = np.rint((np.array(tumour.shape) - 1) / 2 - np.argwhere(tumour).mean(axis=0)).astype(int)
    places = np.argwhere(near)
    inside = ((places + step >= 0) & (places + step < tumour.shape)).all(axis=1)
    origin = tuple(places[inside].T)
    into = tuple((places[inside] + step).T)
    alone[(slice(None), *into)] = np.asarray(image, dtype=np.float32)[(slice(None), *origin)]
    moved[into] = np.asarray(levels)[origin]
    return alone, moved
