"""How alike two cases are, voxel by voxel, whatever their side, brightness and contrast, and within a small shift.

A case is brought to a coarse grid and smoothed, which forgives noise, blur and what is left of a shift. In each modality
the foreground's mean is taken off and the background set to 0, so that neither brightness, contrast nor the outline of
the head counts.
The likeness of two such images is their correlation, at the best of both sides and all shifts of whole coarse voxels
(normalised cross-correlation, Lewis 1995), averaged over the modalities; that of two masks is their Dice, likewise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.measure import block_reduce


@dataclass(frozen=True)
class Pose:
    """A case mirrored left to right or not, then moved by whole voxels (z, y, x) of the coarse grid."""

    flipped: bool
    shift: tuple[int, int, int]


def blocks_of(spacing_mm: Sequence[float], coarse_mm: float) -> tuple[int, int, int]:
    """Voxels along (D, H, W) that make one coarse voxel of about `coarse_mm`; at least 1."""
    return tuple(max(1, round(coarse_mm / edge)) for edge in spacing_mm)


def poses_within(max_shift_mm: float, coarse_spacing_mm: Sequence[float]) -> list[Pose]:
    """Both sides at every shift of at most `max_shift_mm` along each axis, the case as it lies first."""
    reach = [int(max_shift_mm / edge + 1e-6) for edge in coarse_spacing_mm]
    shifts = sorted(product(*(range(-count, count + 1) for count in reach)), key=lambda shift: np.square(shift).sum())
    return [Pose(flipped, shift) for flipped in (False, True) for shift in shifts]


def coarse_image(image: np.ndarray, blocks: Sequence[int], sigma: Sequence[float] = (0, 0, 0)) -> np.ndarray:
    """The image of a case as it is compared, of length 1.

    image : (M, D, H, W) in [-1, 1], background exactly -1
    blocks : voxels along (D, H, W) that make a coarse one
    sigma : standard deviations along (D, H, W) of the Gaussian that smooths over the foreground, in coarse voxels

    Returns float32 (M, d, h, w), each modality zero outside of the foreground and on average over it; one without
    contrast is zero throughout.
    """
    blocks, foreground = tuple(blocks), np.zeros(image.shape[1:], dtype=bool)
    for channel in image:
        foreground |= np.asarray(channel) > -1.0
    count = block_reduce(foreground, blocks, np.sum).astype(np.float32)
    inside = count >= max(1.0, 0.5 * np.prod(blocks))
    coarse = np.zeros((len(image), *inside.shape), dtype=np.float32)
    if not inside.any():
        return coarse
    weight = gaussian_filter(count, sigma, mode="constant")[inside]
    for channel, seen in zip(image, coarse, strict=True):  # one modality in memory at a time
        sums = block_reduce(np.where(foreground, np.asarray(channel, dtype=np.float32), 0.0), blocks, np.sum)
        values = gaussian_filter(sums, sigma, mode="constant")[inside] / weight  # mean over the foreground alone
        values = values - values.mean()
        length = np.linalg.norm(values)
        if length > 1e-6 * values.size:
            seen[inside] = values / length
    return coarse / np.float32(np.sqrt(len(image)))


def coarse_mask(levels: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """The share of whole tumour in each coarse voxel: levels (D, H, W) -> float32 (1, d, h, w)."""
    return block_reduce((np.asarray(levels) >= 1).astype(np.float32), tuple(blocks), np.mean)[None].astype(np.float32)


def moved(volume: np.ndarray, pose: Pose) -> np.ndarray:
    """`volume` (..., D, H, W) in another pose; what enters is zero."""
    source = volume[..., ::-1] if pose.flipped else volume
    out = np.zeros_like(source)
    into, origin = [], []
    for step in pose.shift:
        into.append(slice(max(step, 0), None if step >= 0 else step))
        origin.append(slice(max(-step, 0), None if step <= 0 else -step))
    out[(..., *into)] = source[(..., *origin)]
    return out


def _products(query: np.ndarray, others: np.ndarray, poses: Sequence[Pose]) -> np.ndarray:
    """Sum over voxels and channels of the query in each pose times each of the others: (P, n)."""
    found = np.zeros((len(poses), len(others)), dtype=np.float32)
    for channel in range(len(query)):  # bounds memory: P coarse volumes at once
        views = np.stack([moved(query[channel], pose).ravel() for pose in poses])
        found += views @ others[:, channel].reshape(len(others), -1).T
    return found


def _best(scores: np.ndarray, poses: Sequence[Pose]) -> tuple[np.ndarray, list[Pose]]:
    chosen = scores.argmax(axis=0)
    return scores[chosen, np.arange(scores.shape[1])].astype(np.float64), [poses[index] for index in chosen]


def image_likeness(query: np.ndarray, others: np.ndarray, poses: Sequence[Pose]) -> tuple[np.ndarray, list[Pose]]:
    """Correlation of a case with each of n others, -1 to 1, and the pose of the query in which it is reached.

    query (M, d, h, w) and others (n, M, d, h, w) as of `coarse_image`. Returns (n,) and n poses.
    """
    return _best(_products(query, others, poses), poses)


def mask_likeness(query: np.ndarray, others: np.ndarray, poses: Sequence[Pose]) -> tuple[np.ndarray, list[Pose]]:
    """Dice of a tumour with each of n others, 0 to 1, and the pose of the query; two empty masks have 0.

    query (1, d, h, w) and others (n, 1, d, h, w) as of `coarse_mask`; 2 ab / (aa + bb), which is Dice for whole voxels.
    """
    sizes = (query**2).sum() + (others**2).sum(axis=(1, 2, 3, 4))
    return _best(2.0 * _products(query, others, poses) / np.maximum(sizes, 1e-6), poses)
