"""A tumour generated inside a patient: which part of his latents is sampled anew, and how the change is laid into his image.

Known-region sampling (RePaint, Lugmayr et al. 2022, arXiv 2201.09865; for lesions LeFusion, arXiv 2403.14066): outside
of the region the estimate of the clean latent is the patient's own. That is all it takes: every sampler of
`diffusion.samplers` goes from such an estimate to the patient's latents noised to the next step's level, with the very
noise that it started from where it is deterministic, with the noise that it draws where it is not.

Everything here is a function of its arguments. Volumes are (D, H, W); lengths along them are given in that order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .samplers import Predictor

CENTROID = ("centroid_z_mm", "centroid_y_mm", "centroid_x_mm")
BOX = ("box_depth_mm", "box_height_mm", "box_width_mm")
LEAST_INSIDE = 0.95
"""Share of a wanted tumour that must lie in the foreground where it is put: a tumour ends at its edge."""


@dataclass(frozen=True)
class Known:
    """A patient's own latents (B, e, D, h, w), normalised as those that are sampled; region: bool, broadcasts to them,
    where to sample instead."""

    latents: Tensor
    region: Tensor

    def kept(self, predict: Predictor) -> Predictor:
        """`predict`, but that outside of the region the estimate of the clean latent is the patient's own."""
        return lambda x, t: torch.where(self.region, predict(x, t), self.latents)

    def start(self, noise: Tensor, alpha: float, sigma: float) -> Tensor:
        """`noise` in the region; outside of it the patient's latents, noised with it to a first step of this level."""
        return torch.where(self.region, noise, alpha * self.latents + sigma * noise)


def ellipsoid(half_axes_mm: Sequence[float], spacing_mm: Sequence[float]) -> np.ndarray:
    """A solid ellipsoid, bool, on a grid of odd edges that just holds it; one voxel at least."""
    reach = [int(half / edge) for half, edge in zip(half_axes_mm, spacing_mm, strict=True)]
    axes = np.ogrid[tuple(slice(-count, count + 1) for count in reach)]
    scaled = zip(axes, half_axes_mm, spacing_mm, strict=True)
    squared = [(axis * edge / max(half, edge)) ** 2 for axis, half, edge in scaled]
    return np.asarray(sum(squared) <= 1.0)


def wanted_tumour(
    conditions: Mapping[str, float], allowed: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[np.ndarray, dict[str, float]]:
    """Where a tumour of these conditions is to lie, bool, and its centroid as condition name -> mm.

    It is the ellipsoid of their volume and their box's proportions (as in `conditioning`), at their centroid, or at the
    place nearest to it where `LEAST_INSIDE` of it lies in what is `allowed` (bool); without such a place at that with the
    largest share. What is not allowed is cut off.
    """
    from scipy.signal import fftconvolve  # here, not above: it takes a second, and few programs edit

    half_mm = np.array([conditions[name] for name in BOX]) / 2
    half_mm *= (1000.0 * conditions["volume_ml"] / (4 / 3 * math.pi * half_mm.prod())) ** (1 / 3)
    shape = ellipsoid(half_mm.tolist(), spacing_mm)
    inside = fftconvolve(allowed.astype(np.float32), shape.astype(np.float32), mode="same") / shape.sum()
    inside = np.where(allowed, inside.clip(0, 1), 0.0)
    middle = (np.array(allowed.shape) - 1) / 2
    asked_mm = np.array([conditions[name] for name in CENTROID])
    places_mm = (np.indices(allowed.shape).reshape(3, -1).T - middle) * spacing_mm  # (N, 3)
    fits = (inside >= min(LEAST_INSIDE, inside.max() - 1e-6)).ravel()
    distance = np.where(fits, np.square(places_mm - asked_mm).sum(axis=1), np.inf)
    centre = np.array(np.unravel_index(distance.argmin(), allowed.shape))
    tumour = np.zeros(allowed.shape, dtype=bool)
    offsets = np.argwhere(shape) - np.array(shape.shape) // 2 + centre
    offsets = offsets[((offsets >= 0) & (offsets < allowed.shape)).all(axis=1)]
    tumour[tuple(offsets.T)] = True
    exact_mm = (centre - middle) * spacing_mm
    moved_mm = np.where(np.abs(exact_mm - asked_mm) <= np.array(spacing_mm) / 2, asked_mm, exact_mm)
    return tumour & allowed, dict(zip(CENTROID, moved_mm.tolist(), strict=True))


def distance_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """How far each voxel lies from the nearest one of `mask`, mm; infinitely far from an empty one."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return ndimage.distance_transform_edt(~mask, sampling=spacing_mm)


def feather(mask: np.ndarray, spacing_mm: Sequence[float], margin_mm: float, fade_mm: float) -> np.ndarray:
    """Weights, float32: 1 in `mask` and within the margin around it, then falling to 0 over `fade_mm`."""
    beyond = distance_mm(mask, spacing_mm) - margin_mm
    return np.clip(1.0 - beyond / max(fade_mm, 1e-6), 0.0, 1.0).astype(np.float32)


def latent_region(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The cells (D', h, w) of latents of that `size` which hold a voxel of `mask`, bool."""
    blocks = [whole // count for whole, count in zip(mask.shape, size, strict=True)]
    split = [edge for pair in zip(size, blocks, strict=True) for edge in pair]
    return np.asarray(mask.reshape(split).any(axis=(1, 3, 5)))


def voxels_of(cells: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The voxels (D, H, W) of latent cells (D', h, w)."""
    for axis, (whole, count) in enumerate(zip(shape, cells.shape, strict=True)):
        cells = cells.repeat(whole // count, axis=axis)
    return cells


def laid_in(
    host: np.ndarray, edited: np.ndarray, reconstructed: np.ndarray, weight: np.ndarray, foreground: np.ndarray
) -> np.ndarray:
    """``host + weight * (edited - reconstructed)`` in the foreground, the host himself elsewhere: (M, D, H, W) float32.

    edited, reconstructed : decoded from the edited latents and from the host's own, so that the autoencoder's error
    cancels to first order and the host's texture stays.
    """
    change = np.where(foreground, weight * (edited - reconstructed), np.float32(0.0))
    return (host + change).astype(np.float32)
