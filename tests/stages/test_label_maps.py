"""Labels mean what their release says: each collection's cases as they are named and labelled there, and what is not sure stops."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest
from brats import DATASET, MODALITIES
from small_cases import anatomy, lps_affine, make_case, prepare, rewrite

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.layouts import find_cases
from workflow_scripts.cohort.nifti import write_nifti
from workflow_scripts.study.dataset import read_dataset

LEVELS = anatomy(seed=1)[1]
VOXEL_ML = 6 * 6 * 8 / 1000
TRUE_ML = [float(np.count_nonzero(level <= LEVELS)) * VOXEL_ML for level in (1, 2, 3)]


def write(root, case_id: str, names: str, labels: tuple, words: dict, mask: str) -> None:
    """A case of files `names` ({case}, {part}): labels of the levels 1, 2 and 3 (or more, split by planes), a word a modality."""
    images, _ = anatomy(seed=1)
    found = np.array([0, *labels[:3]], np.uint8)[LEVELS]
    for more in labels[3:]:  # half of the core
        found[..., ::2][LEVELS[..., ::2] == 2] = more
    for part, word in words.items():
        write_nifti(root / names.format(case=case_id, part=word), images[part], lps_affine())
    write_nifti(root / names.format(case=case_id, part=mask), found, lps_affine())


OLD = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
NEW = {name: name for name in MODALITIES}
UCSF = {"t1n": "T1", "t1c": "T1c", "t2w": "T2", "t2f": "FLAIR"}
UPENN = UCSF | {"t1c": "T1GD"}
UCSD = UCSF | {"t1n": "T1pre", "t1c": "T1post"}
TCGA = OLD | {"t1c": "t1Gd"}
COLLECTIONS = {
    "BraTS-GLI 2023": ("BraTS-GLI-00001-000", "{case}/{case}-{part}.nii.gz", (2, 1, 3), NEW, "seg"),
    "BraTS-MET with a cavity": ("BraTS-MET-00001-000", "{case}/{case}-{part}.nii.gz", (2, 1, 3), NEW, "seg"),
    "BraTS-PED 2024": ("BraTS-PED-00001-000", "{case}/{case}-{part}.nii.gz", (4, 2, 1, 3), NEW, "seg"),
    "BraTS 2021": ("BraTS2021_00001", "{case}/{case}_{part}.nii.gz", (2, 1, 4), OLD, "seg"),
    "BraTS 2017 in grades": ("Brats17_CBICA_AAB_1", "HGG/{case}/{case}_{part}.nii.gz", (2, 1, 4), OLD, "seg"),
    "UCSF-PDGM": ("UCSF-PDGM-0001", "{case}_nifti/{case}_{part}.nii.gz", (2, 1, 4), UCSF, "tumor_segmentation"),
    "UCSD-PTGBM": ("UCSD-PTGBM-0002_01", "{case}/{case}_{part}.nii.gz", (2, 1, 3), UCSD, "BraTS_tumor_seg"),
    "UPENN-GBM": ("UPENN-GBM-00002_11", "{case}/{case}_{part}.nii.gz", (2, 1, 4), UPENN, "segm"),
    "BraTS-TCGA": ("TCGA-02-0006_1996.08.23", "{case}/{case}_{part}.nii.gz", (2, 1, 4), TCGA, "GlistrBoost_ManuallyCorrected"),
    "MU-Glioma-Post": ("PatientID_0003_Timepoint_1", "p/{case}_{part}.nii.gz", (2, 1, 3), {name: f"brain_{name}" for name in NEW}, "tumorMask"),
    "Kaggle's folders": ("BraTS2021_00002", "{case}/{case}_{part}.nii/00000057_brain_{part}.nii", (2, 1, 4), OLD, "seg"),
}  # fmt: skip


def test_a_resection_cavity_is_a_region_where_it_is_asked_for(tmp_path):
    write(tmp_path / "data", "BraTS-GLI-02405-100", "{case}/{case}-{part}.nii.gz", (2, 1, 3, 4), NEW, "seg")
    config = {"dataset": read_dataset("brats_post").model_dump(mode="json")}
    (case,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out", config) / "cases.tsv").itertuples()
    cavity_ml = np.count_nonzero(LEVELS[..., ::2] == 2) * VOXEL_ML
    assert case.tumor_and_cavity_ml == pytest.approx(TRUE_ML[0]) and case.note == ""
    assert case.whole_tumor_ml == pytest.approx(TRUE_ML[0] - cavity_ml)
    assert case.enhancing_tumor_ml == pytest.approx(TRUE_ML[2])


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_is_read_as_it_is_named_and_labelled(tmp_path, name):
    case_id, names, labels, words, mask = COLLECTIONS[name]
    write(tmp_path / "data", case_id, names, labels, words, mask)
    (row,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out") / "cases.tsv").itertuples()
    assert row.case_id == case_id
    assert [row.whole_tumor_ml, row.tumor_core_ml, row.enhancing_tumor_ml] == pytest.approx(TRUE_ML)


def test_upenn_lies_in_folders_apart(tmp_path):
    write(tmp_path / "data/images", "UPENN-GBM-00002_11", "{case}/{case}_{part}.nii.gz", (2, 1, 4), UPENN, "segm")
    mask = tmp_path / "data/images/UPENN-GBM-00002_11/UPENN-GBM-00002_11_segm.nii.gz"
    (tmp_path / "data/images_segm").mkdir()
    mask.rename(tmp_path / "data/images_segm" / mask.name)
    assert len(read_tsv(prepare(tmp_path / "data", tmp_path / "out") / "cases.tsv")) == 1
    automated = tmp_path / "data/automated_segm" / mask.name.replace("_segm", "_automated_approx_segm")
    automated.parent.mkdir()
    shutil.copy(tmp_path / "data/images_segm" / mask.name, automated)
    out = prepare(tmp_path / "data", tmp_path / "out")
    assert not len(read_tsv(out / "rejected.tsv")), "masks of a program are read where they are asked for"
    (case,) = read_tsv(
        prepare(tmp_path / "data", tmp_path / "out", {"layout": "upenn_automated"}) / "cases.tsv"
    ).itertuples()
    assert case.seg_path == str(automated) and case.patient_id == "UPENN-GBM-00002"


def test_one_contrast_with_one_target_volume(tmp_path):
    own = read_dataset("brats_men_rt")
    write(tmp_path / "data", "BraTS-MEN-RT-0005-1", "{case}/{case}_{part}.nii.gz", (1, 1, 1), {"t1c": "t1c"}, "gtv")
    config = {"dataset": own.model_dump(mode="json"), "modalities": ["t1c"]}
    (case,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out", config) / "cases.tsv").itertuples()
    assert case.target_volume_ml == pytest.approx(TRUE_ML[0]) and case.patient_id == "BraTS-MEN-RT-0005"


@pytest.mark.parametrize(("name", "rule"), [("brats_met", (1, 2)), ("brats_men", (1, 50)), ("brats_ped", (5, 10))])
def test_challenges_of_the_same_files_have_rules_of_their_own(name, rule):
    own = read_dataset(name)
    assert own.layouts == DATASET.layouts and (own.lesions.dilation_voxels, own.lesions.min_volume_mm3) == rule


UNSURE = {
    "old masks under new names": ("BraTS-GLI-00001-000", (2, 1, 4), "brats2023", "brats2021_renamed"),
    "paediatric masks of 2023": ("BraTS-PED-00001-000", (2, 1, 3), "brats2024_ped", "brats2023"),
}


@pytest.mark.parametrize("name", UNSURE)
def test_labels_that_are_not_sure_stop_with_the_line_to_write(tmp_path, name):
    case_id, labels, own, other = UNSURE[name]
    write(tmp_path / "data", case_id, "{case}/{case}-{part}.nii.gz", labels, NEW, "seg")
    with pytest.raises(UserError, match="what labels mean is not sure") as error:
        prepare(tmp_path / "data", tmp_path / "out")
    assert f"layout: {own}\n" in str(error.value) and f"layout: {other}" in str(error.value)
    assert f"{case_id}-seg.nii.gz" in str(error.value)
    (row,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out", {"layout": other}) / "cases.tsv").itertuples()
    assert [row.whole_tumor_ml, row.tumor_core_ml, row.enhancing_tumor_ml] == pytest.approx(TRUE_ML)


def test_a_region_that_is_empty_in_every_case_is_said_once(tmp_path):
    for number in range(3):
        paths = make_case(tmp_path / "data", f"BraTS-GLI-{number:05d}-000", seed=number)
        rewrite(paths["seg"], lambda data: np.where(data == 3, 1, data).astype(np.uint8))
    out = prepare(tmp_path / "data", tmp_path / "out")
    (remark,) = read_tsv(out / "remarks.tsv").note
    assert "enhancing_tumor is empty in each of the 3 cases" in remark and "3 is enhancing_tumor" in remark


@pytest.mark.parametrize("noise", [1e-5, 0.004, -0.004])
def test_labels_that_rounding_moved_are_labels(tmp_path, noise):
    paths = make_case(tmp_path / "data", "BraTS-GLI-00001-000", seed=1)
    rewrite(paths["seg"], lambda data: (data * (1 + noise)).astype(np.float32), dtype=np.float32)
    (row,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out") / "cases.tsv").itertuples()
    assert [row.whole_tumor_ml, row.tumor_core_ml, row.enhancing_tumor_ml] == pytest.approx(TRUE_ML)


# --- images in one folder ---------------------------------------------------------------------------------------------
def nnunet_folder(root, channels: dict, labels: dict, count: int = 2) -> None:
    for number in range(count):
        images, levels = anatomy(seed=number)
        for index, name in enumerate(("t2f", "t1n", "t1c", "t2w")):
            write_nifti(root / f"imagesTr/BRATS_{number:03d}_{index:04d}.nii.gz", images[name], lps_affine())
        write_nifti(root / f"labelsTr/BRATS_{number:03d}.nii.gz", levels.astype(np.uint8), lps_affine())
    content = {"channel_names": channels, "labels": labels, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(content))


CHANNELS = {"0": "FLAIR", "1": "T1", "2": "T1ce", "3": "T2"}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}


def test_a_raw_folder_of_nnunet_is_read(tmp_path):
    nnunet_folder(tmp_path / "data/Dataset137_BraTS", CHANNELS, REGIONS)
    cases = read_tsv(prepare(tmp_path / "data", tmp_path / "out") / "cases.tsv").set_index("case_id")
    assert list(cases.index) == ["BRATS_000", "BRATS_001"] and set(cases.layout) == {"nnunet_raw_format"}
    assert cases.t1c_path["BRATS_001"].endswith("BRATS_001_0002.nii.gz")
    assert cases.whole_tumor_ml["BRATS_001"] == pytest.approx(TRUE_ML[0])


@pytest.mark.parametrize(
    ("channels", "labels"),
    [({"0": "CT"}, REGIONS), (CHANNELS, {"background": 0, "whole": [1, 2, 3], "core": [1, 3], "enhancing": [3]})],
    ids=["another organ", "regions of other labels"],
)
def test_a_foreign_folder_beside_a_cohort_is_left_out_and_said(tmp_path, caplog, channels, labels):
    make_case(tmp_path / "data", "BraTS-GLI-00001-000")
    nnunet_folder(tmp_path / "data/Dataset900_Other", channels, labels)
    found, refused, unused = find_cases(tmp_path / "data", DATASET, MODALITIES)
    assert [case.case_id for case in found] == ["BraTS-GLI-00001-000"] and not refused and len(unused) == 10
    assert "Dataset900_Other is left out" in caplog.text and "dataset.json" in caplog.text
    shutil.rmtree(tmp_path / "data/BraTS-GLI-00001-000")
    with pytest.raises(UserError, match=r"dataset\.json"):
        find_cases(tmp_path / "data", DATASET, MODALITIES)


def test_a_mask_of_another_name_is_named_in_the_row(tmp_path):
    """BraTS20_Training_355 as it was released."""
    make_case(tmp_path / "data", "BraTS20_Training_001", "brats2021")
    mask = make_case(tmp_path / "data", "BraTS20_Training_355", "brats2021", seed=1)["seg"]
    nibabel.save(nibabel.load(mask), mask.with_name("W39_1998.09.19_Segm.nii"))
    mask.unlink()
    rows = read_tsv(prepare(tmp_path / "data", tmp_path / "out") / "rejected.tsv").set_index("case_id")
    assert "beside its files lies W39_1998.09.19_Segm.nii" in rows.reason["BraTS20_Training_355"]
