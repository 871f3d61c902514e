"""Masks of new patients by a trained arm: those that the study itself would have predicted, without anybody's mask."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from brats import ALL_PARTS
from tiny_segmentation import MODALITIES, SIZE, SPACING_MM, TRAIN, Study, brain_and_tumour

from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import read_tsv, write_json, write_tsv
from workflow_scripts.cohort.checks import load_case
from workflow_scripts.cohort.layouts import find_cases
from workflow_scripts.cohort.nifti import write_nifti
from workflow_scripts.cohort.preprocess import preprocess_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.operations.study_file import write_settings
from workflow_scripts.programs.segmentation import predict_patients
from workflow_scripts.study.dataset import parse_dataset

PATIENTS = ["BraTS-GLI-00001-000", "BraTS-GLI-00002-000"]
DATASET = parse_dataset(ALL_PARTS | {"bounds": {}})  # these brains are small
SETTINGS = {
    "data_set": DATASET.model_dump(mode="json"),
    "modalities": MODALITIES,
    "layout": "auto",
    "on_bad_case": "reject",
}
SETTINGS |= {"preprocessing": {"spacing_mm": [SPACING_MM] * 3, "size": list(SIZE), "shards": 1}}
SETTINGS |= {"segmentation": {"mirroring": True, "precision": "32"}}  # the training was told not to mirror
LPS = np.array([[-SPACING_MM, 0, 0, 90], [0, -SPACING_MM, 0, 80], [0, 0, SPACING_MM, -5], [0, 0, 0, 1]])


def write_patient(root: Path, case_id: str, number: int) -> Path:
    """Raw images of a patient as a scanner stores them, and a mask of labels; the folder."""
    image, levels = brain_and_tumour(number)
    folder = root / case_id
    for name, channel in zip(MODALITIES, image, strict=True):
        raw = np.rint((channel + 1) * 500).astype(np.int16).transpose(2, 1, 0)
        write_nifti(folder / f"{case_id}-{name}.nii.gz", raw[::-1, ::-1], LPS)
    labels = np.array([0, 2, 1, 3], np.uint8)[levels].transpose(2, 1, 0)
    write_nifti(folder / f"{case_id}-seg.nii.gz", labels[::-1, ::-1], LPS)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A trained arm within its study, whose test cases are the patients of `raw`, read with their masks."""
    study = Study(tmp_path_factory.mktemp("study"))
    study.make_plan()
    study.pool_real()
    study.trained = study.train("arm", epochs=4, iterations_per_epoch=20)
    write_settings(study.folder, SETTINGS)
    study.raw = study.folder / "raw"
    for number, case_id in enumerate(PATIENTS, 40):
        write_patient(study.raw, case_id, number)
    found, _, _ = find_cases(study.raw, DATASET, MODALITIES)
    grid = SETTINGS["preprocessing"]
    for files in found:
        case = load_case(files, DATASET, MODALITIES)
        VolumeStore(study.volumes).save(
            files.case_id, *preprocess_case(case, DATASET, grid["spacing_mm"], grid["size"])
        )
    write_tsv(study.folder / "cases.tsv", pd.DataFrame({"case_id": [*TRAIN, *PATIENTS]}))
    write_json(study.folder / "splits.json", {"test": PATIENTS, "val": [], "train": {"3": TRAIN}})
    study.predict(study.trained, **SETTINGS["segmentation"])
    return study


def predict(arm: Path, cases: Path, out: Path, *more: str) -> list[dict]:
    predict_patients.main(["--arm", str(arm), "--cases", str(cases), "--out", str(out), "--threads", "1", *more])
    return read_tsv(out / "predictions.tsv").to_dict("records")


def test_the_masks_are_those_of_the_study_and_nobodys_mask_is_read(study, tmp_path):
    shutil.copytree(study.raw, tmp_path / "new")
    (tmp_path / "new" / PATIENTS[0] / f"{PATIENTS[0]}-seg.nii.gz").unlink()
    (tmp_path / "new" / PATIENTS[1] / f"{PATIENTS[1]}-seg.nii.gz").write_bytes(b"never opened")
    rows = predict(study.trained, tmp_path / "new", tmp_path / "out")
    assert [row["case_id"] for row in rows] == PATIENTS and [row["note"] for row in rows] == ["", ""]
    for row in rows:
        made = tmp_path / "out" / row["file"]
        assert made.read_bytes() == (study.trained / "predictions" / f"{row['case_id']}.nii.gz").read_bytes()
        labels = np.asarray(nib.load(made).dataobj)
        np.testing.assert_allclose(nib.load(made).affine, LPS)
        assert row["whole_tumor_ml"] == pytest.approx((labels > 0).sum() * SPACING_MM**3 / 1000) and labels.any()
        assert row["enhancing_tumor_ml"] == pytest.approx((labels == 3).sum() * SPACING_MM**3 / 1000)
    assert read_tsv(tmp_path / "out/rejected.tsv").empty


def test_a_table_names_patients_without_masks(study, tmp_path):
    files = ",".join(str(study.raw / PATIENTS[0] / f"{PATIENTS[0]}-{name}.nii.gz") for name in MODALITIES)
    (tmp_path / "new.csv").write_text(f"case_id,patient_id,{','.join(MODALITIES)}\nfirst,someone,{files}\n")
    (row,) = predict(study.trained, tmp_path / "new.csv", tmp_path / "out")
    own = study.trained / "predictions" / f"{PATIENTS[0]}.nii.gz"
    assert row["patient_id"] == "someone" and (tmp_path / "out/first.nii.gz").read_bytes() == own.read_bytes()


def test_test_images_of_an_nnunet_folder_are_read(study, tmp_path):
    (tmp_path / "imagesTs").mkdir()
    for place, name in enumerate(MODALITIES):
        source = study.raw / PATIENTS[0] / f"{PATIENTS[0]}-{name}.nii.gz"
        shutil.copy(source, tmp_path / "imagesTs" / f"case_7_{place:04d}.nii.gz")
    channels = {"channel_names": {"0": "T1Gd", "1": "FLAIR"}}
    write_json(tmp_path / "dataset.json", channels)
    (row,) = predict(study.trained, tmp_path, tmp_path / "out")
    assert row["case_id"] == "case_7" and row["whole_tumor_ml"] > 0


def test_a_patient_that_cannot_be_read_is_named_and_the_others_are_segmented(study, tmp_path):
    shutil.copytree(study.raw, tmp_path / "new")
    broken = tmp_path / "new" / PATIENTS[0] / f"{PATIENTS[0]}-t1c.nii.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    (tmp_path / "new" / "BraTS-GLI-00003-000").mkdir()
    shutil.copy(
        study.raw / PATIENTS[1] / f"{PATIENTS[1]}-t1c.nii.gz",
        tmp_path / "new/BraTS-GLI-00003-000/BraTS-GLI-00003-000-t1c.nii.gz",
    )
    assert [row["case_id"] for row in predict(study.trained, tmp_path / "new", tmp_path / "out")] == PATIENTS[1:]
    refused = read_tsv(tmp_path / "out/rejected.tsv").set_index("case_id")
    assert refused.file[PATIENTS[0]] == str(broken) and refused.kind[PATIENTS[0]] == "unreadable"
    assert refused.reason["BraTS-GLI-00003-000"].startswith("missing t2f")
    with pytest.raises(BadCase, match="BraTS-GLI-00003-000: missing t2f"):
        predict(study.trained, tmp_path / "new", tmp_path / "out", "--config", '{"on_bad_case": "fail"}')
    shutil.rmtree(tmp_path / "new" / PATIENTS[1])
    with pytest.raises(UserError, match=r"holds no patient that could be read\. The first of 2 refused: case BraTS"):
        predict(study.trained, tmp_path / "new", tmp_path / "out")


def test_a_case_that_the_arm_was_trained_on_is_noted(study, tmp_path, caplog):
    write_patient(tmp_path / "new", TRAIN[0], 0)
    files = ",".join(str(tmp_path / "new" / TRAIN[0] / f"{TRAIN[0]}-{name}.nii.gz") for name in MODALITIES)
    (tmp_path / "new.csv").write_text(f"case_id,patient_id,{','.join(MODALITIES)}\n{TRAIN[0]},someone,{files}\n")
    (row,) = predict(study.trained, tmp_path / "new.csv", tmp_path / "out")
    assert "this arm was trained" in row["note"] and "case a1: this arm was trained" in caplog.text


def test_an_arm_is_carried_with_the_files_that_it_needs(study, tmp_path):
    arm = tmp_path / "arm"
    shutil.copytree(study.trained, arm, ignore=shutil.ignore_patterns("predictions*"))
    for file, name in ((study.plan, "plan.json"), (study.folder / "study.json", "study.json")):
        with pytest.raises(
            UserError, match=rf"{name} is not in it: give the arm's folder within results/<run>, or copy"
        ):
            predict(arm, study.raw, tmp_path / "out")
        shutil.copy(file, arm)
    assert len(predict(arm, study.raw, tmp_path / "out")) == 2
    with pytest.raises(UserError, match=r"holds no trained arm: arm\.json is not in it"):
        predict(tmp_path, study.raw, tmp_path / "out")
    with pytest.raises(UserError, match="unknown key 'mirror'"):
        predict(arm, study.raw, tmp_path / "out", "--config", '{"mirror": true}')
