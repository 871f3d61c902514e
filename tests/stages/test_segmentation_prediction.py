"""Prediction: test cases alone, on the grid they came on, in BraTS-2023 labels."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest
from subsets import subset_options
from tiny_segmentation import SIZE, SPACING_MM, TEST, TRAIN, Study, affine_of, brain_and_tumour, save

from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import write_json
from workflow_scripts.programs.segmentation import predict_segmentation


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("prediction"))
    study.make_plan()
    study.pool_real()
    study.trained = study.train("arm", epochs=4, iterations_per_epoch=20)
    return study


@pytest.fixture
def study(trained, tmp_path):
    """A copy, so that a test may break its files."""
    shutil.copytree(trained.folder, tmp_path / "study")
    copy = Study(tmp_path / "study")
    copy.trained = copy.folder / trained.trained.relative_to(trained.folder)
    return copy


def predicted(study, case_id="c1"):
    """Labels (X, Y, Z) and affine of a prediction."""
    image = nib.load(study.trained / "predictions" / f"{case_id}.nii.gz")
    return np.asarray(image.dataobj), image.affine


def prediction_bytes(arm):
    return [(arm / "predictions" / f"{case_id}.nii.gz").read_bytes() for case_id in TEST]


def mean_place_mm(mask, affine):
    return (affine @ np.append(np.argwhere(mask).mean(axis=0), 1))[:3]


def test_only_test_cases_are_predicted_and_their_masks_never_read(study):
    for case_id in TEST:
        study.volumes.joinpath(f"{case_id}.levels.npy").write_bytes(b"never opened")
    shutil.rmtree(study.pool)
    table = study.predict(study.trained)
    assert table.to_numpy().tolist() == [[case_id, f"predictions/{case_id}.nii.gz"] for case_id in TEST]
    assert {file.name for file in (study.trained / "predictions").iterdir()} == {
        f"{case_id}.nii.gz" for case_id in TEST
    }


def test_labels_are_brats_2023_and_where_the_tumour_is(study):
    study.predict(study.trained)
    _, levels = brain_and_tumour(4)  # c1
    labels = predicted(study)[0].transpose(2, 1, 0)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    brats = np.array([0, 2, 1, 3])[levels]
    for label in (1, 2, 3):
        found, truth = labels == label, brats == label
        assert (found & truth).sum() > 0.5 * max((found & ~truth).sum(), 1)


def test_a_flipped_grid_gives_the_flipped_prediction(study):
    study.predict(study.trained)
    straight, _ = predicted(study)
    flipped = affine_of(SPACING_MM) @ np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS: x and y run the other way
    flipped[:2, 3] = [SPACING_MM * (edge - 1) for edge in SIZE[:0:-1]]
    save(study.volumes, "c1", *brain_and_tumour(4), source={"affine": flipped.tolist(), "shape": list(SIZE[::-1])})
    study.predict(study.trained)
    labels, affine = predicted(study)
    np.testing.assert_allclose(affine, flipped)
    np.testing.assert_array_equal(labels, straight[::-1, ::-1])


def test_a_finer_permuted_grid_keeps_the_tumour_in_place(study):
    study.predict(study.trained)
    coarse, coarse_affine = predicted(study)
    fine_affine = np.array([[0, 0, 1.5, -0.75], [-1.5, 0, 0, 94.5], [0, 1, 0, -1], [0, 0, 0, 1]])  # axes y, z, x
    source = {"affine": fine_affine.tolist(), "shape": [66, 76, 64]}
    save(study.volumes, "c1", *brain_and_tumour(4), source=source)
    study.predict(study.trained)
    fine, affine = predicted(study)
    assert fine.shape == (66, 76, 64)
    np.testing.assert_allclose(affine, fine_affine)
    assert (fine > 0).sum() * 1.5 * 1.5 == pytest.approx((coarse > 0).sum() * SPACING_MM**3, rel=0.1)
    np.testing.assert_allclose(mean_place_mm(fine > 0, affine), mean_place_mm(coarse > 0, coarse_affine), atol=0.5)


def test_predicting_again_gives_the_same_bytes_and_mirroring_others(study):
    study.predict(study.trained)
    before = (study.trained / "predictions" / "c1.nii.gz").read_bytes()
    study.predict(study.trained)
    assert (study.trained / "predictions" / "c1.nii.gz").read_bytes() == before
    study.predict(study.trained, mirroring=True)
    assert (study.trained / "predictions" / "c1.nii.gz").read_bytes() != before


def test_the_seeds_of_an_arm_are_predicted_together_each_with_its_own_network(study):
    other = study.train("other", seed=1, epochs=1, iterations_per_epoch=2)
    alone = []
    for arm in (study.trained, other):
        study.predict(arm)
        alone.append(prediction_bytes(arm))
        shutil.rmtree(arm / "predictions")
    study.predict(study.trained, other)
    together = [prediction_bytes(arm) for arm in (study.trained, other)]
    assert together == alone and together[0] != together[1]
    arguments = ["--arm", *(str(arm / "arm.json") for arm in (study.trained, other)), "--out", str(other / "x.tsv")]
    arguments += ["--plan", str(study.plan), *subset_options(study.folder, "test"), "--config", "{}", "--threads", "1"]
    with pytest.raises(UserError, match="as many files of each"):
        predict_segmentation.main(arguments)


def test_a_test_case_that_was_trained_on_is_refused(study):
    write_json(study.folder / "splits.json", {"test": [TRAIN[0]], "val": [], "train": {"3": TRAIN[1:]}})
    with pytest.raises(UserError, match="test case a1 was in the training"):
        study.predict(study.trained)


def test_weights_that_are_missing_damaged_or_of_another_plan_are_named(study):
    weights = study.trained / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:100])
    with pytest.raises(UserError, match=r"model\.safetensors does not fit the plan, or is damaged"):
        study.predict(study.trained)
    weights.write_bytes(kept)
    study.make_plan(features_per_stage=[4, 8])
    with pytest.raises(UserError, match="does not fit the plan"):
        study.predict(study.trained)
    weights.unlink()
    with pytest.raises(UserError, match=r"missing file .*model\.safetensors"):
        study.predict(study.trained)


def test_a_test_case_with_another_number_of_modalities_is_named(study):
    image, levels = brain_and_tumour(4)
    save(study.volumes, "c1", image[:1], levels)
    with pytest.raises(BadCase, match="case c1: holds the modalities t1c, not t1c, t2f"):
        study.predict(study.trained)
