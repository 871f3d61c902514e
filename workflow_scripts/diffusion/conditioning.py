"""What a denoiser is told of a tumour, made of its conditions in one way for training cases and for requests.

A few of the conditions as numbers, and a *spatial condition*: maps on the grid of the latents, one for each nested region,
with the share of each cell that an ellipsoid (or box) of the requested place and size fills. A table of a dozen patients
names a patient by its numbers; a map says where the tumour is to be in the terms in which the denoiser sees the latent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..base.errors import UserError
from ..study.conditions import fractions_in
from ..study.settings.generator import FRACTIONS, Conditions
from ..training.augmentation import N_LABELS
from .conditions import ConditionTable

_CENTROID = ("centroid_x_mm", "centroid_y_mm", "centroid_z_mm")
_BOX = ("box_width_mm", "box_height_mm", "box_depth_mm")
LEAST_EDGE_MM = 1e-3


def scalar_names(settings: Conditions, names: Sequence[str]) -> list[str]:
    """The conditions that the denoiser is given as numbers, in the order of the table."""
    if settings.scalars == "all":
        return list(names)
    wanted = {*settings.scalars, *(fractions_in(names) if FRACTIONS in settings.scalars else ())}
    return [name for name in names if name in wanted]


def n_numbers(settings: Conditions, names: Sequence[str]) -> tuple[int, int]:
    """How many numbers a denoiser is given: conditions, and labels of the augmentation."""
    return len(scalar_names(settings, names)), N_LABELS if settings.augmentation_label else 0


def n_maps(settings: Conditions, names: Sequence[str]) -> int:
    """Channels of the spatial condition: one for the whole tumour, one for each inner region."""
    return 0 if settings.spatial == "none" else 1 + len(fractions_in(names))


@dataclass(frozen=True)
class Conditioning:
    """From tumour conditions to what the denoiser is given.

    table : ConditionTable, of the training tumours
    grid : the contract's: size [D, H, W], spacing_mm [z, y, x]
    shape : (e, D, h, w) of the latents, or of the volumes themselves
    """

    settings: Conditions
    table: ConditionTable
    grid: Mapping
    shape: Sequence[int]

    def perturbed(self, conditions: Tensor, rng: torch.Generator) -> Tensor:
        """Conditions (B, F) as a request that does not quite fit the case might have them: see `spatial_jitter`.

        The centroid moves by a share of the radius of a ball of that volume, box and volume are multiplied.
        """
        jitter, names = self.settings.spatial_jitter, list(self.table.names)
        if not jitter or self.settings.spatial == "none":
            return conditions
        moved, draws = conditions.clone(), torch.randn(len(conditions), 7, generator=rng) * jitter
        place = {name: names.index(name) for name in ("volume_ml", *_CENTROID, *_BOX)}
        radius_mm = (3000.0 * conditions[:, place["volume_ml"]] / (4 * math.pi)) ** (1 / 3)
        for column, name in enumerate(_CENTROID):
            moved[:, place[name]] += draws[:, column] * radius_mm
        for column, name in enumerate((*_BOX, "volume_ml"), 3):
            moved[:, place[name]] *= draws[:, column].exp()
        return moved

    def numbers(self, conditions: Tensor, rng: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """(B, S + L): the scalars of conditions (B, F), normalised over the training cases, and `labels` (B, L).

        With an rng as in training: noise on the scalars. Without labels as at sampling: zeros.
        """
        names = list(self.table.names)
        normal = torch.from_numpy(self.table.normalise(conditions.double().numpy())).float()
        chosen = normal[:, [names.index(name) for name in scalar_names(self.settings, names)]]
        if rng is not None and self.settings.noise:
            chosen = chosen + self.settings.noise * torch.randn(chosen.shape, generator=rng)
        if not self.settings.augmentation_label:
            return chosen
        return torch.cat([chosen, chosen.new_zeros(len(chosen), N_LABELS) if labels is None else labels], dim=1)

    def maps(self, conditions: Tensor) -> Tensor | None:
        """Spatial condition (B, R, D, h, w), 0 to 1, of conditions (B, F); None where there is none."""
        if self.settings.spatial == "none":
            return None
        return occupancy(conditions, self.table.names, self.shape[1:], self.grid, self.settings.spatial)


def occupancy(conditions: Tensor, names: Sequence[str], shape: Sequence[int], grid: Mapping, form: str) -> Tensor:
    """The share of each cell that tumours of these conditions fill, (B, R, d, h, w), 0 to 1, R nested regions.

    conditions : (B, F), in ml, mm and fractions
    names : (F,) of the conditions
    shape : (d, h, w) cells on the same field of view as the grid
    grid : size [D, H, W], spacing_mm [z, y, x]; centroids are relative to its centre, +x right, +y anterior, +z superior
    form : "ellipsoid", of the box's proportions, its volume the requested one; "box", the box itself

    An inner region is concentric, its edges scaled by the cube root of its fraction. The surface is soft over one voxel,
    so that a tumour that moves by less than that is another map.

    Raises UserError where the table lacks a condition that the map is made of.
    """
    names = list(names)
    if missing := [name for name in ("volume_ml", *_CENTROID, *_BOX) if name not in names]:
        raise UserError(f"conditions.spatial needs {missing[0]}, which is not among the conditions: set it to none")
    column = {name: conditions[:, names.index(name)].double() for name in names}
    centre = torch.stack([column[name] for name in reversed(_CENTROID)], dim=1)  # (B, 3), z y x, mm
    half = torch.stack([column[name] for name in reversed(_BOX)], dim=1).clamp(min=LEAST_EDGE_MM) / 2  # (B, 3)
    if form == "ellipsoid":
        volume_mm3 = 1000.0 * column["volume_ml"].clamp(min=LEAST_EDGE_MM)
        half = half * (volume_mm3 / (4 / 3 * math.pi * half.prod(dim=1)))[:, None] ** (1 / 3)
    shares = [torch.ones(len(conditions), dtype=torch.float64), *(column[name] for name in fractions_in(names))]
    halves = half[:, None] * torch.stack(shares, dim=1).clamp(min=0)[..., None] ** (1 / 3)  # (B, R, 3)
    radius = halves.prod(dim=2) ** (1 / 3)  # (B, R), mm
    maps = torch.zeros(*halves.shape[:2], *shape)
    for made, place, edges, size in zip(maps, centre, halves, radius, strict=True):
        _fill(made, place, edges, size, grid, form)
    return maps


def _fill(maps: Tensor, centre: Tensor, halves: Tensor, radius: Tensor, grid: Mapping, form: str) -> None:
    """The maps (R, d, h, w) of one tumour: centre (3,), half edges (R, 3) and radii (R,) in mm, axes (z, y, x).

    Voxel by voxel, but only in the cells about the tumour.
    """
    voxel_mm = math.prod(grid["spacing_mm"]) ** (1 / 3)
    reach = halves[0] * (1 + voxel_mm / (2 * radius[0].clamp(min=LEAST_EDGE_MM)))
    windows, counts, ratios = [], [], []
    for axis, (cells, size, spacing) in enumerate(zip(maps.shape[1:], grid["size"], grid["spacing_mm"], strict=True)):
        count = round(size / cells)  # voxels in a cell
        low = cells * count * spacing / 2 + float(centre[axis])  # from the grid's lower edge, mm
        first = max(0, math.floor((low - float(reach[axis])) / (count * spacing)))
        last = min(cells, math.ceil((low + float(reach[axis])) / (count * spacing)))
        if first >= last:
            return  # the tumour lies outside of the grid
        places = (torch.arange(first * count, last * count, dtype=torch.float64) + 0.5) * spacing - low
        ratios.append((places / halves[:, axis, None].clamp(min=LEAST_EDGE_MM)).abs())  # (R, n)
        windows.append(slice(first, last))
        counts.append(count)
    z, y, x = ratios[0][:, :, None, None], ratios[1][:, None, :, None], ratios[2][:, None, None, :]
    distance = (z**2 + y**2 + x**2).sqrt() if form == "ellipsoid" else torch.maximum(torch.maximum(z, y), x)
    inside = ((1 - distance) * (radius / voxel_mm)[:, None, None, None] + 0.5).clamp(0, 1)  # (R, D, H, W)
    inside = inside * (radius > LEAST_EDGE_MM)[:, None, None, None]  # a region of no volume is nowhere
    maps[:, windows[0], windows[1], windows[2]] = F.avg_pool3d(inside.float()[None], counts)[0]
