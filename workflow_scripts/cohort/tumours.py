"""Measurements of the whole tumour: the conditions under which a generator makes one, in ml, mm and fractions.

Volume, surface, sphericity, centroid and bounding box are the nine features of Kebaili et al. 2024 (arXiv 2406.05421);
the shares of the inner regions are ours. Definitions follow the IBSI (Zwanenburg et al. 2020, section
"morphological features"): the surface is a marching-cubes mesh at the half level of the mask.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from ..base.errors import UserError
from ..study.conditions import FRACTION
from .planes import bounding_box


def measure(levels: np.ndarray, spacing_mm: Sequence[float], regions: Sequence[str] = ()) -> dict[str, float]:
    """Measure the whole tumour of one nested label map.

    levels : (D, H, W) integers or booleans
        0 background, level i + 1 in region i; axes run inferior to superior, posterior to anterior, left to right.
    spacing_mm : (z, y, x)
        Voxel size.
    regions : names, from the outside in; none: the shares of inner regions are left out

    Returns values by the names of `condition_names`: ``volume_ml`` counts voxels. ``surface_mm2`` is the area of the
    mesh, and ``sphericity`` is pi^(1/3) (6 V)^(2/3) / A with V and A of that mesh, so that it never passes 1 (with the
    voxel volume, a single voxel would reach 2.8). The centroid is relative to the centre of the grid: +x right,
    +y anterior, +z superior. A fraction is the region's share of the whole tumour's volume.

    Raises UserError if the mask is empty or is no 3D volume.
    """
    levels = np.asarray(levels)
    if levels.ndim != 3:
        raise UserError(f"a tumour mask must be a volume (D, H, W), not an array of shape {levels.shape}")
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    tumour = levels >= 1
    n_voxels = int(np.count_nonzero(tumour))
    if n_voxels == 0:
        raise UserError("the tumour mask is empty: nothing to measure")
    box = bounding_box(tumour)
    lower, upper = (np.array([getattr(part, end) for part in box]) for end in ("start", "stop"))
    tumour = tumour[box]  # everything below costs the tumour's own size, not the grid's
    counts = [tumour.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64) for axis in range(3)]
    centroid_index = lower + [float(count @ np.arange(count.size)) / n_voxels for count in counts]
    centroid_mm = (centroid_index - (np.asarray(levels.shape) - 1) / 2) * spacing
    box_mm = (upper - lower) * spacing
    surface_mm2, mesh_mm3 = _surface(tumour, spacing)
    return {
        "volume_ml": float(n_voxels * spacing.prod() / 1000.0),
        "surface_mm2": surface_mm2,
        "sphericity": math.pi ** (1 / 3) * (6.0 * mesh_mm3) ** (2 / 3) / surface_mm2,
        "centroid_x_mm": float(centroid_mm[2]),
        "centroid_y_mm": float(centroid_mm[1]),
        "centroid_z_mm": float(centroid_mm[0]),
        "box_width_mm": float(box_mm[2]),
        "box_height_mm": float(box_mm[1]),
        "box_depth_mm": float(box_mm[0]),
        **{
            f"{region}{FRACTION}": float(np.count_nonzero(levels[box] >= level) / n_voxels)
            for level, region in enumerate(regions[1:], 2)
        },
    }


def pieces_of(mask: np.ndarray) -> tuple[int, float]:
    """Number of pieces of a mask (D, H, W), joined over faces, edges and corners; share of its voxels in the largest.

    An empty mask has no piece, and the share is NaN.
    """
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count == 0:
        return 0, math.nan
    sizes = np.bincount(pieces.ravel())[1:]
    return count, float(sizes.max() / sizes.sum())


def _surface(mask: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    """Area (mm2) of the mask's half-level mesh, closed by a border of background, and the volume (mm3) inside it."""
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=tuple(spacing))
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    signed_mm3 = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0
    return float(mesh_surface_area(vertices, faces)), float(abs(signed_mm3))
