"""Cases are found by name in every BraTS layout, however deep they lie; a wrong folder is told from an empty one."""

import json
import os
import shutil
from pathlib import Path

import nibabel
import pytest
from brats import DATASET
from small_cases import MODALITIES, prepare

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.layouts import find_cases


def ids(cases):
    return [case.case_id for case in cases]


@pytest.mark.parametrize(
    ("layout", "case_id"),
    [
        ("brats2018", "Brats18_CBICA_AAB_1"),
        ("brats2021", "BraTS2021_00006"),
        ("brats2021", "BraTS20_Training_001"),
        ("brats2023", "BraTS-GLI-00000-000"),
        ("decathlon", "BRATS_001"),
    ],
)
@pytest.mark.parametrize("forced", [True, False], ids=["forced", "detected"])
def test_a_layout_is_recognised(tmp_path, make_case, layout, case_id, forced):
    paths = make_case(tmp_path, case_id, layout)
    (case,), refused, unused = find_cases(tmp_path, DATASET, MODALITIES, layout if forced else "auto")
    assert (case.case_id, case.layout, refused, unused) == (case_id, layout, [], [])
    assert case.paths == paths


def test_layouts_may_lie_side_by_side_and_deep(tmp_path, make_case):
    make_case(tmp_path / "a/b/c", "BraTS2021_00001", "brats2021", seed=1)
    make_case(tmp_path / "new", "BraTS-GLI-00002-000", seed=2)
    make_case(tmp_path / "2018", "Brats18_X_1", "brats2018", seed=3)
    make_case(tmp_path / "Task01_BrainTumour", "BRATS_004", "decathlon", seed=4)
    out = prepare(tmp_path, tmp_path / "out")
    cases = read_tsv(out / "cases.tsv").set_index("case_id")
    kinds = {"BraTS2021_00001": "brats2021", "BraTS-GLI-00002-000": "brats2023", "Brats18_X_1": "brats2018"}
    assert cases["layout"].to_dict() == {**kinds, "BRATS_004": "decathlon"}
    assert (cases["enhancing_tumor_ml"] > 0).all(), "each layout's own labels are read"
    assert cases.loc["BRATS_004", "t2f_channel"] == 0
    assert cases["t2f_channel"].isna().sum() == 3


def test_a_forced_layout_takes_only_its_own_names(tmp_path, make_case):
    make_case(tmp_path, "BraTS2021_00001", "brats2021", seed=1)
    make_case(tmp_path, "BraTS-GLI-00002-000", seed=2)
    found, _, unused = find_cases(tmp_path, DATASET, MODALITIES, "brats2023")
    assert ids(found) == ["BraTS-GLI-00002-000"]
    assert len(unused) == 5, "the other case's files are counted, not forgotten"


def test_the_old_names_count_as_2018_below_grade_folders_only_if_both_are_wanted(tmp_path, make_case):
    make_case(tmp_path, "Brats17_X_1", "brats2018")
    assert find_cases(tmp_path, DATASET, MODALITIES)[0][0].layout == "brats2018"
    assert find_cases(tmp_path / "HGG", DATASET, MODALITIES)[0][0].layout == "brats2018"
    assert find_cases(tmp_path, DATASET, MODALITIES, "brats2021")[0][0].layout == "brats2021"


@pytest.mark.parametrize(
    ("case_id", "patient"),
    [
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000"),
        ("BraTS-GLI-00000-101", "BraTS-GLI-00000"),
        ("BraTS2021_00006", "BraTS2021_00006"),
        ("Brats18_CBICA_AAB_1", "CBICA_AAB"),
        ("BRATS_001", "BRATS_001"),
        ("SliceAug-00012-000", "SliceAug-00012"),
        ("site-001", "site-001"),
    ],
)
def test_the_time_points_of_a_patient_share_an_id(case_id, patient):
    assert DATASET.patient_of(case_id) == patient


def test_only_wanted_modalities_are_asked_for(tmp_path, make_case):
    make_case(tmp_path, "BraTS-GLI-00000-000", modalities=("t2f",))
    found, refused, _ = find_cases(tmp_path, DATASET, ["t2f"])
    assert ids(found) == ["BraTS-GLI-00000-000"] and not refused


def test_uncompressed_files_and_folder_links_are_followed_once(tmp_path, make_case):
    paths = make_case(tmp_path / "store", "BraTS20_Training_001", "brats2021")
    for path in set(paths.values()):
        nibabel.save(nibabel.load(path), path.with_suffix(""))
        path.unlink()
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store/loop").symlink_to(root, target_is_directory=True)
    found, refused, _ = find_cases(root, DATASET, MODALITIES)
    assert ids(found) == ["BraTS20_Training_001"] and not refused
    assert {path.suffix for path in found[0].paths.values()} == {".nii"}


def test_hidden_files_are_no_images(tmp_path, make_case):
    paths = make_case(tmp_path, "BRATS_001", "decathlon")
    shutil.copy(paths["seg"], paths["t1n"].with_name("._BRATS_001.nii.gz"))
    found, refused, unused = find_cases(tmp_path, DATASET, MODALITIES)
    assert ids(found) == ["BRATS_001"] and not refused and not unused


def test_the_decathlon_test_images_are_no_cases_but_counted(tmp_path, make_case):
    paths = make_case(tmp_path, "BRATS_001", "decathlon")
    test_image = tmp_path / "imagesTs/BRATS_900.nii.gz"
    test_image.parent.mkdir()
    shutil.copy(paths["t1n"], test_image)
    found, refused, unused = find_cases(tmp_path, DATASET, MODALITIES)
    assert ids(found) == ["BRATS_001"] and not refused and unused == [test_image]


def test_dataset_json_says_which_channel_is_which(tmp_path, make_case):
    make_case(tmp_path, "BRATS_001", "decathlon")
    names = {"0": "T1w", "1": "FLAIR", "2": "T2w", "3": "t1gd"}
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": names}))
    (case,), _, _ = find_cases(tmp_path, DATASET, MODALITIES)
    assert case.channels == {"t1n": 0, "t2f": 1, "t2w": 2, "t1c": 3}
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": {"0": "CT"}}))
    with pytest.raises(UserError, match=r"dataset\.json does not say which channel is which"):
        find_cases(tmp_path, DATASET, MODALITIES)


def _nothing(root: Path):
    pass


def _file_only(root: Path):
    (root / "readme.txt").write_text("x")


def _unknown_names(root: Path):
    (root / "patient1.nii.gz").write_bytes(b"x")


def _other_layout(root: Path):
    (root / "BraTS2021_00001_seg.nii.gz").write_bytes(b"x")


@pytest.mark.parametrize(
    ("content", "folder", "layout", "message"),
    [
        (_nothing, ".", "auto", "holds no files"),
        (_nothing, "absent", "auto", "does not exist"),
        (_file_only, "readme.txt", "auto", "is a file, not a folder"),
        (_file_only, ".", "auto", "no NIfTI image"),
        (_unknown_names, ".", "auto", r"none named as expected \(for example patient1\.nii\.gz\)"),
        (
            _unknown_names,
            ".",
            "brats1999",
            "layout 'brats1999' is not known: write auto, or one of mu_glioma_post, ucsd_ptgbm",
        ),
        (_other_layout, ".", "brats2023", "look like brats2018 or brats2021: set `layout: auto`"),
    ],
)
def test_a_root_without_cases_is_named(tmp_path, content, folder, layout, message):
    content(tmp_path)
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / folder, tmp_path / "out", {"layout": layout})


def test_a_root_with_only_refused_cases_says_why(tmp_path, make_case):
    make_case(tmp_path, "BraTS-GLI-00000-000")["t2w"].unlink()
    with pytest.raises(UserError, match=r"holds no complete case.*missing t2w"):
        prepare(tmp_path, tmp_path / "out")


def test_a_name_that_is_no_text_is_listed(tmp_path, make_case):
    make_case(tmp_path, "BraTS-GLI-00000-000")
    Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9-t1n.nii.gz")).write_bytes(b"x")
    out = prepare(tmp_path, tmp_path / "out")
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert "not valid UTF-8" in row.reason and "caf\\xe9" in row.file
