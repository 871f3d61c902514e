"""How well an autoencoder gives back a volume: SSIM and PSNR in three planes, through-plane differences, Dice."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from monai.metrics import SSIMMetric
from scipy import ndimage
from torch import Tensor

from ..cohort.planes import PLANES
from ..training.losses import ssim_window

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


def reconstruction_rows(
    case_id: str,
    image: Tensor,
    reference: Tensor,
    probabilities: Tensor,
    masks: Tensor,
    modalities: Sequence[str],
    regions: Sequence[str],
) -> list[dict]:
    """Rows (`COLUMNS`) of one case: SSIM and PSNR of each plane and modality; for the plane "volume" the through-plane
    differences of each modality and the Dice of each region.

    image, reference (M, D, H, W); probabilities, masks (R, D, H, W), thresholded at 0.5
    """
    rows = []
    for plane in PLANES:
        for name, scores in zip(modalities, plane_scores(image, reference, plane), strict=True):
            rows += [(case_id, plane, name, metric, value) for metric, value in scores.items()]
    for name, scores in zip(modalities, through_plane_scores(image, reference), strict=True):
        rows += [(case_id, "volume", name, metric, value) for metric, value in scores.items()]
    for index, name in enumerate(regions):
        rows.append((case_id, "volume", name, "dice", dice(probabilities[index] > 0.5, masks[index] > 0.5)))
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def mosaic(image: Tensor, reference: Tensor, probabilities: Tensor, masks: Tensor) -> np.ndarray:
    """A quick look: uint8 (height, width, 3), modalities side by side; the axial and the coronal slice with the most
    tumour, input above reconstruction; outlines of the regions from yellow (outermost) to red. Superior or anterior is
    up. Arguments as in `reconstruction_rows`."""
    colours = [(255, 220, 0), (255, 140, 0), (255, 0, 0)]
    tumour = np.asarray(masks[0]) > 0.5
    rows = []
    for axis in (0, 1):
        index = int(tumour.sum(axis=tuple({0, 1, 2} - {axis})).argmax())
        for values, outlines in ((reference, masks), (image, probabilities)):
            grey = np.take(np.asarray(values), index, axis=axis + 1)  # (M, h, w)
            picture = np.repeat((grey[..., None] + 1.0) * 127.5, 3, axis=3)
            for colour, mask in zip(
                cycle(colours), np.take(np.asarray(outlines) > 0.5, index, axis=axis + 1), strict=False
            ):
                picture[:, mask & ~ndimage.binary_erosion(mask)] = colour
            rows.append(np.concatenate(list(picture[:, ::-1]), axis=1))
    return np.concatenate(rows).round().clip(0, 255).astype(np.uint8)
