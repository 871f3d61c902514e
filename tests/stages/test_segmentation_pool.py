"""The pool of preprocessed cases: nnU-Net's own files, once for each real and synthetic case."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from brats import WRITTEN
from tiny_segmentation import SPACING_MM, TEST, TRAIN, VAL, Study, affine_of, brain_and_tumour

from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import write_json, write_tsv
from workflow_scripts.cohort.nifti import write_case
from workflow_scripts.segmentation.nnunet.library import POOL_SUFFIXES
from workflow_scripts.segmentation.nnunet.pool import PooledCases


@pytest.fixture
def study(tmp_path):
    study = Study(tmp_path)
    study.make_plan()
    return study


def read(study, pool_id):
    data, seg, _, properties = PooledCases(str(study.pool), [pool_id], [(1, 2, 3), (2, 3), 3]).load_case(pool_id)
    return data[:], seg[:], properties


def test_pool_holds_training_and_validation_cases_and_nothing_else(study):
    study.volumes.joinpath(f"{TEST[0]}.image.npy").write_bytes(b"never opened")
    table = study.pool_real()
    assert dict(zip(table["case_id"], table["split"], strict=True)) == {**dict.fromkeys(TRAIN, "train"), VAL[0]: "val"}
    wanted = {f"{case_id}{suffix}" for case_id in [*TRAIN, *VAL] for suffix in POOL_SUFFIXES}
    assert {file.name for file in study.pool.iterdir()} == wanted


def test_pooled_case_is_the_brain_normalised_with_its_levels(study):
    study.pool_real()
    image, levels = brain_and_tumour(0)
    brain = (image > -1).any(axis=0)
    box = tuple(slice(where.min(), where.max() + 1) for where in np.nonzero(brain))
    data, seg, properties = read(study, "a1")
    assert data.shape[1:] == seg.shape[1:] == levels[box].shape
    inside = seg[0] >= 0
    np.testing.assert_array_equal(inside, brain[box])
    np.testing.assert_array_equal(np.where(inside, seg[0], 0), levels[box])
    assert (data[:, ~inside] == 0).all()
    np.testing.assert_allclose(data[:, inside].mean(axis=1), 0, atol=1e-3)
    np.testing.assert_allclose(data[:, inside].std(axis=1), 1, atol=1e-3)
    for labels, places in properties["class_locations"].items():
        assert len(places) > 0 and np.isin(seg[tuple(places.T)], labels).all()
    assert not list(study.pool.glob("*.pkl")), "nothing in the pool is unpickled"


def test_levels_that_no_region_tells_apart_become_one(study):
    study.make_plan(regions=["whole_tumor"])
    study.pool_real()
    assert read(study, "a1")[1].max() == 1


def test_filling_the_pool_again_gives_the_same_bytes(study):
    study.pool_real()
    before = {file.name: file.read_bytes() for file in study.pool.iterdir()}
    study.pool_real()
    assert {file.name: file.read_bytes() for file in study.pool.iterdir()} == before


def test_a_synthetic_case_is_pooled_as_the_same_volume_would_be_if_it_were_real(study):
    study.pool_real()
    write_case(study.synthetic / "S-0", "S-0", *brain_and_tumour(0), affine_of(SPACING_MM), ["t1c", "t2f"], WRITTEN)
    table = study.synthetic / "blocks" / "0.tsv"
    write_tsv(table, pd.DataFrame({"case_id": ["S-0"], "number": [0]}))
    pooled = pd.read_csv(study.pool_synthetic(table, "other"), sep="\t")
    assert pooled[["case_id", "synthetic_case_id", "number"]].to_numpy().tolist() == [["other_S-0", "S-0", 0]]
    (real, real_seg, _), (made, made_seg, _) = read(study, "a1"), read(study, "other_S-0")
    np.testing.assert_array_equal(made_seg, real_seg)
    np.testing.assert_allclose(made, real, atol=0.01)  # int16 in the file, float16 in the volume store


def test_broken_synthetic_cases_are_named(study):
    table = study.synthesize(0, 2)
    first = study.synthetic / "SliceAug-00000-000"
    (first / "SliceAug-00000-000-t2f.nii.gz").unlink()
    with pytest.raises(UserError, match=r"SliceAug-00000-000-t2f\.nii\.gz"):
        study.pool_synthetic(table)
    image, levels = brain_and_tumour(1)
    write_case(first, first.name, np.full_like(image, -1), levels, affine_of(SPACING_MM), ["t1c", "t2f"], WRITTEN)
    with pytest.raises(BadCase, match="SliceAug-00000-000: the image is background alone"):
        study.pool_synthetic(table)
    write_tsv(table, pd.DataFrame({"case_id": ["SliceAug-00000-000"]}))
    with pytest.raises(UserError, match="no column number"):
        study.pool_synthetic(table)


def test_a_case_in_two_splits_is_refused(study):
    write_json(study.folder / "splits.json", {"test": TEST, "val": ["a1"], "train": {"3": TRAIN}})
    with pytest.raises(UserError, match=r"patient a1 is in both .*train.* and .*val"):
        study.pool_real()


def test_a_pool_without_a_plan_says_which_stage_is_missing(study):
    study.plan.unlink()
    with pytest.raises(UserError, match=r"missing file .*plan\.json"):
        study.pool_real()
