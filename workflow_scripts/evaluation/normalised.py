"""What a segmenter sees of a case: intensities after the z-score over its foreground (nnU-Net's normalisation of MRI).

A dark rim, or a foreground that is too large, shifts mean and spread, and with them every tumour: an error that a picture
in the case's own range hides.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

RIM = "rim"
"""The outermost voxels of the foreground: those with a face on the background."""


def normalised_means(
    image: np.ndarray, foreground: np.ndarray, levels: np.ndarray, regions: Sequence[str]
) -> dict[str, np.ndarray]:
    """Mean z-score of each modality at the rim, and in each region less the regions within it.

    image : (M, D, H, W)
    foreground : bool (D, H, W); edges of the grid are no rim
    levels : (D, H, W), 0 to R

    Returns place -> (M,), the rim first, then the regions; NaN for a place without voxels, or without contrast
    """
    values = np.asarray(image, dtype=np.float64)[:, foreground]
    mean, spread = values.mean(axis=1, keepdims=True), values.std(axis=1, keepdims=True)
    z = (values - mean) / np.where(spread > 0, spread, np.nan)
    places = {RIM: foreground & ~ndimage.binary_erosion(foreground, border_value=1)}
    places |= {region: levels == level for level, region in enumerate(regions, 1)}
    found = {}
    for place, mask in places.items():
        chosen = mask[foreground]
        found[place] = z[:, chosen].mean(axis=1) if chosen.any() else np.full(len(z), np.nan)
    return found


COLUMN = "z_of_{place}:{modality}"


def normalised_columns(image: np.ndarray, levels: np.ndarray, meta: Mapping) -> dict[str, float]:
    """Columns of a case's table: its foreground in ml, and `normalised_means` by `COLUMN`.

    image : (M, D, H, W) in [-1, 1], background exactly -1; levels : (D, H, W)
    meta : of a preprocessed case of the same grid: modalities, regions, written, spacing_mm
    """
    foreground = (np.asarray(image) > -1.0).any(axis=0) | (not meta["written"]["background"])
    means = normalised_means(image, foreground, np.asarray(levels), meta["regions"])
    return {"foreground_volume_ml": float(foreground.sum() * np.prod(meta["spacing_mm"]) / 1000)} | {
        COLUMN.format(place=place, modality=modality): float(value)
        for place, values in means.items()
        for modality, value in zip(meta["modalities"], values, strict=True)
    }
