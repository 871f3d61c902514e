"""Changed copies of a case: mirrored, turned, scaled, shifted, with another contrast. A copy is a function of its rng.

Every copy but a mirrored one carries a label that says how it was changed, so that a generator does not make such
changes of its own (Karras et al. 2022, arXiv 2206.00364, appendix F.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..study.settings.autoencoder import Augmentation

N_LABELS = 8
"""Turns about x, y, z; scaling; shifts along x, y, z; gamma: each in units of its largest amount."""


@dataclass(frozen=True)
class Change:
    """How a copy differs from its case.

    flipped : mirrored left to right, before all else
    amounts : (N_LABELS,) from -1 to 1, as the label has them
    """

    flipped: bool
    amounts: np.ndarray

    @classmethod
    def none(cls, flipped: bool = False) -> Change:
        """No change, or that of side alone."""
        return cls(flipped, np.zeros(N_LABELS, dtype=np.float32))

    @classmethod
    def draw(cls, rng: np.random.Generator, settings: Augmentation) -> Change:
        """Each amount evenly within its limits, and one of the two sides; 0 where the settings allow none."""
        limits = (settings.rotation_degrees, settings.scaling, settings.shift_mm, settings.gamma)
        allowed = np.repeat(np.array(limits) > 0, (3, 1, 3, 1))
        amounts = np.where(allowed, rng.uniform(-1, 1, N_LABELS), 0.0)
        return cls(bool(settings.flip and rng.random() < 0.5), amounts.astype(np.float32))


def changed(
    image: np.ndarray, levels: np.ndarray, spacing_mm: Sequence[float], change: Change, settings: Augmentation
) -> tuple[np.ndarray, np.ndarray]:
    """The copy of a case: image float32 (M, D, H, W) with the background exactly -1, levels uint8 (D, H, W).

    image : (M, D, H, W) in [-1, 1], background exactly -1
    levels : (D, H, W), nested
    spacing_mm : (z, y, x)

    Intensities are interpolated between voxels of the foreground alone, so that its rim stays as bright as it was;
    masks, the foreground too, where the interpolated indicator is above one half.
    """
    image, levels = np.asarray(image, dtype=np.float32), np.asarray(levels)
    if change.flipped:
        image, levels = image[..., ::-1].copy(), levels[..., ::-1].copy()
    if not change.amounts.any():
        return image, levels.astype(np.uint8)
    foreground = (image > -1.0).any(axis=0)
    top = int(levels.max())
    inside = np.stack([foreground, *(levels >= level for level in range(1, top + 1))]).astype(np.float32)
    values = torch.from_numpy(np.concatenate([inside, np.where(foreground, image + 1.0, 0.0)]))
    grid = _grid(levels.shape, spacing_mm, change.amounts, settings)
    moved = F.grid_sample(values[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    shares, total = moved[: top + 1].numpy(), moved[top + 1 :].numpy()
    foreground = shares[0] > 0.5
    unit = np.clip(total / np.maximum(shares[0], 0.5) / 2.0, 0.0, 1.0)  # intensities as 0 to 1
    unit = unit ** (1.0 + settings.gamma * float(change.amounts[7]))
    image = np.where(foreground, np.maximum(2.0 * unit - 1.0, np.nextafter(np.float32(-1), np.float32(0))), -1.0)
    return image.astype(np.float32), ((shares[1:] > 0.5) & foreground).sum(axis=0).astype(np.uint8)


def _grid(size: Sequence[int], spacing_mm: Sequence[float], amounts: np.ndarray, settings: Augmentation) -> Tensor:
    """Where each voxel of the copy comes from, (D, H, W, 3) as (x, y, z) from -1 to 1 over the grid.

    About the grid's centre: point = scale * rotation @ source + shift, in mm, axes (x, y, z).
    """
    angles = np.deg2rad(settings.rotation_degrees) * amounts[:3]
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        one, two = [other for other in range(3) if other != axis]
        part = np.eye(3)
        part[one, one] = part[two, two] = np.cos(angle)
        part[one, two], part[two, one] = -np.sin(angle), np.sin(angle)
        turn = part @ turn
    scale, shift_mm = 1.0 + settings.scaling * amounts[3], settings.shift_mm * amounts[4:7]
    half_mm = np.array(size[::-1]) * np.array(spacing_mm[::-1]) / 2.0  # (x, y, z), of the whole grid
    # source = turn^T (point - shift) / scale, with both in units of half_mm
    theta = (turn.T / scale) * half_mm[None, :] / half_mm[:, None]
    offset = -(turn.T @ shift_mm) / scale / half_mm
    matrix = torch.from_numpy(np.concatenate([theta, offset[:, None]], axis=1)).float()
    return F.affine_grid(matrix[None], [1, 1, *size], align_corners=False)[0]


def changed_slices(
    x: Tensor, image_channels: int, spacing_mm: Sequence[float], rng: np.random.Generator, settings: Augmentation
) -> Tensor:
    """Slices of training, changed within their plane: (B, M+R, H, W) -> the same.

    Half of them are mirrored, and half of them turned, scaled and shifted, with another contrast in each modality: the
    others keep what interpolation blurs.

    x : M modalities in [-1, 1], background exactly -1, and R masks of -1 and 1, of whose the foreground may be one
    spacing_mm : (y, x)
    """
    batch, m, size = len(x), image_channels, x.shape[2:]
    flips, moves = rng.random((2, batch)) < 0.5
    amounts = rng.uniform(-1, 1, (batch, 4 + m)) * moves[:, None]  # turn, scaling, shifts along x and y, contrasts
    if settings.flip:
        x = torch.where(torch.from_numpy(flips)[:, None, None, None], x.flip(-1), x)
    if not moves.any():
        return x
    angle, scale = np.deg2rad(settings.rotation_degrees) * amounts[:, 0], 1.0 + settings.scaling * amounts[:, 1]
    half_mm = np.array(size[::-1]) * np.array(spacing_mm[::-1]) / 2.0  # (x, y)
    back = np.stack([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    back = back / scale[:, None, None]
    offset = -(back @ (settings.shift_mm * amounts[:, 2:4])[:, :, None]) / half_mm[:, None]
    matrix = np.concatenate([back * half_mm[None, :] / half_mm[:, None], offset], axis=2)
    grid = F.affine_grid(torch.from_numpy(matrix).float(), [batch, 1, *size], align_corners=False)
    foreground = (x[:, :m] > -1.0).any(dim=1, keepdim=True)
    moved = F.grid_sample(
        torch.cat([x + 1.0, foreground.float()], dim=1),
        grid,
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    inside = moved[:, -1:] > 0.5
    unit = (moved[:, :m] / moved[:, -1:].clamp(min=0.5) / 2.0).clamp(0.0, 1.0)
    unit = unit ** torch.from_numpy(1.0 + settings.gamma * amounts[:, 4:, None, None]).float()
    image = torch.where(inside, (2.0 * unit - 1.0).clamp(min=float(np.nextafter(np.float32(-1), np.float32(0)))), -1.0)
    masks = torch.where((moved[:, m:-1] > 1.0) & inside, 1.0, -1.0)
    return torch.where(torch.from_numpy(moves)[:, None, None, None], torch.cat([image, masks], dim=1), x)
