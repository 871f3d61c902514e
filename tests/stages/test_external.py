"""A folder of somebody else's synthetic cases: read, checked, gated, and never a patient of the cohort in disguise."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from brats import MODALITIES, WRITTEN
from external_system import GRID, OPEN_GATE, judge, read, split, their_cases
from small_cases import in_two, rewrite

from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import read_json, read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case, write_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.study.generators import AUGMENTATION_ONLY


@pytest.fixture(scope="module")
def whole(tmp_path_factory, preprocessed_cohort):
    return split(preprocessed_cohort(tmp_path_factory.mktemp("external") / "run", cases=5))


@pytest.fixture
def cohort(tmp_path, whole):
    return shutil.copytree(whole, tmp_path / "run", symlinks=True)


def test_cases_become_synthetic_cases_of_the_grid_with_their_provenance(cohort, tmp_path):
    found, refused = read(cohort, their_cases(tmp_path / "theirs", 2))
    assert list(found.case_id) == ["theirs_GAN-000", "theirs_GAN-001"] and refused.empty
    folder, rejected = judge(cohort, needed=2)
    made = read_tsv(folder / "cases.tsv")
    assert list(made.number) == [0, 1] and set(made.provenance) == {"external"} and rejected.empty
    assert made.measured_volume_ml.between(1, 2000).all()
    image, levels = read_synthetic_case(folder / made.case_id[0], made.case_id[0], MODALITIES)
    assert image.shape == (len(MODALITIES), *GRID["size"]) and levels.max() == 3
    about = read_json(folder / made.case_id[0] / f"{made.case_id[0]}.json")
    assert (
        about["synthetic"] and about["provenance"] == "external" and about["source_file"].endswith("GAN-000-seg.nii.gz")
    )


def test_what_this_workflow_wrote_keeps_its_intensities_and_its_mark(cohort, tmp_path):
    store, case_id = VolumeStore(cohort / "volumes"), "SliceAug-00000-000"
    own = read_tsv(cohort / "cases.tsv").case_id[0]
    image = np.array(store.image(own), dtype=np.float32)
    image = np.where(image > -1, np.clip(0.3 * image, -0.999, 1), -1.0)  # another spread than the data set's rule gives
    levels, affine = np.array(store.levels(own)), np.array(store.meta(own)["affine"])
    about = {"use": AUGMENTATION_ONLY}
    write_case(tmp_path / "theirs" / case_id, case_id, image, levels, affine, MODALITIES, WRITTEN, about)
    (row,) = read(cohort, tmp_path / "theirs")[0].to_dict("records")
    assert row["use"] == AUGMENTATION_ONLY
    kept, kept_levels = read_synthetic_case(cohort / "external/theirs" / row["case_id"], row["case_id"], MODALITIES)
    np.testing.assert_allclose(kept, image, atol=2e-4)
    np.testing.assert_array_equal(kept_levels, levels)


def test_a_patient_of_the_cohort_and_a_twin_are_refused(cohort, tmp_path):
    theirs = their_cases(tmp_path / "theirs", 1)
    for name, source in (("PATIENT-1", read_tsv(cohort / "cases.tsv").seg_path[4]), ("TWIN-1", theirs / "GAN-000/GAN-000-seg.nii.gz")):  # fmt: skip
        folder = source if hasattr(source, "parent") else cohort.__class__(source)
        own = folder.name.removesuffix("-seg.nii.gz")
        for file in folder.parent.iterdir():
            (theirs / name).mkdir(exist_ok=True)
            shutil.copy(file, theirs / name / file.name.replace(own, name))
    found, refused = read(cohort, theirs)
    assert list(found.case_id) == ["theirs_GAN-000"] and list(refused.case_id) == ["PATIENT-1", "TWIN-1"]
    assert "of the cohort, voxel by voxel" in refused.reason[0] and "those of case GAN-000" in refused.reason[1]


def test_bad_files_are_refused_or_stop_the_run(cohort, tmp_path):
    theirs = their_cases(tmp_path / "theirs", 3)
    rewrite(theirs / "GAN-000/GAN-000-seg.nii.gz", lambda mask: mask * 0)
    (theirs / "GAN-001/GAN-001-t1c.nii.gz").unlink()
    found, refused = read(cohort, theirs)
    assert list(found.case_id) == ["theirs_GAN-002"] and list(refused.case_id) == ["GAN-000", "GAN-001"]
    assert "the mask is empty" in refused.reason[0] and "t1c" in refused.reason[1]
    with pytest.raises(BadCase, match=r"GAN-000|GAN-001"):
        read(cohort, theirs, on_bad_case="fail")
    shutil.rmtree(theirs / "GAN-002")
    with pytest.raises(UserError, match="holds no case that could be used"):
        read(cohort, theirs)


def test_gate_and_copies_refuse_with_reasons_and_too_few_are_a_sentence(cohort, tmp_path):
    theirs = their_cases(tmp_path / "theirs", 2)
    store, own = VolumeStore(cohort / "volumes"), read_tsv(cohort / "cases.tsv").case_id[0]
    image = np.array(store.image(own), dtype=np.float32)
    copy = np.where(
        image > -1, np.clip(0.9 * image, -0.999, 1), -1.0
    )  # no voxel as it was, and the patient all the same
    arrays = copy, np.array(store.levels(own)), np.array(store.meta(own)["affine"])
    write_case(theirs / "COPY-001", "COPY-001", *arrays, MODALITIES, WRITTEN)
    read(cohort, theirs)
    folder, rejected = judge(cohort, needed=2, copies=True)
    assert list(read_tsv(folder / "cases.tsv").case_id) == ["theirs_GAN-000", "theirs_GAN-001"]
    assert list(rejected.case_id) == ["theirs_COPY-001"] and f"a copy of training case {own}" in rejected.reason[0]
    with pytest.raises(
        UserError, match=r"system theirs has 2 cases that pass, but the arms need 3: 1 were refused \(1 x copy"
    ):
        judge(cohort, needed=3, copies=True)
    assert read_tsv(folder / "rejected.failed.tsv").case_id.tolist() == ["theirs_COPY-001"]
    with pytest.raises(UserError, match="tumour too small"):
        judge(cohort, gate={"min_volume_ml": 1e6})


def test_tumours_in_pieces_pass_where_those_of_training_patients_are(cohort, tmp_path):
    theirs = their_cases(tmp_path / "theirs", 2)
    for mask in theirs.glob("*/*-seg.nii.gz"):
        rewrite(mask, in_two)
    read(cohort, theirs)
    gate = {name: value for name, value in OPEN_GATE.items() if name != "min_largest_component_fraction"}
    with pytest.raises(UserError, match=r"2 x tumour in pieces \(min_largest_component_fraction\)"):
        judge(cohort, gate=gate)
    store = VolumeStore(cohort / "volumes")
    for case_id in read_tsv(cohort / "cases.tsv").case_id:
        store.save(case_id, np.array(store.image(case_id)), in_two(store.levels(case_id)), store.meta(case_id))
    split(cohort)
    folder, rejected = judge(cohort, needed=2, gate=gate)
    assert len(read_tsv(folder / "cases.tsv")) == 2 and rejected.empty


def test_a_case_that_no_longer_passes_leaves_no_link(cohort, tmp_path):
    read(cohort, their_cases(tmp_path / "theirs", 2))
    folder, _ = judge(cohort)
    assert (folder / "theirs_GAN-001").is_symlink()
    shutil.rmtree(tmp_path / "theirs/GAN-001")
    read(cohort, tmp_path / "theirs")
    judge(cohort)
    assert [entry.name for entry in folder.iterdir() if entry.is_symlink()] == ["theirs_GAN-000"]
    assert json.dumps(read_tsv(folder / "cases.tsv").case_id.tolist()) == '["theirs_GAN-000"]'
