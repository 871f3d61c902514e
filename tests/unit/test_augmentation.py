"""Changed copies of a case: what is turned, moved and scaled is what the label says, and the rim keeps its brightness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.cohort.tumours import measure
from workflow_scripts.study.settings.autoencoder import Augmentation
from workflow_scripts.training.augmentation import N_LABELS, Change, changed, changed_slices

SPACING_MM = (5.0, 3.0, 3.0)
SIZE = (20, 32, 32)
SETTINGS = Augmentation(rotation_degrees=20.0, scaling=0.2, shift_mm=6.0, gamma=0.5)
CENTROID = ("centroid_x_mm", "centroid_y_mm", "centroid_z_mm")


def ball(centre_mm, radius_mm) -> np.ndarray:
    """(D, H, W); centre as (x, y, z) from the grid's centre."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(SIZE, SPACING_MM, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    x0, y0, z0 = centre_mm
    return (x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2 <= radius_mm**2


LEVELS = ball((12, 8, -10), 16).astype(np.uint8) + ball((12, 8, -10), 10)
IMAGE = np.where(ball((0, 0, 0), 40), np.float32([[[[0.2]]], [[[-0.4]]]]), np.float32(-1))


def copy(flipped=False, **amounts):
    places = {"turn_x": 0, "turn_y": 1, "turn_z": 2, "scale": 3, "shift_x": 4, "shift_y": 5, "shift_z": 6, "gamma": 7}
    vector = np.zeros(N_LABELS, dtype=np.float32)
    for name, value in amounts.items():
        vector[places[name]] = value
    return changed(IMAGE, LEVELS, SPACING_MM, Change(flipped, vector), SETTINGS)


def centre(levels) -> np.ndarray:
    found = measure(levels, SPACING_MM)
    return np.array([found[name] for name in CENTROID])


def test_a_mirrored_copy_is_the_case_from_the_other_side():
    image, levels = copy(flipped=True)
    assert np.array_equal(image, IMAGE[..., ::-1]) and np.array_equal(levels, LEVELS[..., ::-1])
    np.testing.assert_allclose(centre(levels), centre(LEVELS) * [-1, 1, 1], atol=1e-9)


@pytest.mark.parametrize(("axis", "mm"), enumerate(SPACING_MM[::-1]))
def test_a_shift_is_in_mm_along_its_axis(axis, mm):
    _, levels = copy(**{f"shift_{'xyz'[axis]}": mm / SETTINGS.shift_mm})
    np.testing.assert_allclose(centre(levels) - centre(LEVELS), mm * np.eye(3)[axis], atol=0.3)


def test_a_scaling_is_of_lengths_about_the_centre():
    _, levels = copy(scale=1.0)
    assert np.count_nonzero(levels) / np.count_nonzero(LEVELS) == pytest.approx(1.2**3, rel=0.05)
    np.testing.assert_allclose(centre(levels), 1.2 * centre(LEVELS), atol=0.5)


@pytest.mark.parametrize("axis", range(3))
def test_a_turn_keeps_volume_and_distance_and_goes_about_its_axis(axis):
    _, levels = copy(**{f"turn_{'xyz'[axis]}": 1.0})
    before, after = centre(LEVELS), centre(levels)
    others = [other for other in range(3) if other != axis]
    assert after[axis] == pytest.approx(before[axis], abs=0.5)
    angle = np.arctan2(*after[others][::-1]) - np.arctan2(*before[others][::-1])
    assert np.rad2deg(angle) == pytest.approx(20.0, abs=2.5)
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before), abs=0.5)
    assert np.count_nonzero(levels) == pytest.approx(np.count_nonzero(LEVELS), rel=0.05)


def test_the_rim_stays_as_bright_as_the_rest_and_the_background_is_exact():
    image, levels = copy(turn_x=0.7, turn_z=-0.4, scale=0.3, shift_y=0.9)
    foreground = (image > -1).any(axis=0)
    assert foreground.sum() == pytest.approx((1.06**3) * (IMAGE[0] > -1).sum(), rel=0.03)
    np.testing.assert_allclose(image[0][foreground], 0.2, atol=1e-5)
    np.testing.assert_allclose(image[1][foreground], -0.4, atol=1e-5)
    assert (image[:, ~foreground] == -1).all() and not levels[~foreground].any()
    assert ((levels >= 2) <= (levels >= 1)).all() and levels.max() == 2


def test_gamma_changes_intensities_alone():
    image, levels = copy(gamma=1.0)
    assert np.array_equal(levels, LEVELS)
    np.testing.assert_allclose(image[0][IMAGE[0] > -1], 2 * 0.6**1.5 - 1, atol=1e-5)


def test_amounts_that_are_switched_off_are_never_drawn():
    still = Augmentation(flip=False, rotation_degrees=0.0, scaling=0.0, shift_mm=0.0, gamma=0.0)
    drawn = [Change.draw(numpy_rng("change", number), SETTINGS) for number in range(200)]
    assert 60 < sum(change.flipped for change in drawn) < 140
    assert np.abs([change.amounts for change in drawn]).max() <= 1
    assert not any(Change.draw(numpy_rng(number), still).flipped for number in range(20))
    assert not Change.draw(numpy_rng(1), still).amounts.any()


def slices() -> torch.Tensor:
    """Twelve slices of two modalities, the foreground and a region, which lies within it: (12, 4, 24, 20)."""
    x = torch.full((12, 4, 24, 20), -1.0)
    x[:, 0, 3:20, 4:15], x[:, 1, 3:20, 4:15] = 0.25, -0.5
    x[:, 2, 3:20, 4:15] = 1.0
    x[:, 3, 6:12, 5:9] = 1.0
    return x


def test_changed_slices_have_no_rim_of_their_own_and_masks_that_fit():
    settings = Augmentation(flip=True, rotation_degrees=20, scaling=0.1, shift_mm=8, gamma=0.0)
    made = changed_slices(slices(), 2, (4.0, 4.0), np.random.default_rng(0), settings)
    torch.testing.assert_close(made, changed_slices(slices(), 2, (4.0, 4.0), np.random.default_rng(0), settings))
    inside = made[:, 2] > 0
    assert made.shape == slices().shape and ((made[:, 2:] == 1) | (made[:, 2:] == -1)).all()
    for modality, value in enumerate((0.25, -0.5)):
        torch.testing.assert_close(
            made[:, modality][inside], torch.full((int(inside.sum()),), value), atol=1e-4, rtol=0
        )
        assert (made[:, modality][~inside] == -1).all()
    assert not ((made[:, 3] > 0) & ~inside).any()
    areas = inside.flatten(1).sum(dim=1)
    assert (areas == 17 * 11).any() and (areas != 17 * 11).any(), "some are turned and scaled, some are not"
    assert len({tuple(row.tolist()) for row in made.flatten(1)}) > 6


def test_contrasts_change_by_slice_and_modality_and_mirroring_alone_interpolates_nothing():
    still = Augmentation(flip=False, rotation_degrees=0, scaling=0.0, shift_mm=0, gamma=0.3)
    made = changed_slices(slices(), 2, (4.0, 4.0), np.random.default_rng(1), still)
    torch.testing.assert_close(made[:, 2:], slices()[:, 2:])
    means = made[:, :2, 10, 8]
    assert len(set(means.flatten().tolist())) > 8 and (means[:, 0] == 0.25).any()
    mirrored = changed_slices(slices(), 2, (4.0, 4.0), np.random.default_rng(2), Augmentation(
        flip=True, rotation_degrees=0, scaling=0.0, shift_mm=0, gamma=0.0
    ))  # fmt: skip
    flips = [torch.allclose(one, other.flip(-1), atol=1e-5) for one, other in zip(mirrored, slices(), strict=True)]
    assert 0 < sum(flips) < 12
