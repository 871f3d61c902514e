"""Nested regions, as a level map (on disk) and as channels (in networks and metrics).

A level map is uint8: 0 background, 1 in the outermost region alone, up to R in all R regions. Region i is
``levels >= i + 1``, so every level map is a set of nested regions and an invalid label map cannot be said.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ..base.errors import UserError

ROUNDED = 0.01  # as slopes of a header and interpolation leave labels


class UnknownLabels(ValueError):
    """A mask holds values that its label map does not know; `values` are the whole ones, `broken` one that is none."""

    def __init__(self, values: Sequence[int] = (), broken: float | None = None):
        self.values, self.broken = list(values), broken
        super().__init__(f"{self.values or broken}")


def labels_to_levels(labels: np.ndarray, level_of: Mapping[int, int]) -> tuple[np.ndarray, dict[int, int]]:
    """Level map of a label map, and how many voxels each label has.

    Labels may be stored as floats: what lies within `ROUNDED` of a whole number, as a share of it, is that number.
    `level_of` is label -> level, without 0. Raises UnknownLabels.
    """
    if labels.dtype.kind == "f":
        whole = np.rint(labels)
        close = np.abs(labels - whole) <= ROUNDED * np.maximum(1, np.abs(whole))  # NaN is not, nor is infinity
        if not close.all():
            raise UnknownLabels(broken=float(labels[~close][0]))
        labels = whole
    inside = labels != 0
    values, counts = np.unique(labels[inside], return_counts=True)
    if unknown := [int(value) for value in values if int(value) not in level_of]:
        raise UnknownLabels(unknown)
    table = np.zeros(max(level_of) + 1, dtype=np.uint8)
    for label, level in level_of.items():
        table[label] = level
    levels = np.zeros(labels.shape, dtype=np.uint8)
    levels[inside] = table[labels[inside].astype(np.intp)]
    return levels, {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def levels_to_channels(levels, regions: Sequence[str]):
    """Binary channels of a level map, for NumPy arrays and torch tensors.

    levels : integer array or tensor (...)
    regions : R names, from the outside in; levels may go deeper

    Returns a uint8 array or tensor (R, ...)
    """
    masks = [levels > place for place in range(len(regions))]
    if isinstance(levels, np.ndarray):
        return np.stack(masks).astype(np.uint8)
    import torch

    return torch.stack(masks).to(torch.uint8)


def channels_to_levels(channels, regions: Sequence[str], threshold: float = 0.5):
    """Level map of R binary or probability channels; a voxel is in a region only if it is in all that enclose it.

    channels : array or tensor (R, ...)
    regions : R names, from the outside in
    threshold : a voxel belongs to a region where its channel is greater than this

    Returns a uint8 array or tensor (...): 0 to R
    """
    if len(channels) != len(regions):
        raise UserError(f"{len(channels)} channels for {len(regions)} regions: {', '.join(regions)}")
    inside = channels > threshold  # (R, ...)
    if isinstance(inside, np.ndarray):
        return np.logical_and.accumulate(inside, axis=0).sum(axis=0, dtype=np.uint8)
    import torch

    return torch.cumprod(inside.to(torch.uint8), dim=0).sum(dim=0).to(torch.uint8)
