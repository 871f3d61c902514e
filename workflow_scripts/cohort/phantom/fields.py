"""Grids in patient space and smooth random fields on them, for the simulated cohort.

Arrays run (D, H, W) = inferior to superior, posterior to anterior, left to right; points are (z, y, x) in mm, RAS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates


@dataclass(frozen=True)
class Grid:
    """A regular grid with cubic voxels: `size` (D, H, W) voxels of `spacing_mm`, the first voxel at `origin_mm`."""

    size: tuple[int, int, int]
    spacing_mm: float
    origin_mm: tuple[float, float, float]

    @classmethod
    def around(cls, centre_mm: np.ndarray, extent_mm: np.ndarray, spacing_mm: float) -> Grid:
        """The smallest grid of that spacing around a centre that covers an extent, all (z, y, x)."""
        size = tuple(math.ceil(length / spacing_mm) for length in extent_mm)
        origin = tuple(float(c - (n - 1) / 2 * spacing_mm) for c, n in zip(centre_mm, size, strict=True))
        return cls(size, spacing_mm, origin)

    def axis_mm(self, axis: int) -> np.ndarray:
        """Positions of the voxel centres along one axis, mm."""
        return self.origin_mm[axis] + self.spacing_mm * np.arange(self.size[axis])

    def points_mm(self) -> np.ndarray:
        """Voxel centres, (3, D, H, W) float32, mm."""
        axes = [self.axis_mm(axis) for axis in range(3)]
        return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)

    def sample(self, array: np.ndarray, points_mm: np.ndarray, outside: str = "nearest") -> np.ndarray:
        """Linear interpolation of `array` (D, H, W), given on this grid, at points (3, ...).

        Outside of the grid the border's values go on ("nearest") or all is zero ("constant").
        """
        origin = np.asarray(self.origin_mm, np.float32).reshape(3, *[1] * (points_mm.ndim - 1))
        index = (points_mm - origin) / np.float32(self.spacing_mm)
        return map_coordinates(array, index, order=1, mode=outside, output=np.float32)


def random_field(rng: np.random.Generator, grid: Grid, length_mm: float) -> np.ndarray:
    """A smooth Gaussian random field of mean 0 and about unit variance, (D, H, W) float32.

    White noise on a lattice of knots `length_mm` apart, blended by cubic B-splines; features are about two knots wide.
    """
    weights = [_spline_weights(grid.axis_mm(axis), length_mm) for axis in range(3)]
    field = rng.standard_normal([weight.shape[1] for weight in weights])
    for axis, weight in enumerate(weights):
        # einsum without BLAS: the order of its sums, and so every bit, is the same for any number of threads
        field = np.moveaxis(np.einsum("nk,k...->n...", weight, np.moveaxis(field, axis, 0)), 0, axis)
    return (field / _SPLINE_DEVIATION**3).astype(np.float32)


_SPLINE_DEVIATION = math.sqrt(151 / 315)  # root of the mean over a knot interval of the summed squared weights


def _spline_weights(positions_mm: np.ndarray, length_mm: float) -> np.ndarray:
    """Uniform cubic B-spline weights, (n positions, n knots)."""
    scaled = (positions_mm - positions_mm[0]) / length_mm
    first = np.floor(scaled).astype(int)
    t = scaled - first
    weights = np.zeros((len(scaled), first[-1] + 4))
    rows = np.arange(len(scaled))
    weights[rows, first] = (1 - t) ** 3 / 6
    weights[rows, first + 1] = (3 * t**3 - 6 * t**2 + 4) / 6
    weights[rows, first + 2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    weights[rows, first + 3] = t**3 / 6
    return weights
