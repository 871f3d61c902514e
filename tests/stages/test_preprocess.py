"""Preprocessed volumes: one grid, values in [-1, 1], nested masks, no tumour cut; shards that may be killed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from brats import ALL_PARTS, REGIONS
from small_cases import MODALITIES, make_case, prepare
from waiting import wait_for

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.nifti import write_nifti
from workflow_scripts.cohort.preprocess import percentiles_of
from workflow_scripts.cohort.regions import channels_to_levels, levels_to_channels
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.programs.cohort import preprocess

CASE = "BraTS-GLI-00000-000"
GRIDS = {
    "the case's own": {"spacing_mm": [8.0, 6.0, 6.0], "size": [16, 32, 32]},
    "coarser": {"spacing_mm": [16.0, 12.0, 12.0], "size": [8, 16, 16]},
    "finer": {"spacing_mm": [4.0, 4.0, 4.0], "size": [32, 48, 48]},
    "odd": {"spacing_mm": [9.0, 7.0, 6.5], "size": [14, 26, 30]},
}


@pytest.fixture
def one_case(tmp_path):
    """A function (settings) -> the store and the files of one preprocessed case."""

    def run(settings=None, **case):
        paths = make_case(tmp_path / "data", CASE, **case)
        return VolumeStore(prepare(tmp_path / "data", tmp_path / "out", settings, shards=1) / "volumes"), paths

    return run


def voxels(path: Path) -> np.ndarray:
    """(D, H, W) in RAS orientation."""
    return nibabel.as_closest_canonical(nibabel.load(path)).get_fdata().transpose(2, 1, 0)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_a_volume_is_what_its_sidecar_says(one_case, grid):
    store, _ = one_case({**grid, "modalities": ["t2f", "t1c"]})
    image, levels, meta = store.image(CASE), store.levels(CASE), store.meta(CASE)
    assert isinstance(image, np.memmap) and image.dtype == np.float16 and levels.dtype == np.uint8
    assert image.shape == (2, *grid["size"]) and levels.shape == tuple(grid["size"])
    assert meta["modalities"] == ["t2f", "t1c"] and meta["size"] == grid["size"]
    assert meta["case_id"] == CASE and meta["patient_id"] == "BraTS-GLI-00000"
    np.testing.assert_allclose(np.diag(meta["affine"])[:3][::-1], grid["spacing_mm"])
    assert image.min() == -1 and image.max() <= 1, "background exactly -1, nothing beyond 1"
    assert (np.asarray(image[:, 0, 0, 0]) == -1).all()
    foreground_ml = (np.asarray(image) > -1).any(axis=0).sum() * np.prod(grid["spacing_mm"]) / 1000
    assert foreground_ml == pytest.approx(meta["foreground_volume_ml"], rel=0.01)
    assert meta["foreground_volume_ml"] == pytest.approx(1256, rel=0.08), "ml of the ellipsoid on its own grid"


def test_intensities_are_percentiles_of_the_brain(one_case):
    store, paths = one_case({"intensity": {"percentiles": [2, 90]}})
    for index, name in enumerate(MODALITIES):
        original = voxels(paths[name])
        brain = original != 0
        low, high = np.percentile(original[brain], [2, 90])
        assert store.meta(CASE)["intensity_window"][name] == pytest.approx([low, high], rel=1e-6)
        expected = np.where(brain, np.clip((original - low) / (high - low), 0, 1) * 2 - 1, -1)
        np.testing.assert_allclose(store.image(CASE)[index], expected, atol=1e-3)


def test_intensities_are_spreads_from_the_median_of_the_brain(one_case):
    """A tumour, however bright and large, hardly moves what normal tissue is mapped to."""
    store, paths = one_case({"intensity": {"spreads": [-4, 10]}})
    for index, name in enumerate(MODALITIES):
        original = voxels(paths[name])
        brain = original != 0
        first, middle, third = np.percentile(original[brain], [25, 50, 75])
        low, high = (middle + spreads * (third - first) / 1.349 for spreads in (-4, 10))
        assert store.meta(CASE)["intensity_window"][name] == pytest.approx([low, high], rel=1e-6)
        assert np.median(np.asarray(store.image(CASE)[index], dtype=float)[brain]) == pytest.approx(-3 / 7, abs=1e-3)


@pytest.mark.parametrize("kind", ["whole", "negative", "fractions", "wide"])
def test_counted_percentiles_are_those_of_numpy(kind):
    rng = np.random.default_rng(0)
    values = {
        "whole": rng.integers(1, 3000, 10_001),
        "negative": rng.integers(-500, 40, 977),
        "fractions": rng.normal(size=5000),
        "wide": rng.integers(0, 2**22, 5000),
    }[kind].astype(np.float32)
    wanted = [0, 0.5, 37.3, 99.5, 100]
    np.testing.assert_allclose(percentiles_of(values, wanted), np.percentile(values.astype(float), wanted), rtol=1e-5)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_masks_are_nested_and_keep_their_volume(one_case, grid):
    store, paths = one_case({**grid})
    levels = np.asarray(store.levels(CASE))
    channels = levels_to_channels(levels, REGIONS).astype(bool)
    assert (channels[0] >= channels[1]).all() and (channels[1] >= channels[2]).all()
    labels = voxels(paths["seg"])
    for channel, wanted in zip(channels, (labels > 0, np.isin(labels, [1, 3])), strict=False):
        volume_ml = channel.sum() * np.prod(grid["spacing_mm"]) / 1000
        assert volume_ml == pytest.approx(wanted.sum() * 6 * 6 * 8 / 1000, rel=0.12)


def test_the_edge_of_the_brain_is_not_darkened(one_case, tmp_path):
    """Voxels that the brain fills in part hold the mean of the part."""
    paths = make_case(tmp_path / "data", CASE)
    for index, name in enumerate(MODALITIES):
        image = nibabel.load(paths[name])
        data = np.asarray(image.dataobj)
        flat = np.where(data > 0, 1000, 0).astype(np.int16)
        flat[16, 16, 8], flat[16, 16, 9] = 500 + index, 1500
        paths[name].unlink()
        write_nifti(paths[name], flat, image.affine)
    settings = {**GRIDS["coarser"], "intensity": {"percentiles": [0, 100]}}
    store = VolumeStore(prepare(tmp_path / "data", tmp_path / "out", settings, shards=1) / "volumes")
    values = np.asarray(store.image(CASE)[0])
    inside = values[values > -1]
    assert np.mean(np.abs(inside) < 0.01) > 0.98, "all but the two marked voxels are halfway"


def test_the_window_moves_to_hold_a_tumour_far_from_the_middle(one_case):
    for side in (-1, 1):
        store, paths = one_case({"size": [16, 32, 14]}, centre=(side * 50, 0, 0))
        labels = voxels(paths["seg"])
        assert (np.asarray(store.levels(CASE)) > 0).sum() == (labels > 0).sum(), "every voxel of it is there"
        cases = read_tsv(store.folder.parent / "cases.tsv")
        assert "of the foreground lies outside the grid" in cases["note"][0]


def test_a_stray_voxel_does_not_move_the_window(one_case, tmp_path):
    plain, paths = one_case({"size": [16, 30, 26]})
    before = np.asarray(plain.meta(CASE)["affine"])
    image = nibabel.load(paths["t1n"])
    data = np.asarray(image.dataobj).copy()
    data[0, 0, 0] = 3
    paths["t1n"].unlink()
    write_nifti(paths["t1n"], data, image.affine)
    after = VolumeStore(prepare(tmp_path / "data", tmp_path / "out", {"size": [16, 30, 26]}) / "volumes")
    np.testing.assert_allclose(after.meta(CASE)["affine"], before)


def test_a_grid_larger_than_the_image_is_padded(one_case):
    store, paths = one_case({"size": [24, 48, 40]})
    levels = np.asarray(store.levels(CASE))
    assert (levels > 0).sum() == (voxels(paths["seg"]) > 0).sum()
    assert (np.asarray(store.image(CASE))[:, :3] == -1).all()


# --- regions ----------------------------------------------------------------------------------------------------------
def test_channels_become_nested_levels_in_numpy_and_torch():
    import torch

    rng = np.random.default_rng(3)
    channels = rng.random((3, 4, 5, 6)).astype(np.float32)
    for count in (1, 2, 3):
        levels = channels_to_levels(channels[:count], REGIONS[:count])
        assert levels.dtype == np.uint8 and levels.max() == count
        back = levels_to_channels(levels, REGIONS[:count])
        np.testing.assert_array_equal(back, np.logical_and.accumulate(channels[:count] > 0.5))
        tensors = channels_to_levels(torch.from_numpy(channels[:count]), REGIONS[:count])
        np.testing.assert_array_equal(tensors.numpy(), levels)
        np.testing.assert_array_equal(levels_to_channels(tensors, REGIONS[:count]).numpy(), back)


# --- shards -----------------------------------------------------------------------------------------------------------
def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("volumes/*"))}


def test_the_number_of_shards_changes_nothing(tmp_path):
    for index in range(5):
        make_case(tmp_path / "data", f"BraTS-GLI-{index:05d}-000", seed=index)
    one, seven = (prepare(tmp_path / "data", tmp_path / str(count), shards=count) for count in (1, 7))
    assert contents(one) == contents(seven) and len(contents(one)) == 15
    assert (one / "cases.tsv").read_bytes() == (seven / "cases.tsv").read_bytes()


def test_a_killed_shard_runs_again_to_the_same_bytes(tmp_path):
    for index in range(6):
        make_case(tmp_path / "data", f"BraTS-GLI-{index:05d}-000", seed=index)
    settings = {"spacing_mm": [2.0, 2.0, 2.0], "size": [72, 96, 96]}
    whole = prepare(tmp_path / "data", tmp_path / "whole", settings, shards=1)
    config = {"dataset": ALL_PARTS, "modalities": MODALITIES, **settings}
    again = tmp_path / "again"
    argv = ["--config", json.dumps(config), "--found", str(whole / "found.tsv"), "--shard", "0", "--shards", "1"]
    argv += ["--volumes", str(again / "volumes"), "--out", str(again / "0.tsv"), "--rejected", str(again / "0.r.tsv")]
    command = [sys.executable, "-m", "workflow_scripts.programs.cohort.preprocess", *argv]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(again.glob("volumes/*.json"))) >= 2, "two cases", process)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed at work"
    assert not (again / "0.tsv").exists()
    preprocess.main(argv)
    written = contents(again)
    assert {name: data for name, data in written.items() if not name.startswith(".writing")} == contents(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard": "3"}, "--shard 3 is not among 0 to 2"),
        ({"config": "{}"}, "dataset is missing"),
        ({"found": "nowhere.tsv"}, "missing table nowhere.tsv"),
    ],
)
def test_wrong_arguments_are_sentences(tmp_path, change, message):
    arguments = {
        "config": json.dumps({"dataset": ALL_PARTS, "modalities": ["t1n"], **GRIDS["coarser"]}),
        "found": str(tmp_path / "found.tsv"),
        **{"shard": "0", "shards": "3", "volumes": str(tmp_path)},
        **{"out": str(tmp_path / "a.tsv"), "rejected": str(tmp_path / "b.tsv")},
        **change,
    }
    with pytest.raises(UserError, match=message):
        preprocess.main([part for key, value in arguments.items() for part in (f"--{key}", value)])


def test_a_found_table_without_a_wanted_modality_is_named(tmp_path):
    make_case(tmp_path / "data", CASE)
    out = prepare(tmp_path / "data", tmp_path / "out", {"modalities": ["t1n", "t2f"]})
    config = {"dataset": ALL_PARTS, "modalities": ["t1n", "t1c"], **GRIDS["coarser"]}
    argv = ["--config", json.dumps(config), "--found", str(out / "found.tsv"), "--shard", "0", "--shards", "1"]
    argv += ["--volumes", str(out), "--out", str(out / "a.tsv"), "--rejected", str(out / "b.tsv")]
    with pytest.raises(UserError, match="no column 't1c_path'"):
        preprocess.main(argv)


def test_a_missing_or_damaged_volume_says_what_to_run(one_case):
    store, _ = one_case()
    with pytest.raises(UserError, match=r"missing volume of case nobody: .*snakemake -R preprocess"):
        store.image("nobody")
    path = store.folder / f"{CASE}.image.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"volume of case {CASE} cannot be read.*snakemake -R preprocess"):
        store.image(CASE)


def test_a_case_that_was_only_half_replaced_does_not_count_as_whole(one_case):
    store, _ = one_case()
    image, meta = np.asarray(store.image(CASE)), store.meta(CASE)
    with pytest.raises(ValueError, match=r"could not convert|invalid literal"):
        store.save(CASE, image, np.array(["no", "numbers"]), meta)
    with pytest.raises(UserError, match=f"missing volume of case {CASE}"):
        store.meta(CASE)
