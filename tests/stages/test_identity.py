"""One patient under several names: cases that are one patient share a set, and what is only suspected is said by name."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy import ndimage
from small_cases import lps_affine, make_case, prepare, rewrite

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv

OTHERS = {"BraTS-GLI-00090-000": 90, "BraTS-GLI-00091-000": 91}


def cohort(tmp_path, **cases):
    """The cohort of cases {id: seed}, with two patients that nobody takes for another."""
    for case_id, seed in {**OTHERS, **cases}.items():
        make_case(tmp_path / "data", case_id, "brats2021" if "-GLI-" not in case_id else "brats2023", seed=seed)
    return tmp_path / "data"


def patients(out) -> dict[str, str]:
    return read_tsv(out / "cases.tsv").set_index("case_id").patient_id.to_dict()


def remarks(out) -> list[str]:
    return list(read_tsv(out / "remarks.tsv").note)


@pytest.mark.parametrize(
    ("ids", "patient"),
    [
        (("UPENN-GBM-00002_11", "UPENN-GBM-00002_21"), "UPENN-GBM-00002"),
        (("PatientID_0003_Timepoint_1", "PatientID_0003_Timepoint_2"), "PatientID_0003"),
        (("BraTS-GLI-00005-100", "BraTS-GLI-00005-101"), "BraTS-GLI-00005"),
        (("UCSF-PDGM-0181", "UCSF-PDGM-0181_FU001d"), "UCSF-PDGM-0181"),
        (("Brats17_TCIA_135_1", "BraTS19_TCIA02_135_1"), "TCIA_135"),
        (("Brats18_CBICA_AAB_1", "BraTS19_CBICA_AAB_1"), "CBICA_AAB"),
        (("TCGA-02-0006_1996.08.23", "TCGA-02-0006_1997.01.01"), "TCGA-02-0006"),
        (("sub-01_ses-01", "sub-01_ses-02"), "sub-01"),
    ],
)
def test_time_points_of_known_collections_are_one_patient(tmp_path, ids, patient):
    found = patients(prepare(cohort(tmp_path, **dict(zip(ids, (1, 2), strict=True))), tmp_path / "out"))
    assert [found[case_id] for case_id in ids] == [patient] * 2
    assert len(set(found.values())) == 3


def brighter(data):
    return (data * 1.1).astype(np.float32)


def mirrored(data):
    return data[::-1].copy()


def noisy(data):
    noise = np.random.default_rng(0).normal(0, 20, data.shape)
    return np.where(data != 0, np.maximum(data + noise, 1), 0).astype(np.float32)


@pytest.mark.parametrize("change", [brighter, mirrored, noisy], ids=lambda change: change.__name__)
def test_a_patient_of_two_releases_is_found_by_the_mask(tmp_path, caplog, change):
    root = cohort(tmp_path, BraTS2021_00009=5, Other_7=5)
    for path in (root / "Other_7").glob("*.nii.gz"):
        rewrite(path, change if "seg" not in path.name or change is mirrored else lambda data: data)
    with caplog.at_level(logging.WARNING):
        out = prepare(root, tmp_path / "out")
    found = patients(out)
    assert found["BraTS2021_00009"] == found["Other_7"] and len(set(found.values())) == 3
    (remark,) = remarks(out)
    assert (
        "the masks of BraTS2021_00009 and Other_7 are the same, or mirrored: they are taken for one patient" in remark
    )
    assert remark in caplog.text
    notes = read_tsv(out / "cases.tsv").set_index("case_id").note
    assert "Other_7" in notes["BraTS2021_00009"] and "BraTS2021_00009" in notes["Other_7"]


def test_images_that_are_nearly_the_same_are_told_where_the_mask_is_another(tmp_path):
    root = cohort(tmp_path, BraTS2021_00009=5, Scan=5)

    def darker(data):
        return mirrored(20 * np.sqrt(data)).astype(np.float32)

    def smaller(data):
        return mirrored(data * ndimage.binary_erosion(data > 0)).astype(np.uint8)

    for path in (root / "Scan").glob("*.nii.gz"):
        rewrite(path, smaller if "_seg" in path.name else darker)
    out = prepare(root, tmp_path / "out")
    (remark,) = remarks(out)
    assert "the images of BraTS2021_00009 and Scan are nearly the same" in remark
    assert "taken for one patient" in remark or "write it in a table that `patients` names" in remark


@pytest.mark.parametrize(
    "ids", [("P12_1", "P12_2"), ("case7", "case7_copy"), ("A3a", "A3b"), ("0004_scan1", "0004_scan2")], ids=str
)
def test_ids_that_share_a_stem_are_warned_of(tmp_path, ids):
    out = prepare(cohort(tmp_path, **dict(zip(ids, (1, 2), strict=True))), tmp_path / "out")
    (remark,) = remarks(out)
    assert all(case_id in remark for case_id in ids) and "share the stem" in remark
    assert len(set(patients(out).values())) == 4


def test_different_patients_are_not_suspected(tmp_path):
    ids = {f"BraTS2021_{number:05d}": number for number in range(12)}
    out = prepare(cohort(tmp_path, **ids), tmp_path / "out")
    assert remarks(out) == [] and len(set(patients(out).values())) == 14


def test_a_table_decides_who_is_who(tmp_path):
    root = cohort(tmp_path, P12_1=1, P12_2=1, X=3, Y=4)
    rewrite(root / "P12_2/P12_2_t1.nii.gz", brighter)
    rows = [f"{case_id},{case_id}" for case_id in (*OTHERS, "P12_1", "P12_2")] + ["X,anna", "Y,anna"]
    (tmp_path / "who.csv").write_text("\n".join(["case_id,patient_id", *rows]))
    out = prepare(root, tmp_path / "out", {"patients": tmp_path / "who.csv"})
    found = patients(out)
    assert found["X"] == found["Y"] == "anna" and found["P12_1"] != found["P12_2"]
    assert "the table of patients keeps them apart: check it" in remarks(out)[0]
    (tmp_path / "who.csv").write_text("\n".join(["case_id,patient_id", *rows[:-1]]))
    out = prepare(root, tmp_path / "out", {"patients": tmp_path / "who.csv"})
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert row.case_id == "Y" and "the table of patients lacks this case. Add a line: Y,<patient>" in row.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,who\nA,B\n", "has no column case_id, patient_id"),
        ("case_id,patient_id\nA,\n", "line 2: patient_id is empty"),
        ("case_id,patient_id\nA,B\nA,C\n", "case A is of patient B and of C"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_wrong_table_of_patients_is_a_sentence(tmp_path, text, words):
    (tmp_path / "who.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        prepare(cohort(tmp_path), tmp_path / "out", {"patients": tmp_path / "who.csv"})


def test_the_orientation_of_a_copy_hides_nothing(tmp_path):
    root = cohort(tmp_path, BraTS2021_00009=5, Turned=5)
    flipped = lps_affine() @ np.array([[-1, 0, 0, 31], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for path in (root / "Turned").glob("*.nii.gz"):
        rewrite(path, mirrored if "seg" in path.name else lambda data: brighter(mirrored(data)), affine=flipped)
    assert len(set(patients(prepare(root, tmp_path / "out")).values())) == 3


@pytest.mark.parametrize("ids", [("A", "A_seg"), ("Case", "case")], ids=str)
def test_ids_whose_files_would_collide_are_told_apart_or_refused(tmp_path, ids):
    out = prepare(cohort(tmp_path, **dict(zip(ids, (1, 2), strict=True))), tmp_path / "out")
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert row.case_id in ids and "the case id cannot be told from" in row.reason
    assert len(read_tsv(out / "cases.tsv")) == 3
