"""A patient without the tumour: what it covers is filled from the other side of the body."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from ..diffusion.hosts import Host

AROUND_VOXELS = 1  # of the tumour that are filled as well: its border is blurred
MOST_SHIFT = 4  # voxels by which the middle of the foreground may lie beside that of the grid, twice
EDGE_SIGMA = 0.7  # voxels over which what was filled in goes over into what was there


def healed(case: Host) -> Host:
    """The case with an empty mask, its tumour replaced by the mirrored side; where that is tumour too, or none of the
    foreground, by a smooth continuation of the tissue around."""
    tumour, foreground = case.levels > 0, case.foreground
    filled = ndimage.binary_dilation(tumour, iterations=AROUND_VOXELS) & foreground
    shift = _middle(foreground)
    image, other = (np.roll(array[..., ::-1], shift, axis=-1) for array in (case.image, filled | ~foreground))
    donated = filled & ~other
    known = foreground & ~filled | donated
    border = ndimage.binary_dilation(filled) & ~ndimage.binary_erosion(filled) & foreground
    share = ndimage.gaussian_filter(foreground.astype(np.float32), EDGE_SIGMA)
    out = case.image.copy()
    for channel, mirror in zip(out, image, strict=True):
        values = np.where(donated, mirror, channel)
        values = np.where(filled & ~donated, _continued(values, known), values)
        channel[...] = np.where(filled, values, channel)
        smooth = ndimage.gaussian_filter(np.where(foreground, channel, 0), EDGE_SIGMA)
        channel[border] = smooth[border] / share[border]
    return replace(case, image=out, levels=np.zeros_like(case.levels))


def _middle(foreground: np.ndarray) -> int:
    """By how many voxels a mirrored volume is moved along W to lie best on the volume itself."""
    scores = {
        step: (np.roll(foreground[..., ::-1], step, -1) & foreground).sum()
        for step in range(-MOST_SHIFT, MOST_SHIFT + 1)
    }
    return max(scores, key=lambda step: (scores[step], -abs(step)))


def _continued(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Normalised convolution of the known values (D, H, W), as fine as their distance allows."""
    out, missing = values.copy(), ~known
    for sigma in (1.0, 2.0, 4.0, 8.0):
        share = ndimage.gaussian_filter(known.astype(np.float32), sigma)
        there = missing & (share > 0.1 if sigma < 8 else share > 0)
        out[there] = ndimage.gaussian_filter(np.where(known, values, 0), sigma)[there] / share[there]
        missing = missing & ~there
    return out
