"""Preprocessed volumes as input of networks: read lazily, held in memory where they fit."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..base.errors import BadCase, UserError
from ..cohort.regions import levels_to_channels
from ..cohort.volumes import VolumeStore
from ..study.voxels import FOREGROUND

RAM_LIMIT_BYTES = 8 * 2**30  # of volumes held in memory; beyond it they stay memory-mapped


def common_grid(store: VolumeStore, case_ids: Sequence[str]) -> dict:
    """What all cases share: {"modalities", "written", "grid": {"size": [D, H, W], "spacing_mm": [z, y, x]}}.

    Raises BadCase for the first case that differs from the ones before it, UserError where there is no case.
    """
    if not case_ids:
        raise UserError("there are no cases to train on: give n_real at least one patient")
    shared: dict = {}
    for case_id in case_ids:
        meta = store.meta(case_id)
        own = {
            "modalities": list(meta["modalities"]),
            "written": meta["written"],
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


def mask_names(regions: Sequence[str], background: bool, foreground_channel: bool) -> list[str]:
    """The mask channels of networks: the foreground, where it is asked for and there is a background, and the regions."""
    return [*([FOREGROUND] if background and foreground_channel else []), *regions]


def stack_channels(image: np.ndarray, levels: np.ndarray, masks: Sequence[str]) -> Tensor:
    """Input of a network: image (M, ...) in [-1, 1], levels (...) -> (M+R, ...) fp32, masks as -1 and 1.

    masks : of `mask_names`, R; the foreground is where any modality is above -1
    """
    image = np.asarray(image, dtype=np.float32)
    channels = levels_to_channels(np.asarray(levels), [name for name in masks if name != FOREGROUND])
    if FOREGROUND in masks:
        channels = np.concatenate([(image > -1.0).any(axis=0, keepdims=True), channels])
    return torch.from_numpy(np.concatenate([image, channels.astype(np.float32) * 2.0 - 1.0]))


class CaseVolumes:
    """Image and levels of some cases, opened at first use, in the process that asks for them.

    store, case_ids, masks : where the volumes are, which of them (sorted here), and which mask channels (`mask_names`)
    copies : processes that hold the data at once (devices); they share `RAM_LIMIT_BYTES`
    """

    def __init__(self, store: VolumeStore, case_ids: Sequence[str], masks: Sequence[str], copies: int = 1):
        self.store, self.case_ids, self.masks = store, sorted(case_ids), tuple(masks)
        self.copies = copies
        self._opened: tuple[list[np.ndarray], list[np.ndarray]] | None = None

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_opened": None}

    def __len__(self) -> int:
        return len(self.case_ids)

    def _open(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        if self._opened is None:
            images: list[np.ndarray] = [self.store.image(case_id) for case_id in self.case_ids]
            levels: list[np.ndarray] = [self.store.levels(case_id) for case_id in self.case_ids]
            size = sum(array.nbytes for array in (*images, *levels)) * self.copies
            if size <= min(RAM_LIMIT_BYTES, _free_bytes() // 2):
                images, levels = [np.array(image) for image in images], [np.array(level) for level in levels]
            self._opened = images, levels
        return self._opened

    @property
    def images(self) -> list[np.ndarray]:
        """float16 (M, D, H, W) of each case."""
        return self._open()[0]

    @property
    def levels(self) -> list[np.ndarray]:
        """uint8 (D, H, W) of each case."""
        return self._open()[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, M+R, D, H, W)"""
        channels, *size = self.images[0].shape
        return len(self), channels + len(self.masks), *size

    def rows(self, choose: Callable[[str, np.ndarray], np.ndarray]) -> np.ndarray:
        """Rows (case number, slice) of the slices that `choose` picks of each case.

        `choose` gets the case's id and which of its slices hold foreground, bool (D,), and returns indices.
        Raises UserError where no slice is picked.
        """
        found = []
        for number, (case_id, image) in enumerate(zip(self.case_ids, self.images, strict=True)):
            slices = choose(case_id, np.asarray((image > -1.0).any(axis=(0, 2, 3)))).astype(np.int64)
            found.append(np.stack([np.full_like(slices, number), slices], axis=1))
        rows = np.concatenate(found)
        if not len(rows):
            raise UserError("no slice of the training volumes holds foreground: run `snakemake -R preprocess`")
        return rows

    def __getitem__(self, numbers: Sequence[int] | Tensor) -> Tensor:
        """The cases of these numbers, whole: (B, M+R, D, H, W) fp32, masks as -1 and 1."""
        return torch.stack([stack_channels(self.images[int(k)], self.levels[int(k)], self.masks) for k in numbers])


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
