"""Features of the slices of volumes, as an ImageNet network sees them, gathered to one Gaussian a plane.

How MR images enter a network for colour photographs: each modality is a grey image of its own (the three colour
channels are equal), intensities [-1, 1] mapped to [0, 1], and the images of all modalities are samples of one set.
A slice is scaled with its proportions in mm kept, so that its longer side fills the square, and centred on background.
Slices with less brain than a stated share are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ..base.errors import UserError
from .frechet import GaussianStatistics

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # the axis of a volume (D, H, W) along which its slices lie
SLICE_SIZE = 224  # pixels; what EfficientNet-Lite0 was trained at, and the most that is used

STRIDE = 32  # of the network: sizes are multiples of it


def fitting_slice_size(size: Sequence[int]) -> int:
    """Pixels at which slices of a volume (D, H, W) are seen: enough for its longest side, 64 to SLICE_SIZE.

    To blow up coarse slices further costs time (with the square of the size) and shows the network nothing new.
    """
    return min(max(-(-max(size) // STRIDE) * STRIDE, 2 * STRIDE), SLICE_SIZE)


# volumes(case_id) -> (M, D, H, W) in [-1, 1], background exactly -1
Volumes = Callable[[str], np.ndarray]


def brain_slices(image: np.ndarray, plane: str, min_brain_fraction: float) -> np.ndarray:
    """Indices of the slices of `plane` in `image` (M, D, H, W) in which at least `min_brain_fraction` of the pixels
    are brain (above -1 in any modality) and at least one is."""
    brain = (np.asarray(image) > -1.0).any(axis=0)
    others = tuple(axis for axis in range(3) if axis != PLANES[plane])
    fraction = brain.mean(axis=others)
    return np.flatnonzero((fraction >= min_brain_fraction) & (fraction > 0))


def slice_images(
    image: np.ndarray, plane: str, indices: np.ndarray, spacing_mm: Sequence[float], size: int = SLICE_SIZE
) -> torch.Tensor:
    """Slices of one plane as the network takes them.

    image (M, D, H, W) in [-1, 1], spacing_mm of (D, H, W) -> (n * M, 3, size, size) in [0, 1], slice by slice.
    """
    axis = PLANES[plane]
    picked = np.take(image, indices, axis=axis + 1)  # a memory map gives up only these slices
    picked = np.moveaxis(picked, axis + 1, 0)  # (n, M, h, w)
    n, modalities, height, width = picked.shape
    grey = torch.from_numpy(picked.astype(np.float32)).reshape(n * modalities, 1, height, width)
    grey = (grey + 1.0).div_(2.0).clamp_(0.0, 1.0)
    height_mm, width_mm = (n * edge for n, edge in zip((height, width), np.delete(spacing_mm, axis), strict=True))
    longest = max(height_mm, width_mm)
    shape = [max(1, round(size * length / longest)) for length in (height_mm, width_mm)]
    grey = torch.nn.functional.interpolate(grey, shape, mode="bilinear", antialias=True, align_corners=False)
    top, left = (size - shape[0]) // 2, (size - shape[1]) // 2
    grey = torch.nn.functional.pad(grey, (left, size - shape[1] - left, top, size - shape[0] - top))
    return grey.expand(-1, 3, -1, -1)


def find_slices(
    volumes: Volumes, case_ids: Sequence[str], planes: Sequence[str], min_brain_fraction: float
) -> dict[str, list[tuple[str, int]]]:
    """For each plane the slices with brain, as (case_id, index), in the order of `case_ids`."""
    found: dict[str, list[tuple[str, int]]] = {plane: [] for plane in planes}
    for case_id in case_ids:
        image = volumes(case_id)
        for plane in planes:
            found[plane] += [(case_id, int(index)) for index in brain_slices(image, plane, min_brain_fraction)]
    return found


def draw_slices(slices: list[tuple[str, int]], count: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    """`count` of `slices` without replacement, in their order."""
    if count >= len(slices):
        return list(slices)
    return [slices[index] for index in np.sort(rng.choice(len(slices), count, replace=False))]


def _batches(
    volumes: Volumes,
    case_ids: Sequence[str],
    slices: dict[str, list[tuple[str, int]]],
    spacing_mm: Sequence[float],
    batch_size: int,
    size: int,
) -> Iterator[tuple[str, torch.Tensor]]:
    """(plane, images) of at most `batch_size` slices each; every volume is read once and one is held at a time."""
    wanted: dict[tuple[str, str], list[int]] = {}
    for plane, pairs in slices.items():
        for case_id, index in pairs:
            wanted.setdefault((case_id, plane), []).append(index)
    for case_id in case_ids:
        image = volumes(case_id)
        for plane in slices:
            indices = np.array(wanted.get((case_id, plane), []), dtype=int)
            for start in range(0, len(indices), batch_size):
                yield plane, slice_images(image, plane, indices[start : start + batch_size], spacing_mm, size)


@torch.inference_mode()
def plane_statistics(
    network: Callable[[torch.Tensor], torch.Tensor],
    volumes: Volumes,
    case_ids: Sequence[str],
    slices: dict[str, list[tuple[str, int]]],
    spacing_mm: Sequence[float],
    batch_size: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] = lambda count: None,
    size: int = SLICE_SIZE,
) -> dict[str, GaussianStatistics]:
    """Gaussian of the features of the given slices, for each plane, over all modalities.

    `network` maps (B, 3, size, size) in [0, 1] to (B, F); a batch holds `batch_size` slices of all modalities.
    Memory: one volume, one batch and an F x F matrix a plane.
    Raises UserError where a plane has fewer than two slices.
    """
    statistics: dict[str, GaussianStatistics] = {}
    for plane, images in _batches(volumes, case_ids, slices, spacing_mm, batch_size, size):
        features = network(images.to(device, memory_format=torch.channels_last)).float().cpu().numpy()
        statistics.setdefault(plane, GaussianStatistics(features.shape[1])).update(features)
        progress(len(images))
    for plane, pairs in slices.items():
        if len(pairs) < 2:
            raise UserError(
                f"{len(pairs)} {plane} slices with enough brain in {len(case_ids)} cases: too few for a Fréchet "
                "distance. Lower evaluation: images: min_brain_fraction, or look at these volumes"
            )
    return statistics
