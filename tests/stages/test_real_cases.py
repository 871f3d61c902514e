"""Real BraTS patients go through the checks and the preprocessing unharmed; a training case of theirs in disguise is caught."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from brats import ALL_PARTS, DATASET, MODALITIES, REGIONS
from planted import DISGUISES, audit, calibrate, plant, volumes_of
from small_cases import prepare

from workflow_scripts.base.files import read_tsv, write_json
from workflow_scripts.cohort.geometry import to_source_grid
from workflow_scripts.cohort.nifti import write_nifti
from workflow_scripts.cohort.regions import levels_to_channels
from workflow_scripts.cohort.volumes import VolumeStore

FINE = {"spacing_mm": [1.0, 1.0, 1.0], "size": [144, 192, 192]}
COARSE = {"spacing_mm": [3.0, 3.0, 3.0], "size": [48, 64, 64]}
WITHOUT_ENHANCEMENT = {f"BraTS2021_{number}" for number in ("01477", "01480", "01483", "01484")}
CASE_2023 = "BraTS-GLI-00000-000"
PLANES = {"planes": ["axial"]}  # of image features, which nothing here asks for


@pytest.fixture(scope="module")
def coarse(real_cases, tmp_path_factory):
    """All real cases of both layouts, found below one root, at 3 mm."""
    return prepare(real_cases, tmp_path_factory.mktemp("coarse"), COARSE)


@pytest.fixture(scope="module")
def fine(real_cases, tmp_path_factory):
    """Three patients at 1 mm: both layouts, one of them without enhancing tumour."""
    root = tmp_path_factory.mktemp("three")
    for case in ("brats2021/BraTS2021_00006", "brats2021/BraTS2021_01480", f"brats2023/{CASE_2023}"):
        (root / "data" / Path(case).name).parent.mkdir(exist_ok=True)
        (root / "data" / Path(case).name).symlink_to(real_cases / case, target_is_directory=True)
    return prepare(root / "data", root / "out", FINE)


def regions_of(row) -> np.ndarray:
    """Channels (R, X, Y, Z) straight from the mask's file, by the layout's published labels."""
    labels = np.asarray(nibabel.load(row.seg_path).dataobj)
    enhancing = 4 if row.layout == "brats2021" else 3
    return np.stack([labels > 0, np.isin(labels, [1, enhancing]), labels == enhancing])


def dice(one, other) -> float:
    return 2 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1)


def test_all_twelve_patients_pass_and_masks_without_images_are_listed(coarse):
    cases = read_tsv(coarse / "cases.tsv").set_index("case_id")
    assert cases["layout"].value_counts().to_dict() == {"brats2021": 11, "brats2023": 1}
    assert cases["content_digest"].is_unique
    rejected = read_tsv(coarse / "rejected.tsv")
    assert len(rejected) == 42 and rejected["file"].str.contains("masks_only").all()
    assert rejected["reason"].str.startswith("missing t1n, t1c, t2w, t2f").all()


def test_volumes_in_the_table_are_anatomically_possible(coarse):
    cases = read_tsv(coarse / "cases.tsv").set_index("case_id")
    assert cases["foreground_ml"].between(1000, 2000).all()
    assert (cases["whole_tumor_ml"] >= cases["tumor_core_ml"]).all()
    assert (cases["tumor_core_ml"] >= cases["enhancing_tumor_ml"]).all()
    assert set(cases.index[cases["enhancing_tumor_ml"] == 0]) == WITHOUT_ENHANCEMENT


def test_volumes_are_centred_brains_upright_in_ras(coarse):
    store = VolumeStore(coarse / "volumes")
    for case_id in read_tsv(coarse / "cases.tsv")["case_id"]:
        image = np.asarray(store.image(case_id)).astype(np.float32)
        brain = (image > -1).any(axis=0)  # (D, H, W)
        assert image.min() == -1 and 0 < image[:, brain].max() <= 1
        low, high = DATASET.intensity.spreads
        assert np.median(image[:, brain], axis=1) == pytest.approx(-1 - 2 * low / (high - low), abs=0.05), (
            "as the window"
        )
        assert np.count_nonzero(brain) * 0.027 == pytest.approx(store.meta(case_id)["foreground_volume_ml"], rel=0.01)
        middle = [np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        for found, size in zip(middle, brain.shape, strict=True):
            assert abs(found.mean() - (size - 1) / 2) < 2.5, "the brain is in the middle of the grid"
        extent = [np.ptp(found) for found in middle]
        assert extent[1] > extent[2], "longer from back to front than from left to right"
        areas = brain.sum(axis=(1, 2))[brain.any(axis=(1, 2))]
        assert areas[:4].mean() < areas[-8:-4].mean(), "narrow at the brain stem, so down is at the start of D"
        flipped = brain[:, :, ::-1]
        assert dice(brain, flipped) > 0.85, "left and right mirror each other"


def test_masks_come_back_voxel_by_voxel_at_1_mm(fine):
    store = VolumeStore(fine / "volumes")
    for row in read_tsv(fine / "cases.tsv").itertuples():
        wanted = regions_of(row)
        back = to_source_grid(
            levels_to_channels(np.asarray(store.levels(row.case_id)), REGIONS), store.meta(row.case_id)
        )
        np.testing.assert_array_equal(back > 0.5, wanted, err_msg=row.case_id)
        assert row.whole_tumor_ml == pytest.approx(wanted[0].sum() / 1000)


def test_images_at_1_mm_are_the_files_own_voxels(fine):
    store = VolumeStore(fine / "volumes")
    for row in read_tsv(fine / "cases.tsv").itertuples():
        meta = store.meta(row.case_id)
        low, high = meta["intensity_window"]["t2f"]
        source = np.asarray(nibabel.load(row.t2f_path).dataobj).astype(np.float64)
        back = to_source_grid((np.asarray(store.image(row.case_id)[3:4]).astype(np.float32) + 1) / 2, meta)[0]
        expected = np.clip((source - low) / (high - low), 0, 1) * (source != 0)
        seen = to_source_grid(np.ones((1, *meta["size"])), meta)[0] > 0
        assert np.abs(back - expected)[seen].max() < 1e-3
        assert np.count_nonzero(source[~seen]) < 1e-4 * np.count_nonzero(source), "the window holds the brain"


def test_masks_come_back_close_from_3_mm(coarse):
    store = VolumeStore(coarse / "volumes")
    scores = {}
    for row in read_tsv(coarse / "cases.tsv").itertuples():
        levels = np.asarray(store.levels(row.case_id))
        back = to_source_grid(levels_to_channels(levels, REGIONS), store.meta(row.case_id)) > 0.5
        scores[row.case_id] = dice(back[0], regions_of(row)[0])
        assert np.count_nonzero(levels) * 0.027 == pytest.approx(row.whole_tumor_ml, rel=0.06)
    assert min(scores.values()) > 0.85, scores


def test_the_same_patient_in_another_orientation_is_the_same_volume(real_cases, fine, tmp_path):
    source = real_cases / "brats2023" / CASE_2023
    for path in source.glob("*.nii.gz"):
        turned = nibabel.load(path).as_reoriented(nibabel.orientations.axcodes2ornt("SAR"))
        write_nifti(tmp_path / "data" / CASE_2023 / path.name, np.asarray(turned.dataobj), turned.affine)
    store = VolumeStore(prepare(tmp_path / "data", tmp_path / "out", FINE) / "volumes")
    before = VolumeStore(fine / "volumes")
    np.testing.assert_array_equal(store.image(CASE_2023), before.image(CASE_2023))
    np.testing.assert_array_equal(store.levels(CASE_2023), before.levels(CASE_2023))
    digests = [read_tsv(path / "cases.tsv").set_index("case_id")["content_digest"] for path in (fine, tmp_path / "out")]
    assert digests[0][CASE_2023] == digests[1][CASE_2023]


def test_a_worker_stays_far_below_two_gigabytes(real_cases, fine, tmp_path):
    """Peak memory of a process that preprocesses two patients at 1 mm."""
    config = {"dataset": ALL_PARTS, "modalities": list(MODALITIES), **FINE}
    argv = ["--config", json.dumps(config), "--found", str(fine / "found.tsv"), "--shard", "0", "--shards", "2"]
    argv += ["--volumes", str(tmp_path), "--out", str(tmp_path / "a.tsv"), "--rejected", str(tmp_path / "b.tsv")]
    program = "import sys; from workflow_scripts.programs.cohort import preprocess; preprocess.main(sys.argv[1:])"
    program += "; print(open('/proc/self/status').read())"
    command = [sys.executable, "-c", program, *argv]
    done = subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    peak_mib = int(re.search(r"VmHWM:\s+(\d+) kB", done.stdout)[1]) / 1024
    assert len(read_tsv(tmp_path / "a.tsv")) == 2
    assert peak_mib < 800


@pytest.fixture(scope="module")
def audited(coarse):
    """Six patients to train, two held out; disguised copies of a training case, then four more patients."""
    ids = list(read_tsv(coarse / "cases.tsv").case_id)
    assert len(ids) == 12
    write_json(coarse / "splits.json", {"seed": 0, "train": {"6": ids[:6]}, "val": ids[6:7], "test": ids[7:8]})
    calibrate(coarse, 6, **PLANES)
    source, meta = ids[4], VolumeStore(coarse / "volumes").meta(ids[4])
    copies = [disguise(*volumes_of(coarse, source)) for disguise in DISGUISES.values()]
    others = [volumes_of(coarse, case_id) for case_id in ids[8:]]
    table, _ = audit(coarse, 6, plant(coarse, "synthetic", copies + others, meta), images=PLANES)
    synthetic = table[table.group == "synthetic"]
    return synthetic.iloc[: len(copies)], source, synthetic.iloc[len(copies) :]


def test_every_disguised_copy_is_caught(audited):
    """By what the training patients alone say."""
    copies, source, _ = audited
    assert copies.gate_refuses.all() and copies.is_copy.all()
    assert len(copies) == len(DISGUISES) and set(copies.nearest_train_id) == {source}


def test_no_other_patient_is_a_copy(audited):
    copies, _, others = audited
    assert len(others) == 4
    assert not others.gate_refuses.any()
    assert others.similarity.max() < copies.similarity.min()
