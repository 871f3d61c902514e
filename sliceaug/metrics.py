"""The metrics of a study as functions of arrays.

Masks are binary and on one grid; `spacing_mm` goes with their axes. Features are float, (cases or slices, F), of one network:
`slice_features` gives them. What is compared with what, and intervals, are the study's: `read_study`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from workflow_scripts.cohort.tumours import measure as tumour_measures
from workflow_scripts.evaluation.frechet import GaussianStatistics, frechet_distance
from workflow_scripts.evaluation.kernel_distances import (
    gaussian_kernel,
    median_distance,
    polynomial_kernel,
    squared_distances,
    squared_mmd,
)
from workflow_scripts.evaluation.lesions import lesion_scores as _lesion_scores
from workflow_scripts.evaluation.manifolds import manifold_scores
from workflow_scripts.evaluation.segmentation_scores import mask_scores
from workflow_scripts.evaluation.statistics.bootstrap import bootstrap_interval
from workflow_scripts.evaluation.statistics.significance import holm, wilcoxon_p
from workflow_scripts.evaluation.volume_metrics import gradient_ratio, ms_ssim
from workflow_scripts.study.settings.evaluation import ImageFeatures
from workflow_scripts.study.voxels import Lesions

__all__ = [
    "bootstrap_interval",
    "dice",
    "fid",
    "gradient_ratio",
    "hd95",
    "holm",
    "kid",
    "lesion_scores",
    "mask_scores",
    "mmd",
    "ms_ssim",
    "precision_recall_density_coverage",
    "slice_features",
    "tumour_measures",
    "wilcoxon_p",
]
Array = npt.NDArray[np.generic]
IMAGES = ImageFeatures()  # a study's defaults


def dice(reference: Array, predicted: Array) -> float:
    """Dice coefficient of two binary masks (X, Y, Z), 0 to 1; both empty: 1, one of them empty: 0."""
    return mask_scores(reference, predicted, (1.0, 1.0, 1.0))[0]


def hd95(reference: Array, predicted: Array, spacing_mm: Sequence[float], percentile: float = 95.0) -> float:
    """Symmetric Hausdorff distance at `percentile`, mm, between the surfaces of two binary masks (X, Y, Z).

    Both empty: 0; one of them empty: the image's diagonal.
    """
    return mask_scores(reference, predicted, spacing_mm, percentile)[1]


def lesion_scores(
    reference: Array,
    predicted: Array,
    spacing_mm: Sequence[float],
    dilation_voxels: int = 3,
    min_volume_mm3: float = 50.0,
    small_volume_ml: float = 1.0,
    percentile: float = 95.0,
) -> dict[str, float]:
    """Lesion-wise scores of two binary masks (X, Y, Z), as BraTS 2023 defines them; its rule for gliomas is the default.

    dilation_voxels : parts of the reference that a dilation by so many voxels joins are one lesion
    min_volume_mm3 : lesions up to this volume are left out
    small_volume_ml : lesions below it are the small ones

    Returns lesion_dice (share) and lesion_hd95_mm, means over lesions and false parts; lesions, lesions_missed, lesions_false,
    small_lesions, small_lesions_hit (counts); and the settings.
    """
    settings = {"dilation_voxels": dilation_voxels, "min_volume_mm3": min_volume_mm3}
    rule = Lesions.read(settings | {"small_volume_ml": small_volume_ml}, "lesions")
    return _lesion_scores(reference, predicted, spacing_mm, rule, percentile)


def fid(real: Array, synthetic: Array) -> float:
    """Squared Fréchet distance of two sets of features (n, F) and (m, F), one a slice, two or more each; 0 at best.

    The study's FID is of slice features of all cases. With few slices it is biased upwards: compare it with the distance of
    two sets of real cases of the same sizes.
    """
    one, other = (GaussianStatistics(np.shape(part)[1]).update(part) for part in (real, synthetic))
    return frechet_distance(one, other)


def kid(real: Array, synthetic: Array) -> float:
    """KID: unbiased squared MMD with the cubic polynomial kernel, of features (n, F) and (m, F), one a case: means over its
    slices, so that samples are independent. Two cases or more each. May be below 0 near its best, 0."""
    gram = _gram(real, synthetic)
    return _mmd(polynomial_kernel(gram, np.shape(real)[1]), len(real))


def mmd(real: Array, synthetic: Array) -> float:
    """Unbiased squared MMD with a Gaussian kernel as wide as the median distance of the real cases; arguments as of `kid`.

    Raises ValueError where all real cases are equal.
    """
    squared = squared_distances(_gram(real, synthetic))
    width = median_distance(squared[: len(real), : len(real)])
    if not width:
        raise ValueError("all real cases have the same features: there is no width for a kernel")
    return _mmd(gaussian_kernel(squared, width), len(real))


def precision_recall_density_coverage(real: Array, synthetic: Array, neighbours: int = 5) -> dict[str, float]:
    """Whether synthetic cases lie among real ones (precision, density) and real among synthetic (recall, coverage).

    real, synthetic : features (n, F) and (m, F), one a case
    neighbours : k of the balls that make a set's manifold, at least 1 and below n and m

    Returns the four by name, 0 to 1; density may be above 1. Sources: arXiv:1904.06991, arXiv:2002.09797.
    """
    distances = np.sqrt(squared_distances(_gram(real, synthetic)))
    n = len(real)
    scores: Mapping[str, Array] = manifold_scores(distances[:n, :n], distances[n:, n:], distances[:n, n:], neighbours)
    return {name: float(np.mean(values.astype(float))) for name, values in scores.items()}


def slice_features(
    image: Array,
    spacing_mm: Sequence[float],
    planes: Sequence[str] = tuple(IMAGES.planes),
    min_foreground_fraction: float = IMAGES.min_foreground_fraction,
    batch_size: int = IMAGES.batch_size,
    device: str = "cpu",
    slice_step_mm: float = IMAGES.slice_step_mm,
) -> dict[str, npt.NDArray[np.float16]]:
    """Features of the slices of one case by EfficientNet-Lite0, trained on ImageNet, whose weights are in a package.

    image : (modality, z, y, x) in [-1, 1], background exactly -1
    spacing_mm : voxel edges along z, y, x
    min_foreground_fraction : slices with a smaller share of foreground are left out
    batch_size : slices, of all modalities, that go through the network at once
    slice_step_mm : slices lie at most so far apart, fewer are not seen where the grid is finer; 0: each slice is

    Returns plane -> (modality, slices, 1280). For `fid`, join the slices of all cases; for `kid`, take each case's mean.
    """
    from workflow_scripts.evaluation.image_features import case_features, fitting_slice_size
    from workflow_scripts.models.feature_network import load_feature_network

    network = load_feature_network().to(device)
    size = fitting_slice_size(np.shape(image)[1:])
    return case_features(
        network, image, planes, spacing_mm, min_foreground_fraction, slice_step_mm, batch_size, device, size
    )


def _gram(real: Array, synthetic: Array) -> npt.NDArray[np.float64]:
    """Inner products of all cases, those of `real` first."""
    both = np.concatenate([np.asarray(part, dtype=np.float64) for part in (real, synthetic)])
    return np.asarray(both @ both.T, dtype=np.float64)


def _mmd(kernel: npt.NDArray[np.float64], n: int) -> float:
    found = squared_mmd(kernel, n, 1, 0.95, np.random.default_rng(0))
    if found is None:
        raise ValueError("two cases or more are needed in each set")
    return found.value
