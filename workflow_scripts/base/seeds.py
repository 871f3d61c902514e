"""Rngs (sources of random numbers) as functions of names and numbers: (seed, step) gives the same draws on every machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_of(*keys: int | str) -> int:
    """A 63-bit seed from any sequence of integers and words, e.g. ``seed_of(seed, "noise", step)``."""
    text = "\x1f".join(f"{type(key).__name__[0]}{key}" for key in keys)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_rng(*keys: int | str) -> np.random.Generator:
    """A NumPy rng that depends on `keys` alone."""
    return np.random.default_rng(seed_of(*keys))


def torch_rng(*keys: int | str) -> torch.Generator:
    """A CPU torch rng that depends on `keys` alone. Draw on the CPU, then move: devices draw differently."""
    import torch

    return torch.Generator("cpu").manual_seed(seed_of(*keys))
