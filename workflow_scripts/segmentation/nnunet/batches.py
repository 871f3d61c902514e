"""Batches that are a function of (seed, number): the same whether training ran through or was killed and resumed.

nnU-Net draws cases, patches and augmentations from the process's global generators. They are set anew before each
batch, so batch 1000 can be had without the 999 before it, in this process or in a worker.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from torch.utils.data import DataLoader, Dataset

from ...base.seeds import seed_of
from ..draws import Draws


def seed_everything(*keys: int | str) -> None:
    """Set the global generators of Python, NumPy and torch (CPU and CUDA) to a function of `keys`."""
    seed = seed_of(*keys)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  nnU-Net's augmentations read this generator
    torch.manual_seed(seed)


class NumberedBatches(Dataset):
    """Batch `number` of one loader; its draws depend on (seed, role, number) alone.

    draws : which cases a batch is cut from; None: nnU-Net draws them
    """

    def __init__(self, loader: nnUNetDataLoader, seed: int, role: str, draws: Draws | None = None):
        self.loader, self.seed, self.role, self.draws = loader, seed, role, draws

    def start(self, number: int) -> None:
        """Set what a batch is drawn by."""
        seed_everything(self.seed, "segmentation", self.role, number)
        if self.draws:
            self.loader.get_indices = partial(self.draws.batch, number, self.loader.batch_size)

    def __getitem__(self, number: int) -> dict:
        self.start(number)
        batch = self.loader.generate_train_batch()
        return {"data": batch["data"], "target": batch["target"]}

    @contextmanager
    def stream(self, start: int, stop: int, workers: int) -> Iterator[Iterator[dict]]:
        """Yield an iterator over batches start ... stop - 1, made by `workers` processes (0: this one)."""
        yield self.load(start, stop, workers, pin_memory=False)

    def load(self, start: int, stop: int, workers: int, pin_memory: bool) -> Iterator:
        """What ``self[start] ... self[stop - 1]`` give, in order, from `workers` processes (0: this one)."""
        # nnU-Net allocates uninitialised memory and fills it: safe to make ahead of time in workers
        settings = {"num_workers": workers, "pin_memory": pin_memory, "batch_size": None}
        return iter(DataLoader(self, sampler=range(start, stop), **settings))
