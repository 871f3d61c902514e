"""The nested tumour regions, as a level map (on disk) and as channels (in networks and metrics).

A level map is uint8: 0 background, 1 oedema, 2 necrotic or non-enhancing core, 3 enhancing tumour. Region i is
``levels >= i + 1``, so every level map is a set of nested regions and an invalid label map cannot be said.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base.errors import UserError

REGIONS = ("whole_tumor", "tumor_core", "enhancing_tumor")
LEVEL = {name: index + 1 for index, name in enumerate(REGIONS)}


def check_regions(regions: Sequence[str]) -> tuple[str, ...]:
    """`regions` as a tuple. Raises UserError unless it is the first one, two or all three of REGIONS."""
    regions = tuple(regions)
    if not regions or regions != REGIONS[: len(regions)]:
        allowed = " or ".join(str(list(REGIONS[:count])) for count in (1, 2, 3))
        raise UserError(f"regions must be nested, from the outside in: {allowed}, not {list(regions)}")
    return regions


def levels_to_channels(levels, regions: Sequence[str]):
    """Binary channels of a level map, for NumPy arrays and torch tensors.

    Parameters
    ----------
    levels : integer array or tensor (...)
    regions : R names, a prefix of REGIONS

    Returns
    -------
    uint8 array or tensor (R, ...)
    """
    masks = [levels >= LEVEL[name] for name in check_regions(regions)]
    if isinstance(levels, np.ndarray):
        return np.stack(masks).astype(np.uint8)
    import torch

    return torch.stack(masks).to(torch.uint8)


def channels_to_levels(channels, regions: Sequence[str], threshold: float = 0.5):
    """Level map of R binary or probability channels; a voxel is in a region only if it is in all that enclose it.

    Parameters
    ----------
    channels : array or tensor (R, ...)
    regions : R names, a prefix of REGIONS
    threshold : a voxel belongs to a region where its channel is greater than this

    Returns
    -------
    uint8 array or tensor (...): 0 to R
    """
    regions = check_regions(regions)
    if len(channels) != len(regions):
        raise UserError(f"{len(channels)} channels for {len(regions)} regions: {', '.join(regions)}")
    inside = channels > threshold  # (R, ...)
    if isinstance(inside, np.ndarray):
        return np.logical_and.accumulate(inside, axis=0).sum(axis=0, dtype=np.uint8)
    import torch

    return torch.cumprod(inside.to(torch.uint8), dim=0).sum(dim=0).to(torch.uint8)
