"""Slices as a feature network sees them: which, how large, in which values, and gathered to which statistics."""

import numpy as np
import pytest
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.evaluation.image_features import (
    brain_slices,
    draw_slices,
    find_slices,
    fitting_slice_size,
    plane_statistics,
    slice_images,
)

PLANES = ["axial", "sagittal", "coronal"]


def volume(shape=(10, 16, 12), modalities=2, seed=0):
    """A box of brain with noise, (M, D, H, W), background -1: d 2..7, h 4..11, w 3..8."""
    image = np.full((modalities, *shape), -1.0, dtype=np.float16)
    inside = np.random.default_rng(seed).uniform(-0.9, 1, size=(modalities, 6, 8, 6))
    image[:, 2:8, 4:12, 3:9] = inside
    return image


def test_slices_with_brain_are_found_in_each_plane():
    image = volume()
    assert brain_slices(image, "axial", 0.05).tolist() == list(range(2, 8))
    assert brain_slices(image, "coronal", 0.05).tolist() == list(range(4, 12))
    assert brain_slices(image, "sagittal", 0.05).tolist() == list(range(3, 9))
    image[:, 2] = -1
    image[0, 2, 5, 5] = 0.0  # a single voxel of one modality
    assert brain_slices(image, "axial", 0.05).tolist() == list(range(3, 8))
    assert brain_slices(image, "axial", 0.0).tolist() == list(range(2, 8)), "never a slice without any brain"


def test_a_slice_enters_as_grey_images_of_its_modalities_in_zero_to_one():
    image = volume()
    pictures = slice_images(image, "axial", np.array([3, 5]), (1.0, 1.0, 1.0), size=64)
    assert pictures.shape == (4, 3, 64, 64)
    assert pictures.min() == 0.0
    assert pictures.max() <= 1.0
    assert torch.equal(pictures[:, 0], pictures[:, 1])
    assert torch.equal(pictures[:, 0], pictures[:, 2])
    # first both modalities of the first slice: their mean brightness tells which is which
    for number, (modality, index) in enumerate([(0, 3), (1, 3), (0, 5), (1, 5)]):
        expected = (image[modality, index].astype(np.float32) + 1).mean() / 2 * 12 / 16  # 12 of 16 columns
        assert float(pictures[number, 0].mean()) == pytest.approx(expected, rel=0.03)


def test_proportions_are_those_in_mm():
    image = np.ones((1, 10, 20, 20), dtype=np.float16)
    # a coronal slice is 10 x 20 voxels; at 4 mm a slice and 1 mm a pixel it is 40 mm high and 20 mm wide
    picture = slice_images(image, "coronal", np.array([0]), (4.0, 1.0, 1.0), size=80)[0, 0]
    filled = picture > 0.5
    assert filled.any(dim=1).sum() == 80
    assert filled.any(dim=0).sum() == 40
    assert bool(filled[:, 20:60].all()), "centred"


def test_coarse_volumes_are_not_blown_up_and_fine_ones_not_beyond_what_the_network_knows():
    sizes = [(24, 32, 32), (40, 48, 48), (48, 64, 64), (48, 70, 64), (144, 192, 192), (155, 240, 240)]
    assert [fitting_slice_size(size) for size in sizes] == [64, 64, 64, 96, 192, 224]


def test_a_draw_of_slices_is_seeded_ordered_and_without_repeats():
    slices = [("a", index) for index in range(30)]
    drawn = draw_slices(slices, 10, np.random.default_rng(0))
    assert drawn == draw_slices(slices, 10, np.random.default_rng(0)) == sorted(set(drawn))
    assert len(drawn) == 10
    assert draw_slices(slices, 99, np.random.default_rng(0)) == slices


def colour_means(pictures):
    """A tiny feature network: mean brightness of the four quarters of the grey image."""
    grey = pictures[:, 0].reshape(len(pictures), 2, pictures.shape[2] // 2, 2, pictures.shape[3] // 2)
    return grey.mean(dim=(2, 4)).reshape(len(pictures), 4)


def test_statistics_are_those_of_all_slices_at_once_whatever_the_batch():
    volumes = {f"case{seed}": volume(seed=seed) for seed in range(3)}
    slices = find_slices(volumes.__getitem__, list(volumes), PLANES, 0.05)
    assert {plane: len(found) for plane, found in slices.items()} == {"axial": 18, "sagittal": 18, "coronal": 24}
    counted = []
    results = [
        plane_statistics(
            colour_means, volumes.__getitem__, list(volumes), slices, (2.0, 1.0, 1.0), batch, progress=counted.append
        )
        for batch in (1, 4, 100)
    ]
    assert sum(counted) == 3 * 2 * 60
    for plane in PLANES:
        images = torch.cat(
            [
                slice_images(volumes[case_id], plane, np.array([index]), (2.0, 1.0, 1.0))
                for case_id, index in slices[plane]
            ]
        )
        features = colour_means(images).double().numpy()
        for result in results:
            assert result[plane].count == len(features)
            np.testing.assert_allclose(result[plane].mean, features.mean(axis=0), rtol=1e-6)
            np.testing.assert_allclose(result[plane].covariance(), np.cov(features.T), rtol=1e-4, atol=1e-9)


def test_only_the_slices_asked_for_are_seen():
    volumes = {"a": volume(seed=1), "b": volume(seed=2)}
    slices = {"axial": [("a", 3), ("b", 4), ("b", 5)], "coronal": [("a", 5), ("a", 6)]}
    result = plane_statistics(colour_means, volumes.__getitem__, ["a", "b"], slices, (1, 1, 1), 8)
    assert {plane: statistics.count for plane, statistics in result.items()} == {"axial": 6, "coronal": 4}


def test_a_plane_without_brain_is_an_error_in_words():
    empty = {"a": np.full((1, 8, 8, 8), -1.0, dtype=np.float16)}
    slices = find_slices(empty.__getitem__, ["a"], ["axial"], 0.05)
    with pytest.raises(UserError, match="0 axial slices with enough brain in 1 cases"):
        plane_statistics(colour_means, empty.__getitem__, ["a"], slices, (1, 1, 1), 8)
