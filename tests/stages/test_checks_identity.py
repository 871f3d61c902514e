"""Cases that are told apart by id, content and permission; and files that are odd but sound, which pass."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from brats import WRITTEN
from small_cases import lps_affine, prepare, rewrite

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.nifti import write_case

BAD, GOOD = "BraTS-GLI-00001-000", "BraTS-GLI-00000-000"


# --- one id or one patient twice --------------------------------------------------------------------------------------
@pytest.mark.parametrize("second", ["brats2023", "decathlon"])
def test_an_id_that_is_there_twice_is_refused_with_both_files(tmp_path, make_case, second):
    make_case(tmp_path / "data", GOOD)
    one = make_case(tmp_path / "data/one", BAD, seed=1)
    other = make_case(tmp_path / "data/other", BAD, second, seed=2)
    out = prepare(tmp_path / "data", tmp_path / "out")
    assert list(read_tsv(out / "cases.tsv")["case_id"]) == [GOOD]
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert row.case_id == BAD and "the case id is there more than once" in row.reason
    assert str(one["t1n"].parent) in row.file and str(other["t1n"].parent) in row.file


def test_the_same_images_under_two_ids_are_kept_once(tmp_path, make_case):
    """Whatever the layout, data type and orientation of the copy."""
    make_case(tmp_path / "data", "BraTS2021_00009", "brats2021", seed=3)
    make_case(tmp_path / "data", "BraTS-GLI-00007-000", seed=4)
    paths = make_case(tmp_path / "data", "BraTS-GLI-00009-000", seed=3)
    flipped = lps_affine() @ np.array([[-1, 0, 0, 31], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for path in paths.values():
        rewrite(path, lambda data: data[::-1], affine=flipped, dtype=np.float32)
    out = prepare(tmp_path / "data", tmp_path / "out")
    assert list(read_tsv(out / "cases.tsv")["case_id"]) == ["BraTS-GLI-00007-000", "BraTS-GLI-00009-000"]
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert row.case_id == "BraTS2021_00009"
    assert "its images are those of case BraTS-GLI-00009-000" in row.reason


def test_time_points_of_a_patient_are_two_cases(tmp_path, make_case):
    for point in (0, 1):
        make_case(tmp_path / "data", f"BraTS-GLI-00005-{point:03d}", seed=point)
    cases = read_tsv(prepare(tmp_path / "data", tmp_path / "out") / "cases.tsv")
    assert list(cases["patient_id"]) == ["BraTS-GLI-00005"] * 2


# --- what is odd but sound --------------------------------------------------------------------------------------------
def test_a_resection_cavity_is_kept_out_of_the_tumour_and_said(tmp_path, make_case):
    paths = make_case(tmp_path / "data", GOOD)

    def cavity(data):
        data[data == 1] = 4
        return data

    count = int((np.asarray(nibabel.load(paths["seg"]).dataobj) == 1).sum())
    rewrite(paths["seg"], cavity)
    (row,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out") / "cases.tsv").itertuples()
    assert row.note == f"label 4 (resection cavity) is kept out of the tumour: {count} voxels"
    assert row.tumor_core_ml == row.enhancing_tumor_ml > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.astype(np.float32),
        lambda data: data.astype(np.float64),
        lambda data: data.astype(">i2"),
        lambda data: data[..., None],
    ],
    ids=["float32", "float64", "big endian", "a fourth axis of length 1"],
)
def test_the_way_numbers_are_stored_does_not_matter(tmp_path, make_case, change):
    make_case(tmp_path / "plain", GOOD)
    for path in make_case(tmp_path / "changed", GOOD).values():
        rewrite(path, change)
    plain, changed = (prepare(tmp_path / name, tmp_path / f"{name}_out") for name in ("plain", "changed"))
    for name in (f"{GOOD}.image.npy", f"{GOOD}.levels.npy", f"{GOOD}.json"):
        assert (plain / "volumes" / name).read_bytes() == (changed / "volumes" / name).read_bytes()
    digests = [read_tsv(out / "cases.tsv")["content_digest"][0] for out in (plain, changed)]
    assert digests[0] == digests[1]


def test_a_header_with_scaling_is_applied(tmp_path, make_case):
    """A quarter of each value, stored as whole numbers and a slope, is the same image with a quarter of the window."""
    make_case(tmp_path / "plain", GOOD)
    path = make_case(tmp_path / "scaled", GOOD)["t1n"]
    image = nibabel.load(path)
    quarter = nibabel.Nifti1Image(np.asarray(image.dataobj).astype(np.float32) / 4, image.affine)
    quarter.header.set_data_dtype(np.int16)
    path.unlink()
    nibabel.save(quarter, path)
    assert nibabel.load(path).dataobj.slope < 0.1
    plain, scaled = (prepare(tmp_path / name, tmp_path / f"{name}_out") / "volumes" for name in ("plain", "scaled"))
    windows = [
        np.array(json.loads((out / f"{GOOD}.json").read_text())["intensity_window"]["t1n"]) for out in (plain, scaled)
    ]
    np.testing.assert_allclose(windows[1], windows[0] / 4, atol=0.02)
    np.testing.assert_allclose(*(np.load(out / f"{GOOD}.image.npy")[0] for out in (plain, scaled)), atol=1e-3)


def test_a_half_empty_modality_is_noted(tmp_path, make_case):
    paths = make_case(tmp_path / "data", GOOD)
    rewrite(paths["t2f"], lambda data: np.where(np.indices(data.shape)[2] > 7, data, 0).astype(np.int16))
    (row,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out") / "cases.tsv").itertuples()
    assert "t2f is zero in 50% of the foreground" in row.note


def test_spaces_quotes_and_other_scripts_in_paths(tmp_path, make_case):
    root = tmp_path / "Kohorte \"Süd\" 'α' 腫瘍 $HOME"
    make_case(root / "a b", "Fall 1 für 研究", "brats2021")
    out = prepare(root, tmp_path / "aus gabe/é")
    (row,) = read_tsv(out / "cases.tsv").itertuples()
    assert row.case_id == "Fall 1 für 研究" and Path(row.seg_path).is_file()
    assert (out / "volumes/Fall 1 für 研究.image.npy").is_file()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda data: data[..., 0], "shape 32x32x16, where 4D with 4 channels belongs. Set `layout`"),
        (lambda data: data[..., :2], "shape 32x32x16x2, where 4D with 4 channels belongs"),
    ],
)
def test_a_decathlon_image_needs_its_four_channels(tmp_path, make_case, break_it, message):
    make_case(tmp_path, "BRATS_001", "decathlon")
    rewrite(make_case(tmp_path, "BRATS_002", "decathlon", seed=1)["t1n"], break_it)
    out = prepare(tmp_path, tmp_path / "out")
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert row.case_id == "BRATS_002" and message in row.reason


def test_labels_of_another_year_are_told(tmp_path, make_case):
    make_case(tmp_path, "BraTS2021_00001", "brats2021")
    paths = make_case(tmp_path, "BraTS2021_00002", "brats2021", seed=1)
    rewrite(paths["seg"], lambda data: np.where(data == 4, 3, data).astype(np.uint8))
    (row,) = read_tsv(prepare(tmp_path, tmp_path / "out") / "rejected.tsv").itertuples()
    assert "unknown label 3 in the mask; brats2021 has 1, 2, 4" in row.reason


# --- permissions ------------------------------------------------------------------------------------------------------
@pytest.fixture
def open_folder():
    """A folder that everybody may use: pytest's own are closed to all but the one who runs it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(folder)


@contextlib.contextmanager
def not_root():
    """Permissions do not bind root, so tests that run as root become another user for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("part", "message"),
    [("t1c", "no permission to read the file. Give yourself read permission"), ("", "the folder cannot be read (Permission denied)")],
    ids=["file", "folder"],
)  # fmt: skip
def test_an_unreadable_file_or_folder_is_named(open_folder, make_case, part, message):
    make_case(open_folder / "data", GOOD)
    bad = make_case(open_folder / "data", BAD, seed=1)["t1c"]
    shut = bad if part else bad.parent
    shut.chmod(0)
    with not_root():
        out = prepare(open_folder / "data", open_folder / "out")
    assert list(read_tsv(out / "cases.tsv")["case_id"]) == [GOOD]
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert (row.case_id, row.file) == (BAD, str(shut)) and message in row.reason


def test_an_unreadable_root_is_named(open_folder, make_case):
    make_case(open_folder / "data", GOOD)
    (open_folder / "data").chmod(0)
    with not_root(), pytest.raises(UserError, match=r"data cannot be read \(Permission denied\)"):
        prepare(open_folder / "data", open_folder / "out")


def test_a_synthetic_case_is_not_taken_for_a_patient(tmp_path, make_case):
    """The output of `synthesize` has the layout of BraTS 2023: put under data_root it would contaminate the study."""
    make_case(tmp_path / "data", GOOD)
    image = np.full((1, 16, 32, 32), -1, np.float32)
    image[0, 4:12, 8:24, 8:24] = np.random.default_rng(0).random((8, 16, 16))
    levels = np.zeros((16, 32, 32), np.uint8)
    levels[6:9, 10:14, 10:14] = 1
    names = ["t1n", "t1c", "t2w", "t2f"]
    write_case(tmp_path / "data" / BAD, BAD, np.repeat(image, 4, axis=0), levels, lps_affine(), names, WRITTEN)
    out = prepare(tmp_path / "data", tmp_path / "out")
    assert list(read_tsv(out / "cases.tsv")["case_id"]) == [GOOD]
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert row.case_id == BAD and "made by a generator" in row.reason and "Keep synthetic cases out" in row.reason


@pytest.mark.parametrize("pair", [("t1n", "t2f"), ("t2w", "t2f"), ("t1n", "t1c")], ids="-".join)
def test_two_channels_that_were_swapped_in_one_case_are_said(tmp_path, make_case, pair):
    """By the cohort's own contrast; the case is kept, as it may be right."""
    for number in range(8):
        paths = make_case(tmp_path / "data", f"BraTS-GLI-{number:05d}-000", seed=number)
    one, other = (paths[name] for name in pair)
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    out = prepare(tmp_path / "data", tmp_path / "out")
    (remark,) = read_tsv(out / "remarks.tsv").note
    assert remark.startswith(f"BraTS-GLI-00007-000: {' and '.join(sorted(pair, key=list(paths).index))} look swapped")
    notes = read_tsv(out / "cases.tsv").set_index("case_id").note
    assert (
        notes["BraTS-GLI-00007-000"] in remark and not notes.drop("BraTS-GLI-00007-000").str.contains("swapped").any()
    )
