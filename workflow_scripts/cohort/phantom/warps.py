"""Shapes of heads: an affine change and a random smooth invertible deformation of the template, and mass effect."""

import numpy as np

from .fields import Grid, random_field

LATTICE_MM = 6.0
_SQUARINGS = 5
# A brain of the template's size would be unusual: averaging in MNI space enlarges it by about a tenth.
_MEAN_SCALE = 0.94
_VELOCITIES = ((45.0, 3.2), (22.0, 1.9))  # distance between knots, standard deviation; mm


class HeadShape:
    """A random invertible map from a patient's space to the template's, a function of `rng` alone.

    The nonlinear part is the exponential of a stationary velocity field by scaling and squaring (Arsigny et al. 2006,
    doi:10.1007/11866565_113), on a lattice of `LATTICE_MM`; the affine part scales, shears, rotates and shifts.
    """

    def __init__(self, rng: np.random.Generator, centre_mm: np.ndarray, extent_mm: np.ndarray):
        self.centre_mm = np.asarray(centre_mm, np.float32)
        scale = _MEAN_SCALE * np.exp(rng.normal(0, 0.02) + rng.normal(0, 0.02, 3))
        linear = np.diag(1 / scale) + np.triu(rng.normal(0, 0.02, (3, 3)), 1)
        self.linear = (linear @ _rotation(np.deg2rad(rng.normal(0, 2.5, 3)))).astype(np.float32)
        self.shift_mm = rng.normal(0, 1.5, 3).astype(np.float32)
        self.lattice = Grid.around(centre_mm, np.asarray(extent_mm) + 4 * LATTICE_MM, LATTICE_MM)
        velocity = np.stack(
            [sum(sd * random_field(rng, self.lattice, knots) for knots, sd in _VELOCITIES) for _ in range(3)]
        )
        self.displacement_mm = self._exponential(velocity)

    def _exponential(self, velocity_mm: np.ndarray) -> np.ndarray:
        """Displacement (3, D, H, W) in mm of the flow of `velocity_mm` for unit time."""
        points = self.lattice.points_mm()
        flow = velocity_mm / np.float32(2**_SQUARINGS)
        for _ in range(_SQUARINGS):
            moved = points + flow
            flow = flow + np.stack([self.lattice.sample(part, moved) for part in flow])
        return flow

    def to_template(self, points_mm: np.ndarray) -> np.ndarray:
        """Template points (3, ...) of patient points (3, ...), mm."""
        warped = points_mm + np.stack([self.lattice.sample(part, points_mm) for part in self.displacement_mm])
        column = (3, *[1] * (points_mm.ndim - 1))
        centred = warped - self.centre_mm.reshape(column)
        moved = np.einsum("ij,j...->i...", self.linear, centred)  # no BLAS: same bits for any number of threads
        return moved + (self.centre_mm + self.shift_mm).reshape(column)


def before_mass_effect(points_mm: np.ndarray, centre_mm: np.ndarray, radius_mm: float, strength: float) -> np.ndarray:
    """Where the tissue now at `points_mm` (3, ...) was before a tumour at `centre_mm` pushed it outwards.

    The distance r to the centre was r (1 - s exp(-(r / R)^2)): monotone in r, so invertible, for 0 <= s < 1.
    The largest shift, s R / sqrt(2 e), lies near R / sqrt(2); far away nothing moves.
    """
    from_centre = points_mm - np.asarray(centre_mm, np.float32).reshape(3, *[1] * (points_mm.ndim - 1))
    pull = np.float32(strength) * np.exp(-(from_centre**2).sum(0) / np.float32(radius_mm**2))
    return points_mm - pull * from_centre


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix of three angles in radians, one about each axis."""
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        result = turn @ result
    return result
