"""Random slabs, runs of consecutive slices: what the depth decoder learns from."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..base.errors import UserError
from ..models.depth_decoder import slab_slices
from .case_volumes import CaseVolumes, stack_channels
from .orders import Order


class SlabData:
    """Slabs of some cases with the latents they are decoded from, in an order that is shuffled anew in every round.

    Slabs without foreground are left out.

    Parameters
    ----------
    volumes : CaseVolumes
    latents : case id -> (e, D, h, w) of the same cases
    positions : (D,) what the network is told of each slice's place
    slices : int
        In a slab.
    halo : int
        Neighbours on either side, slices, that the decoder needs besides.
    seed : int
        Of the order.

    Raises
    ------
    UserError
        More slices than the volumes have.
    """

    def __init__(
        self, volumes: CaseVolumes, latents: dict[str, Tensor], positions: Tensor, slices: int, halo: int, seed: int
    ):
        depth = len(positions)
        if isinstance(slices, bool) or not isinstance(slices, int) or not 2 <= slices <= depth:
            raise UserError(
                f"depth_decoder: `slab_slices: {slices}` must be a whole number from 2 to the depth, {depth}"
            )
        self.volumes, self.positions, self.slices, self.halo, self.seed = volumes, positions, slices, halo, seed
        self._latents = [latents[case_id] for case_id in volumes.case_ids]

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_rows"}

    @cached_property
    def _rows(self) -> np.ndarray:
        """The slabs as rows (case, first slice)."""

        def starts(_case_id: str, filled: np.ndarray) -> np.ndarray:
            return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(filled, self.slices).any(axis=1))

        return self.volumes.rows(starts)

    def __len__(self) -> int:
        """Slabs in one round."""
        return len(self._rows)

    def draw(self, step: int, batch_size: int) -> dict[str, Tensor]:
        """The batch of step `step`, a function of (seed, step), in fp32.

        x (B, M+R, S, H, W); z (B, e, S + 2 halo, h, w) as encoded; position (B, S + 2 halo)
        """
        chosen = self._rows[Order(self.seed, "order of slabs", len(self)).batch(step, batch_size)]
        x, z, position = [], [], []
        for case, start in chosen:
            image, levels = self.volumes.images[case], self.volumes.levels[case]
            own = slice(start, start + self.slices)
            index = slab_slices(int(start), self.slices, len(self.positions), self.halo)
            x.append(stack_channels(image[:, own], levels[own], self.volumes.masks))
            z.append(self._latents[case][:, index])
            position.append(self.positions[index])
        return {"x": torch.stack(x), "z": torch.stack(z), "position": torch.stack(position)}
