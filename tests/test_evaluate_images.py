"""The Fréchet distance program: its floor, the same n on both sides, and what it refuses."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_json, write_tsv
from workflow_scripts.cohort.nifti import write_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.evaluate_images import main


def write_synthetic(cohort, name, case_ids, change=lambda image: image):
    """`case_ids` of the cohort as synthetic cases, their images changed; the table's path."""
    store, rows = VolumeStore(cohort / "volumes"), []
    for number, source in enumerate(case_ids):
        case_id, meta = f"SliceAug-{number:05d}-000", store.meta(source)
        image = np.array(store.image(source), dtype=np.float32)
        changed = np.where(image > -1, np.clip(change(image), -0.999, 1), -1)
        levels = np.array(store.levels(source))
        folder = cohort / name / case_id
        write_case(folder, case_id, changed, levels, np.array(meta["affine"]), meta["modalities"])
        rows.append({"case_id": case_id, "number": number, "attempts": 1})
    write_tsv(cohort / name / "blocks/0.tsv", pd.DataFrame(rows[::-1]))
    return cohort / name


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, preprocessed_cohort):
    """Six small cases: two to train, one to validate, one to test, two that no set holds."""
    folder = preprocessed_cohort(tmp_path_factory.mktemp("fid"), cases=6)
    ids = list(read_tsv(folder / "cases.tsv").case_id)
    write_json(folder / "splits.json", {"seed": 0, "test": ids[:1], "val": ids[1:2], "train": {"2": ids[2:4]}})
    write_synthetic(folder, "copies", ids[2:4])
    write_synthetic(folder, "blurred", ids[4:], lambda image: ndimage.gaussian_filter(image, (0, 2, 2, 2)))
    return folder


def evaluate(cohort, out, name, n_real=2, **config):
    main(
        [
            *("--cases", str(cohort / "cases.tsv"), "--splits", str(cohort / "splits.json")),
            *("--volumes", str(cohort / "volumes"), "--synthetic", str(cohort / name)),
            *("--tables", str(cohort / name / "blocks/0.tsv"), "--n-real", str(n_real), "--system", "slice_ldm"),
            *("--out", str(out), "--threads", "1", "--config", json.dumps(config)),
        ]
    )
    return read_tsv(out).set_index(["plane", "comparison"])


def test_copies_of_the_training_cases_reach_the_floor_and_blurred_cases_do_not(cohort, tmp_path):
    copies = evaluate(cohort, tmp_path / "copies.tsv", "copies", planes=["axial"])
    assert copies.fid["axial", "synthetic"] == pytest.approx(copies.fid["axial", "floor"], rel=0.01)
    blurred = evaluate(cohort, tmp_path / "blurred.tsv", "blurred", planes=["axial"])
    assert blurred.fid["axial", "floor"] == pytest.approx(copies.fid["axial", "floor"], rel=0.05)
    assert blurred.fid["axial", "synthetic"] > 1.3 * blurred.fid["axial", "floor"]


def test_every_plane_and_all_joint_say_their_n(cohort, tmp_path):
    table = evaluate(cohort, tmp_path / "fid.tsv", "blurred", planes=["axial", "coronal"], min_brain_fraction=0.2)
    assert list(table.index.unique("plane")) == ["axial", "coronal", "joint"]
    assert set(table.n_cases) == {2}
    assert (table.n_slices.xs("synthetic", level=1) == table.n_slices.xs("floor", level=1)).all()
    assert table.n_slices["joint", "floor"] == table.n_slices["axial", "floor"] + table.n_slices["coronal", "floor"]
    assert (table.n_images == 4 * table.n_slices).all()
    assert set(table.feature_dimension) == {1280}
    assert set(table.slice_size) == {64}
    assert set(table.feature_network) == {"EfficientNet-Lite0 (ImageNet)"}
    assert all(len(digest) == 64 for digest in table.weights_sha256)
    assert (table.fid > 0).all()


def test_the_same_bytes_again_whatever_the_batch_size(cohort, tmp_path):
    settings = {"planes": ["axial"], "min_brain_fraction": 0.3}
    first = evaluate(cohort, tmp_path / "a.tsv", "blurred", **settings)
    evaluate(cohort, tmp_path / "b.tsv", "blurred", **settings)
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    other = evaluate(cohort, tmp_path / "c.tsv", "blurred", **settings, batch_size=3)
    np.testing.assert_allclose(other.fid, first.fid, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"planes": ["oblique"]}, "planes must be some of axial, coronal, sagittal"),
        ({"min_brain_fraction": 0.99}, "0 axial slices with enough brain"),
        ({"n_real": 7}, "no train subset of 7 patients"),
        ({"weights": "nowhere.pth"}, "no weights file nowhere.pth"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(cohort, tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        evaluate(cohort, tmp_path / "fid.tsv", "copies", **{"planes": ["axial"], **change})
    assert not (tmp_path / "fid.tsv").exists()


def test_no_case_or_a_case_of_another_grid_is_refused(cohort, tmp_path):
    write_tsv(cohort / "none/blocks/0.tsv", pd.DataFrame(columns=["case_id", "number", "attempts"]))
    with pytest.raises(UserError, match="there is no synthetic case to compare"):
        evaluate(cohort, tmp_path / "fid.tsv", "none")
    small = np.zeros((4, 8, 8, 8), np.float32)
    names = ["t1n", "t1c", "t2w", "t2f"]
    write_case(cohort / "other/X-1", "X-1", small, np.zeros((8, 8, 8), np.uint8), np.eye(4), names)
    write_tsv(cohort / "other/blocks/0.tsv", pd.DataFrame([{"case_id": "X-1", "number": 0, "attempts": 1}]))
    with pytest.raises(UserError, match=r"synthetic case X-1 has shape \(4, 8, 8, 8\)"):
        evaluate(cohort, tmp_path / "fid.tsv", "other")
