"""Planes through a volume (D, H, W): which axis they cut, how large their slices are, which to look at; boxes in it."""

from collections.abc import Sequence

import numpy as np

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # the axis along which slices lie


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice, slice] | None:
    """Slices of the smallest box around a 3D mask, `margin` voxels wider where the grid allows it; None if it is empty."""
    first = np.flatnonzero(mask.any(axis=(1, 2)))
    if not first.size:
        return None
    part = mask[first[0] : first[-1] + 1].any(axis=0)
    found = (first, *(np.flatnonzero(part.any(axis=axis)) for axis in (1, 0)))
    ends = [(int(hit[0]) - margin, int(hit[-1]) + 1 + margin) for hit in found]
    return tuple(slice(max(0, low), min(n, high)) for (low, high), n in zip(ends, mask.shape, strict=True))


def largest_slices(levels: np.ndarray) -> dict[str, int]:
    """For each plane the slice with the most tumour; the middle where there is none."""
    tumour = np.asarray(levels) > 0
    found = {}
    for plane, axis in PLANES.items():
        area = tumour.sum(axis=tuple(other for other in range(3) if other != axis))
        found[plane] = int(area.argmax()) if area.any() else levels.shape[axis] // 2
    return found


def extent_mm(plane: str, shape: Sequence[int], spacing_mm: Sequence[float]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a slice of a (D, H, W) volume, in mm."""
    depth, height, width = (n * edge for n, edge in zip(shape, spacing_mm, strict=True))
    across, up = {"axial": (width, height), "coronal": (width, depth), "sagittal": (height, depth)}[plane]
    return (0.0, across, 0.0, up)
