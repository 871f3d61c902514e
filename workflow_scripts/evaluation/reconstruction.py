"""How well an autoencoder gives back a volume: SSIM and PSNR in three planes, Dice of the masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import SSIMMetric
from torch import Tensor

from ..training.losses import ssim_window
from .image_features import PLANES, brain_slices

COLUMNS = ("case_id", "plane", "channel", "metric", "value")
DATA_RANGE = 2.0  # intensities lie in [-1, 1]
MAX_PSNR_DB = 100.0  # given for an exact copy, whose PSNR is infinite


def plane_scores(image: Tensor, reference: Tensor, plane: str) -> list[dict[str, float]]:
    """SSIM (Wang et al. 2004, 2D, window 11) and PSNR (dB) of each channel over the slices of a plane that hold brain.

    image, reference (M, D, H, W) in [-1, 1], background of the reference -1. SSIM is the mean over these slices; PSNR
    comes from the squared error of all their pixels together.
    """
    slices = brain_slices(reference.numpy(), plane, 0.0)
    axis = PLANES[plane] + 1
    one, other = (value.index_select(axis, torch.from_numpy(slices)).movedim(axis, 1) for value in (image, reference))
    metric = SSIMMetric(spatial_dims=2, data_range=DATA_RANGE, win_size=ssim_window(*one.shape[2:]))
    scores = []
    for x, y in zip(one, other, strict=True):  # (n, h, w)
        ssim = float(metric(x[:, None], y[:, None]).mean())
        error = float((x.double() - y.double()).square().mean())
        floor = DATA_RANGE**2 / 10 ** (MAX_PSNR_DB / 10)
        scores.append({"ssim": ssim, "psnr_db": float(10 * np.log10(DATA_RANGE**2 / max(error, floor)))})
    return scores


def dice(one: Tensor, other: Tensor) -> float:
    """Dice of two boolean masks; two empty masks agree: 1."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else 1.0


def reconstruction_rows(
    case_id: str,
    image: Tensor,
    reference: Tensor,
    probabilities: Tensor,
    masks: Tensor,
    modalities: Sequence[str],
    regions: Sequence[str],
) -> list[dict]:
    """Rows (`COLUMNS`) of one case: SSIM and PSNR of each plane and modality, Dice of each region (plane "volume").

    image, reference (M, D, H, W); probabilities, masks (R, D, H, W), thresholded at 0.5
    """
    rows = []
    for plane in PLANES:
        for name, scores in zip(modalities, plane_scores(image, reference, plane), strict=True):
            rows += [(case_id, plane, name, metric, value) for metric, value in scores.items()]
    for index, name in enumerate(regions):
        rows.append((case_id, "volume", name, "dice", dice(probabilities[index] > 0.5, masks[index] > 0.5)))
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]
