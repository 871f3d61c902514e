"""What is measured on whole volumes: gradients through the planes by closed forms, MS-SSIM by a second implementation."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from workflow_scripts.evaluation.volume_metrics import SCALE_WEIGHTS, gradient_ratio, ms_ssim, ms_ssim_scales


def ramp(slopes, shape=(8, 10, 12)):
    """A volume (1, D, H, W) that rises by `slopes` a voxel along depth, height and width, within (-1, 1)."""
    grid = np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij")
    return -0.9 + sum(slope * axis for slope, axis in zip(slopes, grid, strict=True))[None]


def test_the_ratio_of_a_ramp_is_that_of_its_slopes():
    assert gradient_ratio(ramp((0.06, 0.02, 0.04)), (1, 1, 1)) == pytest.approx([2.0])
    assert gradient_ratio(ramp((0.06, 0.02, 0.04)), (3, 1, 2)) == pytest.approx([1.0]), "a gradient is per mm"


def test_white_noise_has_ratio_one_and_smoothing_the_depth_the_known_factor():
    """The mean of two neighbouring slices: differences along depth are (x2 - x0) / 2 of the noise, in-plane ones of the
    mean of two: |.| falls by sqrt(1/2) against 1 along depth, and in the plane by sqrt(1/2) too, but the noise of
    neighbours in depth is shared. For variance s^2: depth difference variance s^2 / 2, in-plane s^2: ratio sqrt(1/2)."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=(1, 60, 60, 60)).clip(-0.9, 0.9)
    assert gradient_ratio(noise, (1, 1, 1)) == pytest.approx([1.0], rel=0.01)
    smoothed = (noise[:, 1:] + noise[:, :-1]) / 2
    assert gradient_ratio(smoothed, (1, 1, 1)) == pytest.approx([np.sqrt(0.5)], rel=0.01)


def test_slices_that_do_not_fit_raise_the_ratio():
    rng = np.random.default_rng(1)
    image = ndimage.gaussian_filter(rng.normal(size=(1, 30, 40, 40)), (0, 3, 3, 3)) * 3
    jumping = image + rng.normal(scale=0.1, size=(1, 30, 1, 1))  # each slice a little brighter or darker
    assert gradient_ratio(jumping, (1, 1, 1))[0] > 1.5 * gradient_ratio(image, (1, 1, 1))[0]


def test_only_neighbours_within_the_brain_count():
    image = ramp((0.06, 0.02, 0.04))
    framed = np.full((1, 14, 16, 18), -1.0)
    framed[:, 3:11, 3:13, 3:15] = image
    assert gradient_ratio(framed, (1, 1, 1)) == pytest.approx(gradient_ratio(image, (1, 1, 1)))


def test_each_modality_has_its_own_ratio_and_a_flat_one_none():
    image = np.concatenate([ramp((0.04, 0.02, 0.02)), ramp((0.02, 0.02, 0.02)), np.full((1, 8, 10, 12), 0.5)])
    ratios = gradient_ratio(image.astype(np.float16), (1, 1, 1))
    assert ratios[:2] == pytest.approx([2.0, 1.0], rel=0.05)
    assert np.isnan(ratios[2])
    assert np.isnan(gradient_ratio(np.full((1, 4, 4, 4), -1.0), (1, 1, 1))).all(), "no brain"


@pytest.mark.parametrize(
    ("size", "scales", "window"),
    [((144, 192, 192), 4, 11), ((48, 64, 64), 3, 11), ((24, 32, 32), 2, 11), ((16, 32, 32), 1, 11), ((8, 64, 64), 1, 7),
     ((176, 192, 192), 5, 11)],
)  # fmt: skip
def test_as_many_scales_as_fit_the_grid(size, scales, window):
    assert ms_ssim_scales(size) == (scales, window)
    if max(size) <= 64:
        x = np.random.default_rng(0).uniform(-1, 1, size=(1, *size))
        assert np.isfinite(ms_ssim(x, x)).all(), "MONAI takes it"


def texture(seed, shape=(24, 32, 32)):
    rng = np.random.default_rng(seed)
    return np.clip(ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, 1, 1, 1)) * 2, -1, 1)


def test_identical_volumes_have_ms_ssim_one_and_others_less():
    a, b = texture(0), texture(1)
    np.testing.assert_allclose(ms_ssim(a, a), 1.0, atol=1e-5)
    near = np.clip(a + np.random.default_rng(2).normal(scale=0.05, size=a.shape), -1, 1)
    assert (ms_ssim(a, b) < ms_ssim(a, near)).all()
    assert (ms_ssim(a, near) < 1).all()


def separable_ms_ssim(a, b, scales, sigma=1.5, size=11):
    """MS-SSIM by SciPy's one-dimensional filters: no code in common with MONAI's."""
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets**2) / (2 * sigma**2))
    window /= window.sum()

    def mean(x):
        for axis in range(3):
            x = ndimage.correlate1d(x, window, axis=axis)
        inner = slice(size // 2, -(size // 2))
        return x[inner, inner, inner]

    factors = []
    for _ in range(scales):
        ma, mb = mean(a), mean(b)
        va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
        contrast = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
        factors.append(contrast.mean())
        full = ((2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2) * contrast).mean()
        a, b = (x.reshape(*(v for n in x.shape for v in (n // 2, 2))).mean(axis=(1, 3, 5)) for x in (a, b))
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    return np.prod(np.maximum([*factors[:-1], full], 0) ** weights)


def test_ms_ssim_is_that_of_a_second_implementation():
    a, b = texture(3), texture(3) * 0.8 + texture(4) * 0.1
    expected = [separable_ms_ssim((x + 1) / 2, (y + 1) / 2, 2) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ms_ssim(a, b), expected, rtol=1e-4)
    assert ms_ssim(a, b, torch.device("cpu")).shape == (2,)
