"""Voxel grids in space: reorientation to RAS, and resampling between any two grids and back.

Two orders of axes meet here. NIfTI arrays are (X, Y, Z) with an affine from voxel (x, y, z) to mm. Volumes are
(D, H, W) with D inferior to superior, H posterior to anterior, W left to right, and their affine takes voxel
(w, h, d) to RAS mm: a volume transposed to (W, H, D) is a NIfTI array in RAS orientation.
"""

from collections.abc import Sequence

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from scipy import ndimage

RAS = np.array([[0, 1], [1, 1], [2, 1]])
ALIGNED_TOLERANCE = 0.01  # voxels over the whole grid: grids closer than this count as the same or parallel


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Voxel edges in mm along the array's axes (3,)."""
    return np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)


def to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reorient a NIfTI array (X, Y, Z) to a volume (D, H, W) by flips and transposes alone.

    Returns a view of `array` and the affine from voxel (w, h, d) to mm; an oblique grid stays oblique.
    """
    orientation = io_orientation(affine)
    reoriented = apply_orientation(array, orientation)
    return reoriented.transpose(2, 1, 0), affine @ inv_ornt_aff(orientation, array.shape)


def from_ras(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The inverse of `to_ras`: a volume (D, H, W) as the (X, Y, Z) array of the grid whose affine is `affine`."""
    orientation = ornt_transform(RAS, io_orientation(affine))
    return apply_orientation(volume.transpose(2, 1, 0), orientation)


def ras_grid(shape: Sequence[int], affine: np.ndarray) -> tuple[tuple[int, int, int], np.ndarray]:
    """Size (D, H, W) and affine (voxel (w, h, d) to mm) of the grid (X, Y, Z), `affine`, reoriented to RAS."""
    volume, ras_affine = to_ras(np.broadcast_to(np.uint8(0), tuple(shape)), np.asarray(affine, dtype=np.float64))
    return volume.shape, ras_affine


def corner_distance_mm(shape: Sequence[int], one: np.ndarray, other: np.ndarray) -> float:
    """How far apart two affines put the corners of a grid of `shape` (in the affines' order of axes), in mm."""
    corners = np.array(np.meshgrid(*[[0, edge - 1] for edge in shape], indexing="ij")).reshape(3, -1)
    offset = (one - other)[:3, :3] @ corners + (one - other)[:3, 3:]
    return float(np.linalg.norm(offset, axis=0).max())


def is_parallel(matrix: np.ndarray, size_whd: Sequence[int]) -> bool:
    """Whether a voxel-to-voxel matrix (3 x 3) only scales the axes, up to a hundredth of a voxel over the grid."""
    off_diagonal = np.abs(matrix - np.diag(np.diag(matrix)))
    return float((off_diagonal @ np.asarray(size_whd, dtype=float)).max()) < ALIGNED_TOLERANCE


def resample(
    volume: np.ndarray, affine: np.ndarray, target_affine: np.ndarray, target_size: Sequence[int]
) -> np.ndarray:
    """Resample one volume on another grid; zero outside of it.

    Along an axis on which the target's voxels are larger, a target voxel is the mean over the box it covers, which
    keeps volumes and does not alias; elsewhere it is interpolated linearly. Grids that differ by a shift of whole
    voxels are copied exactly. Grids rotated against each other are low-passed by a Gaussian with the variance of that
    box, then interpolated linearly.

    volume : (D, H, W), any real type
    affine, target_affine : 4 x 4, voxel (w, h, d) to mm
    target_size : (D, H, W) of the result

    Returns float32 (D, H, W); the type of `volume` where it was copied exactly
    """
    between = np.linalg.inv(affine) @ target_affine  # target voxel (w, h, d) -> source voxel (w, h, d)
    matrix, start = between[:3, :3], between[:3, 3]
    if not is_parallel(matrix, target_size[::-1]):
        return _resample_rotated(volume, matrix[::-1, ::-1], start[::-1], target_size)
    crop, weights = [], {}  # per axis the planes needed, and how they are weighted if they are not copied
    steps = zip(np.diag(matrix)[::-1], start[::-1], target_size, strict=True)  # depth, height, width
    for axis, (step, first, count) in enumerate(steps):
        whole = round(first)
        if abs(first - whole) + abs(step - 1) * count < ALIGNED_TOLERANCE:
            crop.append((whole, count))
        else:
            weights[axis], low = _weights(volume.shape[axis], first, step, count)
            crop.append((low, weights[axis].shape[1]))
    part = _crop(volume, crop)
    for axis, weight in weights.items():
        part = np.moveaxis(np.tensordot(weight, part.astype(np.float32, copy=False), axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(part)


def _crop(volume: np.ndarray, planes: Sequence[tuple[int, int]]) -> np.ndarray:
    """(first, count) planes along each axis, zeros where there are none."""
    lengths = volume.shape
    inside = [(max(first, 0), min(first + count, n)) for (first, count), n in zip(planes, lengths, strict=True)]
    part = np.zeros([count for _, count in planes], dtype=volume.dtype)
    if all(low < high for low, high in inside):
        target = tuple(slice(low - first, high - first) for (low, high), (first, _) in zip(inside, planes, strict=True))
        part[target] = volume[tuple(slice(low, high) for low, high in inside)]
    return part


def _weights(length: int, first: float, step: float, count: int) -> tuple[np.ndarray, int]:
    """Weights (count, columns) of the source planes low, low + 1, ... in each target plane, and low."""
    centre = first + step * np.arange(count)[:, None]  # in source voxels
    source = np.arange(length)[None]
    if step > 1:
        upper, lower = np.minimum(centre + step / 2, source + 0.5), np.maximum(centre - step / 2, source - 0.5)
        weights = np.clip(upper - lower, 0, None) / step
    else:
        inside = (centre > -0.5 - 1e-6) & (centre < length - 0.5 + 1e-6)
        weights = np.clip(1 - np.abs(np.clip(centre, 0, length - 1) - source), 0, None) * inside
    used = np.flatnonzero(weights.any(axis=0))
    low, high = (used[0], used[-1] + 1) if used.size else (0, 1)
    return weights[:, low:high].astype(np.float32), int(low)


def _resample_rotated(
    volume: np.ndarray, matrix: np.ndarray, start: np.ndarray, target_size: Sequence[int]
) -> np.ndarray:
    """The general case: `matrix` and `start` take target voxel (d, h, w) to source voxel (d, h, w)."""
    step = np.linalg.norm(matrix, axis=1)
    sigma = np.sqrt(np.clip(step**2 - 1, 0, None) / 12)
    smooth = ndimage.gaussian_filter(volume.astype(np.float32), sigma, mode="constant")
    shape = tuple(target_size)
    result = ndimage.affine_transform(smooth, matrix, start, output_shape=shape, order=1, mode="nearest")
    target = np.ogrid[tuple(slice(0, edge) for edge in shape)]
    for axis, length in enumerate(volume.shape):
        position = start[axis] + sum(matrix[axis, index] * target[index] for index in range(3))
        result[(position < -0.5) | (position > length - 0.5)] = 0
    return result


def to_source_grid(channels: np.ndarray, meta: dict) -> np.ndarray:
    """Bring channels of a preprocessed case back on the voxel grid its files came on.

    Exact where the grids differ by flips, transposes and a crop; linear interpolation elsewhere (`resample`). Voxels
    outside the preprocessed grid get 0.

    channels : (R, D, H, W), e.g. probabilities
    meta : the case's sidecar (`VolumeStore.meta`): affine, and source {affine, shape}

    Returns float32 (R, X, Y, Z)
    """
    source_affine = np.asarray(meta["source"]["affine"], dtype=np.float64)
    size, ras_affine = ras_grid(meta["source"]["shape"], source_affine)
    affine = np.asarray(meta["affine"], dtype=np.float64)
    back = np.empty((len(channels), *meta["source"]["shape"]), dtype=np.float32)
    for channel, target in zip(channels, back, strict=True):
        target[...] = from_ras(resample(channel, affine, ras_affine, size), source_affine)
    return back
