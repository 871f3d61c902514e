"""Likeness of two cases: correlation over the brain, whatever the side, the shift, brightness and contrast."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from workflow_scripts.memorisation.likeness import (
    Pose,
    blocks_of,
    coarse_image,
    coarse_mask,
    image_likeness,
    mask_likeness,
    moved,
    poses_within,
)

HERE = [Pose(False, (0, 0, 0))]


def head(seed, shape=(12, 16, 14), modalities=2):
    """A box of brain with noise of its own, far from the edges: (M, D, H, W), background -1."""
    image = np.full((modalities, *shape), -1.0, dtype=np.float16)
    inner = tuple(slice(3, edge - 3) for edge in shape)
    size = [edge - 6 for edge in shape]
    image[:, *inner] = np.random.default_rng(seed).uniform(-0.9, 0.9, size=(modalities, *size))
    return image


def likeness(one, other, poses):
    scores, found = image_likeness(coarse_image(one, (1, 1, 1)), coarse_image(other, (1, 1, 1))[None], poses)
    return scores[0], found[0]


def test_without_a_shift_it_is_the_correlation_over_the_brain_averaged_over_the_modalities():
    one, other = head(0), (0.5 * head(0) + 0.5 * head(1)).astype(np.float16)
    brain = one[0] > -1
    expected = np.mean(
        [np.corrcoef(a[brain].astype(float), b[brain].astype(float))[0, 1] for a, b in zip(one, other, strict=True)]
    )
    score, pose = likeness(one, other, HERE)
    assert score == pytest.approx(expected, abs=1e-5)
    assert pose == HERE[0]


@pytest.mark.parametrize(
    ("flipped", "shift"), [(False, (0, 0, 0)), (True, (0, 0, 0)), (False, (1, -2, 2)), (True, (-1, 0, 1))]
)
def test_a_mirrored_and_shifted_copy_is_found_in_its_pose(flipped, shift):
    training = head(0)
    back = tuple(-step for step in shift)
    copy = moved(training + 1, Pose(False, back)) - 1
    copy = copy[..., ::-1] if flipped else copy
    score, pose = likeness(copy, training, poses_within(2.0, (1, 1, 1)))
    assert score == pytest.approx(1.0, abs=1e-3)
    assert pose == Pose(flipped, shift)
    assert likeness(head(1), training, poses_within(2.0, (1, 1, 1)))[0] < 0.4


def test_brightness_contrast_and_the_outline_do_not_count():
    one, other = head(0).astype(np.float32), head(0).astype(np.float32)
    other[0] = np.where(other[0] > -1, 0.3 * other[0] + 0.2, -1)
    other[1] = np.where(other[1] > -1, 0.8 * other[1] - 0.15, -1)
    assert likeness(one, other, HERE)[0] == pytest.approx(1.0, abs=1e-3)
    flat = np.where(one > -1, 0.4, -1.0)
    assert likeness(one, flat, HERE)[0] == 0.0, "a brain without contrast is like none"


def test_shifts_are_limited_in_mm_and_the_case_as_it_lies_is_looked_at_first():
    poses = poses_within(8.0, (5.0, 4.0, 4.0))
    assert poses[0] == Pose(False, (0, 0, 0))
    assert len(poses) == len(set(poses)) == 2 * 3 * 5 * 5
    assert poses_within(0.0, (4, 4, 4)) == [Pose(False, (0, 0, 0)), Pose(True, (0, 0, 0))]


def test_the_coarse_grid_is_about_as_coarse_as_asked_for():
    assert blocks_of((1.0, 1.0, 1.0), 4.0) == (4, 4, 4)
    assert blocks_of((1.5, 1.0, 1.0), 4.0) == (3, 4, 4)
    assert blocks_of((5.0, 3.0, 3.0), 4.0) == (1, 1, 1)


def test_a_coarse_voxel_is_the_mean_over_the_brain_in_it():
    image = np.full((1, 4, 4, 4), -1.0)
    image[0, :2] = np.arange(32).reshape(2, 4, 4) / 40  # the lower half is brain
    image[0, 0, 0, 0] = -1.0
    coarse = coarse_image(image, (2, 2, 2))
    assert coarse.shape == (1, 2, 2, 2)
    assert not coarse[0, 1].any(), "background stays zero"
    means = np.array(
        [
            image[0, :2, y : y + 2, x : x + 2][image[0, :2, y : y + 2, x : x + 2] > -1].mean()
            for y in (0, 2)
            for x in (0, 2)
        ]
    )
    expected = (means - means.mean()) / np.linalg.norm(means - means.mean())
    np.testing.assert_allclose(coarse[0, 0].ravel(), expected, atol=1e-6)


def test_noise_disappears_on_the_coarse_grid():
    smooth = np.kron(head(0, (12, 16, 14), 1)[0].astype(np.float32), np.ones((4, 4, 4)))[None]
    noise = np.random.default_rng(3).normal(0, 0.5, smooth.shape)
    noisy = np.where(smooth > -1, np.clip(smooth + noise, -0.999, 1), -1)
    fine = image_likeness(coarse_image(noisy, (1, 1, 1)), coarse_image(smooth, (1, 1, 1))[None], HERE)[0][0]
    coarse = image_likeness(coarse_image(noisy, (4, 4, 4)), coarse_image(smooth, (4, 4, 4))[None], HERE)[0][0]
    assert fine < 0.8 < 0.97 < coarse


def test_smoothing_stays_inside_the_brain_and_forgives_blur():
    image = head(0, modalities=1)
    smoothed = coarse_image(image, (1, 1, 1), (1, 1, 1))
    brain = image[0] > -1
    assert not smoothed[0][~brain].any()

    def blurred(sigma):
        values, weight = np.where(brain, image[0].astype(float), 0), brain.astype(float)
        smooth = [gaussian_filter(array, sigma, mode="constant") for array in (values, weight)]
        return np.where(brain, smooth[0] / np.maximum(smooth[1], 1e-6), -1.0)

    assert np.corrcoef(smoothed[0][brain], blurred(1.0)[brain])[0, 1] == pytest.approx(1.0, abs=1e-6)
    sharp, soft = (
        image_likeness(
            coarse_image(blurred(0.7)[None], (1, 1, 1), sigma), coarse_image(image, (1, 1, 1), sigma)[None], HERE
        )[0][0]
        for sigma in ((0, 0, 0), (1, 1, 1))
    )
    assert sharp < soft - 0.1


def test_an_image_without_brain_is_like_none():
    empty = np.full((2, 12, 16, 14), -1.0)
    assert not coarse_image(empty, (2, 2, 2)).any()
    assert likeness(empty, head(0), HERE)[0] == 0.0


def test_masks_are_compared_by_their_dice_in_the_best_pose():
    levels = np.zeros((10, 12, 14), np.uint8)
    levels[3:6, 4:8, 2:6] = 1
    levels[4, 5:7, 3:5] = 3
    other = np.zeros_like(levels)
    other[3:6, 4:8, 4:8] = 2
    masks = [coarse_mask(array, (1, 1, 1)) for array in (levels, other)]
    scores, poses = mask_likeness(masks[0], masks[1][None], HERE)
    assert scores[0] == pytest.approx(2 * 24 / (48 + 48))
    scores, poses = mask_likeness(masks[0], masks[1][None], poses_within(2.0, (1, 1, 1)))
    assert scores[0] == pytest.approx(1.0)
    assert poses[0] == Pose(False, (0, 0, 2))
    mirrored = coarse_mask(levels[..., ::-1], (1, 1, 1))
    assert mask_likeness(mirrored, masks[0][None], poses_within(0.0, (1, 1, 1)))[1][0].flipped
    assert mask_likeness(np.zeros_like(masks[0]), masks[0][None], HERE)[0][0] == 0.0


def test_all_training_cases_are_compared_at_once_as_one_by_one():
    poses = poses_within(1.0, (1, 1, 1))
    others = np.stack([coarse_image(head(seed), (1, 1, 1)) for seed in range(4)])
    query = coarse_image(head(9), (1, 1, 1))
    together = image_likeness(query, others, poses)[0]
    alone = [image_likeness(query, other[None], poses)[0][0] for other in others]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    brute = [max((moved(query, pose) * other).sum() for pose in poses) for other in others]
    np.testing.assert_allclose(together, brute, atol=1e-5)
