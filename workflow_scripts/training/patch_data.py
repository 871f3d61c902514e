"""Random patches of preprocessed volumes: what a 3D autoencoder learns from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..base.errors import UserError
from ..base.seeds import numpy_rng
from .case_volumes import CaseVolumes, stack_channels
from .orders import Order


class PatchData:
    """Patches at random places; each case is seen equally often.

    patch_size : [D, H, W], voxels, or None for whole volumes
    grid_size : [D, H, W], voxels, of the volumes
    seed : of the order of the cases and of the places

    Raises UserError: a patch that is larger than the volumes.
    """

    def __init__(self, volumes: CaseVolumes, patch_size: Sequence[int] | None, grid_size: Sequence[int], seed: int):
        self.patch_size = list(patch_size or grid_size)
        if any(edge > whole for edge, whole in zip(self.patch_size, grid_size, strict=True)):
            fitting = [min(edge, whole) for edge, whole in zip(self.patch_size, grid_size, strict=True)]
            raise UserError(
                f"autoencoder: `patch_size: {self.patch_size}` is larger than the volumes, {list(grid_size)} voxels; "
                f"write `patch_size: {fitting}`, or null for whole volumes"
            )
        self.volumes, self.seed = volumes, seed
        self._room = [whole - edge + 1 for edge, whole in zip(self.patch_size, grid_size, strict=True)]

    def draw(self, step: int, batch_size: int) -> dict[str, Tensor]:
        """The batch of step `step`, a function of (seed, step): x (B, M+R, *patch_size) fp32."""
        cases = Order(self.seed, "order of patches", len(self.volumes)).batch(step, batch_size)
        corners = numpy_rng(self.seed, "places of patches", step).integers(self._room, size=(batch_size, 3))
        patches = []
        for case, corner in zip(cases, corners, strict=True):
            place = tuple(slice(low, low + edge) for low, edge in zip(corner, self.patch_size, strict=True))
            image, levels = self.volumes.images[case], self.volumes.levels[case]
            patches.append(stack_channels(image[:, *place], levels[place], self.volumes.masks))
        return {"x": torch.stack(patches)}
