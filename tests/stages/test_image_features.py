"""Slices as a feature network sees them: which, how large, in which values, and kept for every comparison."""

import numpy as np
import pytest
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.evaluation.feature_files import FeatureFiles, settings_digest
from workflow_scripts.evaluation.feature_sets import SETS, CaseSet, draw_slices, gather, groups, matched_slices
from workflow_scripts.evaluation.frechet import merged
from workflow_scripts.evaluation.image_features import (
    case_features,
    features_in,
    fitting_slice_size,
    foreground_slices,
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
    assert foreground_slices(image, "axial", 0.05).tolist() == list(range(2, 8))
    assert foreground_slices(image, "coronal", 0.05).tolist() == list(range(4, 12))
    assert foreground_slices(image, "sagittal", 0.05).tolist() == list(range(3, 9))
    image[:, 2] = -1
    image[0, 2, 5, 5] = 0.0  # a single voxel of one modality
    assert foreground_slices(image, "axial", 0.05).tolist() == list(range(3, 8))
    assert foreground_slices(image, "axial", 0.0).tolist() == list(range(2, 8)), "never a slice without any brain"


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


def test_slices_are_scaled_on_the_network_s_device():
    pictures = slice_images(volume(), "axial", np.array([3, 5]), (1.0, 1.0, 1.0), size=64, device="meta")
    assert pictures.device.type == "meta"
    assert pictures.shape == (4, 3, 64, 64)


def test_coarse_volumes_are_not_blown_up_and_fine_ones_not_beyond_what_the_network_knows():
    sizes = [(24, 32, 32), (40, 48, 48), (48, 64, 64), (48, 70, 64), (144, 192, 192), (155, 240, 240)]
    assert [fitting_slice_size(size) for size in sizes] == [64, 64, 64, 96, 192, 224]


def test_a_draw_of_slices_is_seeded_ordered_and_without_repeats():
    slices = [("a", index) for index in range(30)]
    drawn = draw_slices(slices, 10, np.random.default_rng(0))
    assert drawn == draw_slices(slices, 10, np.random.default_rng(0)) == sorted(set(drawn))
    assert len(drawn) == 10
    assert draw_slices(slices, 99, np.random.default_rng(0)) == slices


class Quarters(torch.nn.Module):
    """A tiny feature network: mean brightness of the four quarters of the grey image."""

    spatial_dims = 2

    def forward(self, pictures):
        grey = pictures[:, 0].reshape(len(pictures), 2, pictures.shape[2] // 2, 2, pictures.shape[3] // 2)
        return grey.mean(dim=(2, 4)).reshape(len(pictures), 4)


class Volumes(torch.nn.Module):
    """A tiny network of volumes: mean and largest value."""

    spatial_dims = 3

    def forward(self, x):
        assert x.shape[1] == 1
        return torch.stack([x.mean(dim=(1, 2, 3, 4)), x.amax(dim=(1, 2, 3, 4))], dim=1)


def features_of(image, batch_size=4, network=None, planes=PLANES, step_mm=0):
    return case_features(network or Quarters(), image, planes, (2.0, 1.0, 1.0), 0.05, step_mm, batch_size)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_slice_with_brain_has_its_features_whatever_the_batch(batch_size):
    image = volume()
    found = features_of(image, batch_size)
    assert {plane: x.shape for plane, x in found.items()} == {
        "axial": (2, 6, 4), "sagittal": (2, 6, 4), "coronal": (2, 8, 4)
    }  # fmt: skip
    for plane, features in found.items():
        pictures = slice_images(image, plane, foreground_slices(image, plane, 0.05), (2.0, 1.0, 1.0))
        expected = Quarters()(pictures).reshape(-1, 2, 4).swapaxes(0, 1).numpy()
        np.testing.assert_allclose(features, expected, rtol=1e-3)


@pytest.mark.parametrize(("step_mm", "counts"), [(1.9, (6, 6, 8)), (2, (6, 3, 4)), (4, (3, 1, 2)), (1000, (1, 1, 1))])
def test_of_slices_closer_than_the_step_those_between_are_not_seen(step_mm, counts):
    image = volume()
    every, found = features_of(image), features_of(image, step_mm=step_mm)
    assert tuple(found[plane].shape[1] for plane in PLANES) == counts, "2 mm from axial slice to slice, else 1"
    for plane in PLANES:
        rows = [list(map(tuple, features[0])) for features in (every[plane], found[plane])]
        assert set(rows[1]) <= set(rows[0])


def test_on_a_cpu_few_pictures_go_through_the_network_at_once_and_the_features_are_the_same():
    seen = []

    class Watched(Quarters):
        def forward(self, pictures):
            seen.append(len(pictures))
            return super().forward(pictures)

    pictures = torch.rand(9, 1, 192, 192).expand(-1, 3, -1, -1)
    torch.testing.assert_close(features_in(Watched(), pictures), Quarters()(pictures))
    features_in(Watched(), torch.rand(40, 3, 64, 64))
    features_in(Watched(), pictures.to("meta"))
    assert seen == [4, 4, 1, 36, 4, 9], "of 192 and of 64 pixels; and on another device all"


def test_a_network_of_volumes_sees_each_modality_whole():
    image = volume()
    found = features_of(image, network=Volumes())
    assert list(found) == ["volume"] and found["volume"].shape == (2, 1, 2)
    expected = (image.astype(np.float32) + 1) / 2
    np.testing.assert_allclose(found["volume"][:, 0, 0], expected.mean(axis=(1, 2, 3)), rtol=1e-3)
    np.testing.assert_allclose(found["volume"][:, 0, 1], expected.max(axis=(1, 2, 3)), rtol=1e-3)


def test_features_that_are_not_finite_are_refused():
    class Broken(Quarters):
        def forward(self, pictures):
            return super().forward(pictures) * float("nan")

    with pytest.raises(UserError, match="NaN or infinity"):
        features_of(volume(), network=Broken())


def keep(folder, seeds, kind="real"):
    files = FeatureFiles(folder, "0123", kind)
    for seed in seeds:
        files.write(f"case{seed}", f"source{seed}", features_of(volume(seed=seed)))
    return files


def test_features_are_kept_until_their_source_changes(tmp_path):
    files = keep(tmp_path, [1])
    assert files.read_counts("case1", "source1") == {"dimension": 4, "axial": 6, "sagittal": 6, "coronal": 8}
    assert files.read_counts("case1", "another source") is None
    assert files.read_counts("case2", "source2") is None
    np.testing.assert_array_equal(files.read("case1", "coronal", 1), features_of(volume(seed=1))["coronal"][1])
    files.path("case1").write_bytes(b"torn")
    assert files.read_counts("case1", "source1") is None
    with pytest.raises(UserError, match="image features of case case1 cannot be read"):
        files.read("case1", "coronal", 1)


def test_another_network_or_grid_has_another_folder():
    first = settings_digest(weights="abc", slice_size=64)
    assert first == settings_digest(slice_size=64, weights="abc")
    assert (
        len({first, settings_digest(weights="abd", slice_size=64), settings_digest(weights="abc", slice_size=96)}) == 3
    )


def test_sets_gather_the_drawn_slices_and_the_mean_of_all(tmp_path):
    files = keep(tmp_path, range(3))
    drawn = {"axial": {"case0": np.array([0, 5]), "case2": np.array([3])}}
    parts, means = gather(CaseSet(["case0", "case1", "case2"], files, drawn), "axial", 1, 4)
    assert [part.count for part in parts] == [2, 0, 1], "a group for each of so few cases"
    gaussian = merged(parts)
    everything = [features_of(volume(seed=seed))["axial"][1].astype(float) for seed in range(3)]
    picked = np.concatenate([everything[0][[0, 5]], everything[2][[3]]])
    assert gaussian.count == 3
    np.testing.assert_allclose(gaussian.mean, picked.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(gaussian.covariance(), np.cov(picked.T), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(means, [x.mean(axis=0) for x in everything], rtol=1e-5)


def test_groups_join_slices_as_samples_and_means_as_features(tmp_path):
    files = keep(tmp_path, range(6))
    ids = {"reference": ["case0", "case1"], "floor": ["case2", "case3"], "synthetic": ["case4", "case5"]}
    sets = {name: CaseSet(ids[name], files) for name in SETS}
    seen = []
    found = {
        (group.plane, group.modality): group
        for group in groups(sets, ["axial", "coronal"], ["t1n", "t2f"], 4, seen.append)
    }
    assert sum(seen) == 2 * 2 * 6
    assert list(found) == [
        *(("axial", name) for name in ("t1n", "t2f", "all")), *(("coronal", name) for name in ("t1n", "t2f", "all")),
        ("joint", "all"),
    ]  # fmt: skip
    features = [features_of(volume(seed=seed)) for seed in range(6)]
    side_by_side = np.array(
        [
            np.concatenate([x[plane][m].astype(float).mean(axis=0) for plane in ("axial", "coronal") for m in (0, 1)])
            for x in features
        ]
    )
    joint = found["joint", "all"]
    assert joint.dimension == 16
    np.testing.assert_allclose(joint.gram, side_by_side @ side_by_side.T, rtol=1e-5)
    slices = np.concatenate([x[plane].reshape(-1, 4) for x in features[4:] for plane in ("axial", "coronal")])
    gaussian = merged(joint.gaussians["synthetic"])
    assert gaussian.count == len(slices) == 2 * 2 * 14
    np.testing.assert_allclose(gaussian.covariance(), np.cov(slices.T.astype(float)), rtol=1e-6, atol=1e-12)


def test_compared_sets_have_as_many_slices_each_and_the_reference_all():
    counts = {"reference": {"a": 5, "b": 4}, "floor": {"c": 9}, "slice": {"d": 3, "e": 3}, "depth": {"d": 3, "e": 3}}
    drawn = matched_slices({name: {"axial": of_cases} for name, of_cases in counts.items()}, seed=0)
    found = {name: {case: indices.tolist() for case, indices in of["axial"].items()} for name, of in drawn.items()}
    assert found["reference"] == {"a": [0, 1, 2, 3, 4], "b": [0, 1, 2, 3]}
    assert found["slice"] == found["depth"] == {"d": [0, 1, 2], "e": [0, 1, 2]}, "the same slices of the same cases"
    assert len(found["floor"]["c"]) == 6 and sorted(set(found["floor"]["c"])) == found["floor"]["c"]


def test_a_case_without_brain_in_a_plane_is_named(tmp_path):
    files = FeatureFiles(tmp_path, "0123", "real")
    files.write("empty", "x", features_of(np.full((1, 8, 8, 8), -1.0, dtype=np.float16), planes=["axial"]))
    with pytest.raises(UserError, match="case empty has no axial slice with enough foreground"):
        gather(CaseSet(["empty"], files), "axial", 0, 4)
