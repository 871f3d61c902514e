"""Random slices of preprocessed volumes: what the slice autoencoder learns from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..base.errors import BadCase, UserError
from ..base.seeds import numpy_rng
from ..cohort.regions import check_regions, levels_to_channels
from ..cohort.volumes import VolumeStore

RAM_LIMIT_BYTES = 8 * 2**30  # of volumes held in memory; beyond it they stay memory-mapped


def common_grid(store: VolumeStore, case_ids: Sequence[str]) -> dict:
    """What all cases share: {"modalities", "grid": {"size": [D, H, W], "spacing_mm": [z, y, x]}}.

    Raises BadCase for the first case that differs from the ones before it, UserError where there is no case.
    """
    if not case_ids:
        raise UserError("there are no cases to train on: give n_real at least one patient")
    shared: dict = {}
    for case_id in case_ids:
        meta = store.meta(case_id)
        own = {
            "modalities": list(meta["modalities"]),
            "grid": {"size": list(meta["size"]), "spacing_mm": list(meta["spacing_mm"])},
        }
        shared = shared or own
        if own != shared:
            raise BadCase(
                case_id,
                store.folder / f"{case_id}.json",
                f"its modalities or grid {own} are not those of the other cases, {shared}",
                "Run `snakemake -R preprocess`",
            )
    return shared


def stack_channels(image: np.ndarray, levels: np.ndarray, regions: Sequence[str]) -> Tensor:
    """Input of an autoencoder: image (M, ...) in [-1, 1], levels (...) -> (M+R, ...) fp32, masks as -1 and 1."""
    masks = levels_to_channels(np.asarray(levels), regions).astype(np.float32) * 2.0 - 1.0
    return torch.from_numpy(np.concatenate([np.asarray(image, dtype=np.float32), masks]))


class SliceData:
    """Axial slices of some cases, in an order that is shuffled anew in every round through them.

    Parameters
    ----------
    store, case_ids, regions : where the volumes are, which of them, and which masks
    seed : int
        Of the order, and of which empty slices are kept.
    empty_slices_kept : float
        Share, 0 to 1, of the slices without brain that stays.
    copies : int
        Processes that hold the data at once (devices); they share `RAM_LIMIT_BYTES`.

    Volumes are opened at the first batch, in the process that asks for it.
    """

    def __init__(
        self,
        store: VolumeStore,
        case_ids: Sequence[str],
        regions: Sequence[str],
        seed: int,
        empty_slices_kept: float,
        copies: int = 1,
    ):
        if isinstance(empty_slices_kept, bool) or not 0 <= empty_slices_kept <= 1:
            raise UserError(f"autoencoder: `empty_slices_kept: {empty_slices_kept}` must lie between 0 and 1")
        self.store, self.case_ids, self.regions = store, sorted(case_ids), check_regions(regions)
        self.seed, self.empty_slices_kept, self.copies = seed, empty_slices_kept, copies
        self._opened = None

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_opened": None}

    def _open(self) -> tuple[list, list, np.ndarray]:
        """Images, levels, and the kept slices as rows (case, slice)."""
        if self._opened is None:
            images = [self.store.image(case_id) for case_id in self.case_ids]
            levels = [self.store.levels(case_id) for case_id in self.case_ids]
            size = sum(array.nbytes for array in (*images, *levels)) * self.copies
            if size <= min(RAM_LIMIT_BYTES, _free_bytes() // 2):
                images, levels = [np.array(image) for image in images], [np.array(level) for level in levels]
            self._opened = images, levels, self._keep(images)
        return self._opened

    def _keep(self, images: list[np.ndarray]) -> np.ndarray:
        rows = []
        for number, (case_id, image) in enumerate(zip(self.case_ids, images, strict=True)):
            filled = np.asarray((image > -1.0).any(axis=(0, 2, 3)))  # (D,)
            empty = np.flatnonzero(~filled)
            count = round(self.empty_slices_kept * len(empty))
            kept = numpy_rng(self.seed, "empty slices", case_id).permutation(empty)[:count]
            slices = np.sort(np.concatenate([np.flatnonzero(filled), kept])).astype(np.int64)
            rows.append(np.stack([np.full_like(slices, number), slices], axis=1))
        rows = np.concatenate(rows)
        if not len(rows):
            raise UserError("no slice of the training volumes holds brain: run `snakemake -R preprocess`")
        return rows

    def __len__(self) -> int:
        """Slices in one round."""
        return len(self._open()[2])

    def draw(self, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """The batch of step `step`, a function of (seed, step): x (B, M+R, H, W) fp32, slice numbers (B,)."""
        images, levels, rows = self._open()
        numbers = np.arange(step * batch_size, (step + 1) * batch_size)
        order = _order_of(self.seed, len(rows))
        chosen = rows[[order(int(number // len(rows)))[number % len(rows)] for number in numbers]]
        image = np.stack([images[case][:, k] for case, k in chosen], axis=1)  # (M, B, H, W)
        level = np.stack([levels[case][k] for case, k in chosen])  # (B, H, W)
        x = stack_channels(image, level, self.regions).transpose(0, 1).contiguous()
        return x, torch.from_numpy(chosen[:, 1].copy())


@lru_cache(maxsize=4)
def _order_of(seed: int, count: int):
    return lru_cache(maxsize=4)(lambda turn: numpy_rng(seed, "order of slices", turn).permutation(count))


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
