"""The image metrics of a system: their floor, the same n on both sides, what is kept, and what is refused."""

import json
import shutil
import subprocess
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import warm
from brats import WRITTEN
from image_runs import compare, comparison, evaluate, extract, fid, write_synthetic
from safetensors.numpy import load_file
from scipy import linalg, ndimage
from workflow import ROOT

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_json, write_tsv
from workflow_scripts.cohort.nifti import write_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.evaluation import case_features
from workflow_scripts.evaluation.frechet import GaussianStatistics, frechet_distance


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, preprocessed_cohort):
    """Six small cases: two to train, one to validate, one to test, two that no set holds."""
    folder = preprocessed_cohort(tmp_path_factory.mktemp("fid"), cases=6)
    ids = list(read_tsv(folder / "cases.tsv").case_id)
    write_json(folder / "splits.json", {"seed": 0, "test": ids[:1], "val": ids[1:2], "train": {"2": ids[2:4]}})
    write_synthetic(folder, "copies", ids[2:4])
    write_synthetic(folder, "blurred", ids[4:], lambda image: ndimage.gaussian_filter(image, (0, 2, 2, 2)))
    return folder


DISTANCES = ("fid", "kid", "mmd", "precision", "recall", "density", "coverage")


def test_copies_of_the_training_cases_reach_the_floor_and_blurred_cases_do_not(cohort, tmp_path):
    copies = (
        evaluate(cohort, tmp_path, "copies", planes=["axial"])
        .set_index(["metric", "modality", "comparison"])
        .sort_index()
    )
    for metric in DISTANCES:  # copies went through int16: not bit by bit
        values = copies.value[metric, "all"]
        assert values["synthetic"] == pytest.approx(values["floor"], rel=0.02, abs=1e-3), metric
    blurred = evaluate(cohort, tmp_path, "blurred", planes=["axial"])
    blurred = blurred.set_index(["metric", "modality", "comparison"])
    assert blurred.value["fid", "all", "floor"] == pytest.approx(copies.value["fid", "all", "floor"], rel=1e-6)
    for metric in ("fid", "kid", "mmd"):
        assert blurred.value[metric, "all", "synthetic"] > 1.3 * blurred.value[metric, "all", "floor"], metric
    ratio = blurred.value["gradient_ratio", "all"]
    assert ratio["synthetic"] != pytest.approx(ratio["real"], rel=0.1), "blurring by two voxels, thick slices"
    assert blurred.value["ms_ssim", "all", "synthetic"] > copies.value["ms_ssim", "all", "synthetic"], (
        "alike without detail"
    )


def test_every_plane_and_modality_says_its_n(cohort, tmp_path):
    table = evaluate(cohort, tmp_path, "blurred", planes=["axial", "coronal"], min_foreground_fraction=0.2)
    distances = table[table.metric.isin(DISTANCES)]
    assert list(distances.plane.unique()) == ["axial", "coronal", "joint"]
    names = ["t1n", "t1c", "t2w", "t2f"]
    measured = distances.groupby(["plane", "modality"]).metric.agg(set)
    assert all(found == set(DISTANCES) for found in measured) and len(measured) == 2 * 5 + 1
    assert distances[distances.metric == "fid"].lower.isna().all(), "two cases have no interval"
    assert set(distances[distances.plane == "axial"].modality) == {*names, "all"}
    assert set(distances.n_cases) == set(distances.n_reference_cases) == {2}
    found = fid(table)
    assert (found.n_slices.xs("synthetic", level=1) == found.n_slices.xs("floor", level=1)).all()
    assert found.n_slices["joint", "floor"] == found.n_slices["axial", "floor"] + found.n_slices["coronal", "floor"]
    assert (found.n_samples == 4 * found.n_slices).all()
    assert (table[(table.metric == "fid") & (table.modality == "t1c")].eval("n_samples == n_slices")).all()
    assert (found.value > 0).all()
    assert set(table.feature_dimension) == {1280} and set(table.slice_size) == {64}
    assert set(table.feature_network) == {"EfficientNet-Lite0 (ImageNet)"}
    assert all(len(digest) == 64 for digest in table.weights_sha256)
    of_one_set = table[table.metric.isin(("ms_ssim", "gradient_ratio"))]
    assert set(of_one_set.comparison) == {"synthetic", "real"} and set(of_one_set.plane) == {"volume"}
    seen = table[table.metric == "normalised_mean"]
    assert set(seen.plane) == {"rim", "whole_tumor", "tumor_core", "enhancing_tumor"} and len(seen) == 2 * 4 * 4
    assert set(table[table.metric == "foreground_volume_ml"].comparison) == {"synthetic", "real"}
    assert set(table[table.metric == "ms_ssim"].n_samples) == {1}, "two cases make one pair"
    assert set(table[table.metric == "ms_ssim"].note) == {"1 of 5 scales, window of 11 voxels"}
    assert set(table[table.metric == "coverage"].note) == {"1 neighbours"}, "as many as two cases allow"
    assert not table.value.isna().any()


def test_a_second_time_point_of_a_patient_is_no_further_case(cohort, tmp_path):
    folder = tmp_path / "time_points"
    shutil.copytree(cohort, folder)
    store, splits = VolumeStore(folder / "volumes"), json.loads((folder / "splits.json").read_text())
    table = read_tsv(folder / "cases.tsv")
    for case_ids in (splits["val"], splits["train"]["2"]):
        first = case_ids[0]
        again = f"{first[:-3]}001"
        meta = store.meta(first) | {"case_id": again}
        store.save(again, np.array(store.image(first)), np.array(store.levels(first)), meta)
        table = pd.concat([table, table[table.case_id == first].assign(case_id=again)], ignore_index=True)
        case_ids.append(again)
    write_tsv(folder / "cases.tsv", table)
    write_json(folder / "splits.json", splits)
    plain = evaluate(cohort, tmp_path, "blurred", planes=["axial"])
    assert evaluate(folder, tmp_path, "blurred", planes=["axial"]).equals(plain)


def test_three_cases_a_side_have_an_interval_and_it_is_that_of_the_slices(cohort, tmp_path):
    """The jackknife again from the kept features, by NumPy alone."""
    folder = tmp_path / "three"
    shutil.copytree(cohort, folder)
    ids = list(read_tsv(folder / "cases.tsv").case_id)
    write_json(folder / "splits.json", {"seed": 0, "test": ids[:2], "val": ids[2:3], "train": {"3": ids[3:]}})
    write_synthetic(folder, "moved", ids[3:], lambda image: ndimage.gaussian_filter(image, (0, 1, 1, 1)))
    table = evaluate(folder, tmp_path, "moved", n_real=3, planes=["axial"])
    row = fid(table).loc["axial", "synthetic"]
    (features,) = (tmp_path / "features").iterdir()
    (made,) = [path for path in features.iterdir() if path.name != "real"]
    sets = [
        [load_file(file)["axial"].astype(float).reshape(-1, 1280) for file in sorted(files)]
        for files in (made.iterdir(), [features / f"real/{case}.safetensors" for case in ids[:3]])
    ]
    whole = [GaussianStatistics(1280).update(np.concatenate(cases)) for cases in sets]
    assert row.n_samples == whole[0].count, "no slice is left out"
    assert row.value == pytest.approx(frechet_distance(*whole), rel=1e-6)
    without = [
        frechet_distance(
            *(GaussianStatistics(1280).update(np.concatenate([*cases[:j], *cases[j + 1 :]])) for cases in sets)
        )
        for j in range(3)
    ]
    reach = NormalDist().inv_cdf(0.95) * np.sqrt(2 / 3 * ((without - np.mean(without)) ** 2).sum())
    assert row.upper == pytest.approx(row.value + reach, rel=1e-6)
    assert row.lower == pytest.approx(max(row.value - reach, 0.0), rel=1e-6)
    assert row.note == "jackknife over 3 groups of cases" and row.n_cases == 3


def test_the_same_bytes_again_whatever_was_kept_and_about_the_same_whatever_the_batch(cohort, tmp_path):
    settings = {"planes": ["axial"], "min_foreground_fraction": 0.3}
    first = evaluate(cohort, tmp_path / "a", "blurred", **settings)
    evaluate(cohort, tmp_path / "b", "blurred", **settings)
    before = (tmp_path / "a/images.tsv").read_bytes()
    assert before == (tmp_path / "b/images.tsv").read_bytes()
    again = evaluate(cohort, tmp_path / "a", "blurred", **settings, batch_size=3)  # kept features are not made again
    assert again.equals(first)
    other = evaluate(cohort, tmp_path / "c", "blurred", **settings, batch_size=3)
    np.testing.assert_allclose(fid(other).value, fid(first).value, rtol=5e-3)


def test_real_features_are_computed_once_and_a_changed_image_again(cohort, tmp_path, monkeypatch):
    seen = []
    original = case_features.case_features
    monkeypatch.setattr(case_features, "case_features", lambda *args: seen.append(1) or original(*args))
    extract(cohort, tmp_path, planes=["axial"])
    assert len(seen) == 4, "validation, test and two training cases; not the two that no set holds"
    extract(cohort, tmp_path, planes=["axial"])
    assert len(seen) == 4
    copy = tmp_path / "changed"
    shutil.copytree(cohort, copy)
    store, case_id = VolumeStore(copy / "volumes"), read_tsv(tmp_path / "real.tsv").case_id[0]
    store.save(case_id, np.array(store.image(case_id)) * np.float16(0.999), store.levels(case_id), store.meta(case_id))
    extract(copy, tmp_path, planes=["axial"])
    assert len(seen) == 5
    extract(cohort, tmp_path, planes=["axial"], min_foreground_fraction=0.2)
    assert len(seen) == 9, "other slices are other features"


def test_the_distances_are_those_of_all_features_at_once(cohort, tmp_path):
    """FID and KID again from the kept features, by NumPy and SciPy alone."""
    table = evaluate(cohort, tmp_path, "blurred", planes=["axial"]).set_index(["metric", "modality", "comparison"])
    splits = json.loads((cohort / "splits.json").read_text())
    (folder,) = (tmp_path / "features").iterdir()
    (made,) = [path for path in folder.iterdir() if path.name != "real"]
    reference = [folder / f"real/{case}.safetensors" for case in splits["val"] + splits["test"]]
    sets = [[load_file(file)["axial"].astype(float) for file in files] for files in (sorted(made.iterdir()), reference)]
    x, y = (np.concatenate([case.reshape(-1, 1280) for case in cases]) for cases in sets)
    assert table.n_samples["fid", "all", "synthetic"] == len(x), "the floor has as many slices: none is left out"
    cov_x, cov_y = np.cov(x.T), np.cov(y.T)
    roots = np.sqrt(np.clip(linalg.eigvals(cov_x @ cov_y).real, 0, None))
    expected = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum() + np.trace(cov_x + cov_y) - 2 * roots.sum()
    assert table.value["fid", "all", "synthetic"] == pytest.approx(expected, rel=1e-3)
    (a, b), (c, d) = (np.array([case.mean(axis=1).ravel() for case in cases]) for cases in sets)
    kernel = lambda p, q: (p @ q / len(p) + 1) ** 3  # noqa: E731
    expected = kernel(a, b) + kernel(c, d) - (kernel(a, c) + kernel(a, d) + kernel(b, c) + kernel(b, d)) / 2
    assert table.value["kid", "all", "synthetic"] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"planes": ["oblique"]},
            "planes is \\['oblique'\\], but must be a list, each one of axial, sagittal, coronal",
        ),
        ({"min_foreground_fraction": 0.99}, "has no axial slice with enough foreground"),
        ({"weights": "nowhere.pth"}, "no weights file nowhere.pth"),
        ({"network": "vgg"}, "network is 'vgg', but must be one of efficientnet_lite0, inception_v3"),
        ({"network": "inception_v3"}, "inception_v3 is not packaged"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(cohort, tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        evaluate(cohort, tmp_path, "copies", **{"planes": ["axial"], **change})
    assert not (tmp_path / "images.tsv").exists()


def test_no_case_or_a_case_of_another_grid_is_refused(cohort, tmp_path):
    write_tsv(cohort / "none/blocks/0.tsv", pd.DataFrame(columns=["case_id", "number", "attempts"]))
    with pytest.raises(UserError, match="there is no synthetic case to compare"):
        evaluate(cohort, tmp_path, "none", planes=["axial"])
    small = np.zeros((4, 8, 8, 8), np.float32)
    names = ["t1n", "t1c", "t2w", "t2f"]
    write_case(cohort / "other/X-1", "X-1", small, np.zeros((8, 8, 8), np.uint8), np.eye(4), names, WRITTEN)
    write_tsv(cohort / "other/blocks/0.tsv", pd.DataFrame([{"case_id": "X-1", "number": 0, "attempts": 1}]))
    with pytest.raises(UserError, match=r"synthetic case X-1 has shape \(4, 8, 8, 8\)"):
        extract(cohort, tmp_path, "other", planes=["axial"])
    (cohort / "other/X-1/X-1-t1c.nii.gz").unlink()
    with pytest.raises(UserError, match="missing image of synthetic case X-1"):
        extract(cohort, tmp_path, "other", planes=["axial"])


def test_features_by_different_settings_are_not_compared(cohort, tmp_path):
    extract(cohort, tmp_path, planes=["axial"])
    extract(cohort, tmp_path, "copies", planes=["axial"], min_foreground_fraction=0.3)
    with pytest.raises(UserError, match="real and synthetic image features differ in settings_digest"):
        compare(cohort, tmp_path)


def test_kept_features_that_are_gone_or_changed_are_asked_for(cohort, tmp_path):
    evaluate(cohort, tmp_path, "copies", planes=["axial"])
    (file, *_) = sorted((tmp_path / "features").glob("*/real/*.safetensors"))
    kept = file.read_bytes()
    file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(UserError, match=f"case {file.stem} cannot be read.*not the file that was made"):
        compare(cohort, tmp_path)
    file.write_bytes(kept)
    shutil.rmtree(tmp_path / "features")
    with pytest.raises(UserError, match="snakemake -R extract_real_features extract_synthetic_features"):
        compare(cohort, tmp_path)


METRIC = """
import numpy as np
from . import Metric, of_pairs


@of_pairs(Metric("nearest", "distance to the nearest case", "near real", 2, heading="distances by plane and modality"))
def nearest(pair):
    across = pair.squared[pair.place(pair.name), pair.place("reference")]
    yield pair.over_cases("nearest", float(np.sqrt(across.min(axis=1)).mean()), None, "of the reference")
"""


def test_a_metric_is_one_file(cohort, tmp_path):
    """In a copy of the project: its rows are in images.tsv, and its column in the table for readers."""
    for name in ("workflow_scripts", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "workflow_scripts/evaluation/metrics/nearest.py").write_text(METRIC)
    for name in (None, "copies"):
        extract(cohort, tmp_path, name, planes=["axial"])
    table = ["--table", "images", "--images", str(tmp_path / "images.tsv"), "--out", str(tmp_path / "images.csv")]
    for program, words in (
        ("evaluation.evaluate_images", comparison(cohort, tmp_path)),
        ("reporting.make_table", table),
    ):
        command = [warm.python(), "-m", f"workflow_scripts.programs.{program}", *words]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    made = read_tsv(tmp_path / "images.tsv").query("metric == 'nearest'")
    assert set(made.comparison) == {"synthetic", "floor"} and (made.value > 0).all()
    assert "distance to the nearest case" in (tmp_path / "images.md").read_text()
    assert "nearest" in set(pd.read_csv(tmp_path / "images.csv").metric)
