"""Random slices of preprocessed volumes: what the slice autoencoder learns from."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..base.seeds import numpy_rng
from ..study.settings.autoencoder import Augmentation
from ..study.voxels import FOREGROUND
from .augmentation import changed_slices
from .case_volumes import CaseVolumes, stack_channels
from .orders import Order


class SliceData:
    """Axial slices of some cases, in an order that is shuffled anew in every round through them.

    positions : (D,) what the network is told of each slice's place
    seed : of the order, and of which empty slices are kept
    empty_slices_kept : share, 0 to 1, of the slices without foreground that stays
    augmentation : how slices are changed; None: not at all
    tumour_slices : share, 0 to 1, of each batch that is drawn from the slices with tumour, in an order of their own
    dropped_regions : probability, 0 to 1, with which a slice's mask loses its innermost regions, down to one of the
        outer
    """

    def __init__(
        self,
        volumes: CaseVolumes,
        positions: Tensor,
        seed: int,
        empty_slices_kept: float,
        augmentation: Augmentation | None = None,
        tumour_slices: float = 0.0,
        dropped_regions: float = 0.0,
    ):
        self.volumes, self.positions, self.seed = volumes, positions, seed
        self.empty_slices_kept, self.augmentation = empty_slices_kept, augmentation
        self.tumour_slices, self.dropped_regions = tumour_slices, dropped_regions

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key not in ("_rows", "_tumour_rows")}

    @cached_property
    def _rows(self) -> np.ndarray:
        """The kept slices as rows (case, slice)."""

        def kept(case_id: str, filled: np.ndarray) -> np.ndarray:
            empty = np.flatnonzero(~filled)
            count = round(self.empty_slices_kept * len(empty))
            chosen = numpy_rng(self.seed, "empty slices", case_id).permutation(empty)[:count]
            return np.sort(np.concatenate([np.flatnonzero(filled), chosen]))

        return self.volumes.rows(kept)

    @cached_property
    def _tumour_rows(self) -> np.ndarray:
        """Those of them that hold tumour."""
        levels = self.volumes.levels
        return self._rows[[bool(levels[case][k].any()) for case, k in self._rows]]

    def _chosen(self, step: int, batch_size: int) -> np.ndarray:
        """Rows (B, 2) of the batch of step `step`."""
        count = round(self.tumour_slices * batch_size) if self.tumour_slices and len(self._tumour_rows) else 0
        chosen = self._rows[Order(self.seed, "order of slices", len(self)).batch(step, batch_size - count)]
        if not count:
            return chosen
        held = Order(self.seed, "order of tumour slices", len(self._tumour_rows)).batch(step, count)
        return np.concatenate([chosen, self._tumour_rows[held]])

    def _mask(self, levels: np.ndarray, step: int) -> np.ndarray:
        """Levels (B, H, W) of a batch; those of some slices end at a lower one."""
        regions = len([name for name in self.volumes.masks if name != FOREGROUND])
        if not self.dropped_regions or regions < 2:
            return levels
        rng, batch = numpy_rng(self.seed, "dropped regions", step), len(levels)
        dropped = rng.random(batch) < self.dropped_regions
        top = np.where(dropped, rng.integers(1, regions, batch), regions).astype(levels.dtype)
        return np.minimum(levels, top[:, None, None])

    def __len__(self) -> int:
        """Slices in one round."""
        return len(self._rows)

    def draw(self, step: int, batch_size: int) -> dict[str, Tensor]:
        """The batch of step `step`, a function of (seed, step): x (B, M+R, H, W) fp32, position (B,)."""
        images, levels = self.volumes.images, self.volumes.levels
        chosen = self._chosen(step, batch_size)
        image = np.stack([images[case][:, k] for case, k in chosen], axis=1)  # (M, B, H, W)
        level = self._mask(np.stack([levels[case][k] for case, k in chosen]), step)  # (B, H, W)
        x = stack_channels(image, level, self.volumes.masks).transpose(0, 1).contiguous()
        if self.augmentation is not None:
            spacing_mm = self.volumes.store.meta(self.volumes.case_ids[0])["spacing_mm"]
            rng = numpy_rng(self.seed, "changes of slices", step)
            x = changed_slices(x, image.shape[0], spacing_mm[1:], rng, self.augmentation)
        return {"x": x, "position": self.positions[torch.from_numpy(chosen[:, 1].copy())]}
