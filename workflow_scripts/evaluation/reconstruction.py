"""How well an autoencoder gives back a volume: SSIM and PSNR in three planes, errors and gradients inside the foreground,
Dice, and what a segmenter sees of it (`normalised`)."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import torch
from monai.metrics import SSIMMetric
from scipy import ndimage
from torch import Tensor

from ..cohort.planes import PLANES
from ..cohort.regions import levels_to_channels
from ..diffusion.generator import Sample
from ..diffusion.synthesis import cut_to_foreground, foreground_of
from ..study.voxels import FOREGROUND
from ..training.losses import ssim_window
from .normalised import normalised_means

COLUMNS = ("case_id", "plane", "channel", "metric", "value")
DATA_RANGE = 2.0  # intensities lie in [-1, 1]
MAX_PSNR_DB = 100.0  # given for an exact copy, whose PSNR is infinite


def plane_scores(image: Tensor, reference: Tensor, plane: str) -> list[dict[str, float]]:
    """SSIM (Wang et al. 2004, 2D, window 11) and PSNR (dB) of each channel over a plane's slices with foreground.

    image, reference (M, D, H, W) in [-1, 1], background of the reference -1. SSIM is the mean over these slices; PSNR
    comes from the squared error of all their pixels together.
    """
    axis = PLANES[plane] + 1
    foreground = (reference.movedim(axis, 1) > -1.0).flatten(2).any(dim=2).any(dim=0)  # of each slice
    one, other = (value.movedim(axis, 1)[:, foreground] for value in (image, reference))  # (M, n, h, w)
    metric = SSIMMetric(spatial_dims=2, data_range=DATA_RANGE, win_size=ssim_window(*one.shape[2:]))
    scores = []
    for x, y in zip(one, other, strict=True):  # (n, h, w)
        ssim = float(metric(x[:, None], y[:, None]).mean())
        error = float((x.double() - y.double()).square().mean())
        floor = DATA_RANGE**2 / 10 ** (MAX_PSNR_DB / 10)
        scores.append({"ssim": ssim, "psnr_db": float(10 * np.log10(DATA_RANGE**2 / max(error, floor)))})
    return scores


def through_plane_gradient(image: Tensor, foreground: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring slices where both hold foreground, of each channel, per slice.

    image (M, D, H, W), foreground (D, H, W) booleans -> (M,); NaN where no two neighbours hold foreground
    """
    return image.diff(dim=1).abs()[:, foreground[1:] & foreground[:-1]].mean(dim=1)


def through_plane_scores(image: Tensor, reference: Tensor) -> list[dict[str, float]]:
    """How well the differences between neighbouring slices are given back, of each channel, within the foreground.

    ``through_plane_error``: mean absolute error of the differences, in intensities (range 2); a decoder that streaks
    has a large one. ``through_plane_ratio``: their mean size by that of the reference; above 1 streaks, below 1 blur.
    image, reference (M, D, H, W) in [-1, 1], background of the reference -1
    """
    foreground = (reference > -1.0).any(dim=0)
    errors = through_plane_gradient(image - reference, foreground)
    ratios = through_plane_gradient(image, foreground) / through_plane_gradient(reference, foreground)
    return [
        {"through_plane_error": float(error), "through_plane_ratio": float(ratio)}
        for error, ratio in zip(errors, ratios, strict=True)
    ]


def dice(one: Tensor, other: Tensor) -> float:
    """Dice of two boolean masks; two empty masks agree: 1."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else 1.0


def volume_scores(image: Tensor, reference: Tensor, foreground: Tensor) -> list[dict[str, float]]:
    """How well a volume is given back inside its true foreground (D, H, W), of each channel.

    ``l1``: mean absolute error, in intensities (range 2). ``gradient_energy_ratio``: sum of the squared differences of
    neighbours along the three axes by that of the reference; below 1, blur.
    image, reference (M, D, H, W) in [-1, 1]
    """
    errors = (image - reference).abs()[:, foreground].mean(dim=1)
    energies = [
        sum(volume.diff(dim=axis + 1).square()[:, _neighbours(foreground, axis)].sum(dim=1) for axis in range(3))
        for volume in (image, reference)
    ]
    ratios = energies[0] / energies[1]
    return [
        {"l1": float(error), "gradient_energy_ratio": float(ratio)} for error, ratio in zip(errors, ratios, strict=True)
    ]


def _neighbours(foreground: Tensor, axis: int) -> Tensor:
    length = foreground.shape[axis] - 1
    return foreground.narrow(axis, 0, length) & foreground.narrow(axis, 1, length)


def as_released(
    image: Tensor, probabilities: Tensor, x: Tensor, contract: Mapping
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A reconstruction as a synthetic case is released, cut to its own foreground, and the real volume in the same form.

    image (M, D, H, W), probabilities (R', D, H, W) as decoded; x (M+R', D, H, W) the real volume, masks as -1 and 1;
    contract : of the autoencoder
    -> image, reference (M, D, H, W); masks, true masks (1+R, D, H, W) of 0 and 1, the foreground first, regions nested
    """
    regions, background, count = contract["regions"], contract["written"]["background"], len(contract["modalities"])
    sample = Sample.of(image.numpy(), probabilities.numpy(), regions)
    foreground = foreground_of(sample, background)
    cut, levels = cut_to_foreground(sample.image, sample.levels, foreground)
    reference = x[:count]
    whole = (reference > -1.0).any(dim=0) if background else torch.ones_like(reference[0], dtype=torch.bool)
    masks = np.concatenate([foreground[None], levels_to_channels(levels, regions)]).astype(np.float32)
    true = torch.cat([whole[None].float(), (x[len(x) - len(regions) :] + 1) / 2])
    return torch.from_numpy(cut), reference, torch.from_numpy(masks), true


def reconstruction_rows(
    case_id: str,
    image: Tensor,
    reference: Tensor,
    masks: Tensor,
    true_masks: Tensor,
    modalities: Sequence[str],
    regions: Sequence[str],
) -> list[dict]:
    """Rows (`COLUMNS`) of one case: SSIM and PSNR of each plane and modality; for the plane "volume" the errors and
    gradients of each modality, what changes of its normalised means (``z_error of <place>``, z made minus z real), Dice of
    the foreground and of each region, and the ratio of the volumes of the foregrounds.

    As of `as_released`: image, reference (M, D, H, W); masks, true_masks (1+R, D, H, W) of 0 and 1
    """
    rows = []
    for plane in PLANES:
        for name, scores in zip(modalities, plane_scores(image, reference, plane), strict=True):
            rows += [(case_id, plane, name, metric, value) for metric, value in scores.items()]
    foreground = true_masks[0] > 0.5
    whole = zip(volume_scores(image, reference, foreground), through_plane_scores(image, reference), strict=True)
    for name, (scores, through) in zip(modalities, whole, strict=True):
        rows += [(case_id, "volume", name, metric, value) for metric, value in {**scores, **through}.items()]
    made, real = (
        normalised_means(volume.numpy(), mask[0].numpy() > 0.5, mask[1:].sum(dim=0).numpy(), regions)
        for volume, mask in ((image, masks), (reference, true_masks))
    )
    for place in made:
        for name, value in zip(modalities, made[place] - real[place], strict=True):
            rows.append((case_id, "volume", name, f"z_error of {place}", float(value)))
    for name, mask, true in zip([FOREGROUND, *regions], masks > 0.5, true_masks > 0.5, strict=True):
        rows.append((case_id, "volume", name, "dice", dice(mask, true)))
    ratio = float(masks[0].sum()) / float(true_masks[0].sum())
    rows.append((case_id, "volume", FOREGROUND, "volume_ratio", ratio))
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def mosaic(image: Tensor, reference: Tensor, masks: Tensor, true_masks: Tensor) -> np.ndarray:
    """A quick look: uint8 (height, width, 3), modalities side by side; the axial and the coronal slice with the most
    tumour, input above reconstruction; outlines of the regions from yellow (outermost) to red. Superior or anterior is
    up. Arguments as in `reconstruction_rows`."""
    colours = [(255, 220, 0), (255, 140, 0), (255, 0, 0)]
    tumour = np.asarray(true_masks[1]) > 0.5
    rows = []
    for axis in (0, 1):
        index = int(tumour.sum(axis=tuple({0, 1, 2} - {axis})).argmax())
        for values, outlines in ((reference, true_masks[1:]), (image, masks[1:])):
            grey = np.take(np.asarray(values), index, axis=axis + 1)  # (M, h, w)
            picture = np.repeat((grey[..., None] + 1.0) * 127.5, 3, axis=3)
            for colour, mask in zip(
                cycle(colours), np.take(np.asarray(outlines) > 0.5, index, axis=axis + 1), strict=False
            ):
                picture[:, mask & ~ndimage.binary_erosion(mask)] = colour
            rows.append(np.concatenate(list(picture[:, ::-1]), axis=1))
    return np.concatenate(rows).round().clip(0, 255).astype(np.uint8)
