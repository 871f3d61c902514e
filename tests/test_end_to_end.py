"""The whole DAG on a tiny simulated cohort: it fills its tables, does nothing twice, reruns what changed, and leaks nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from workflow import ROOT, copy_project, planned, snakemake

pytestmark = pytest.mark.timeout(2400)  # the first test waits for the whole study
IMAGE_TABLES = {"evaluate_images", "make_image_tables", "make_system_tables", "make_report"}
TINY = ("--configfile", str(ROOT / "tests/tiny.yaml"))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project in which the tiny study is complete."""
    folder = copy_project(tmp_path_factory.mktemp("study"))
    done = snakemake(folder, *TINY)
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


@pytest.fixture
def results(project) -> Path:
    return project / "results/tiny"


def test_the_table_has_every_region_and_arm(results):
    table = pd.read_csv(results / "tables/augmentation_ratio.csv")
    assert set(table["region"]) == {"whole_tumor", "tumor_core", "enhancing_tumor"}
    assert len(table) == 3 * 3, "real only, ratio 1 and synthetic only, for each region"
    for suffix in (".md", ".tex"):
        assert "whole" in (results / "tables/augmentation_ratio").with_suffix(suffix).read_text()


def test_the_report_says_that_the_cohort_is_simulated(results):
    assert "simulat" in (results / "report.html").read_text().lower()


def test_a_second_run_does_nothing(project):
    done = snakemake(project, *TINY)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


@pytest.mark.parametrize(
    ("override", "rules"),
    [
        (
            "evaluation={tables: {seed: 5}}",
            {"make_tables", "make_figures", *IMAGE_TABLES},
        ),
        ("evaluation={figures: {cases: 1}}", {"figure_cases", "make_report"}),
        (
            "evaluation={images: {batch_size: 7}}",
            {"extract_real_features", "extract_synthetic_features", *IMAGE_TABLES},
        ),
        ("evaluation={images: {neighbours: 2}}", IMAGE_TABLES),
        ("evaluation={cost: {volumes: 2}}", {"measure_cost", "make_system_tables", "make_report"}),
        ("evaluation={comparison_ratio: 1}", {"make_system_tables", "make_report"}),
        (
            "evaluation={segmentation: {hd_percentile: 90}}",
            {"score_segmentation", "make_tables", "make_system_tables", "make_figures", "make_report"},
        ),
    ],
)
def test_an_evaluation_key_reruns_evaluation_alone(project, override, rules):
    assert set(planned(project, *TINY, "--config", override)) == rules


def test_a_new_ratio_trains_its_arm_alone(project):
    assert planned(project, *TINY, "--config", "segmentation={ratios: [0, 0.5, 1]}") == {
        **dict.fromkeys(("train_segmentation", "predict_segmentation", "score_segmentation"), 1),
        **dict.fromkeys(("make_tables", "make_system_tables", "make_figures", "make_report"), 1),
    }


def test_a_larger_ratio_adds_cases_and_makes_none_again(project):
    jobs = planned(project, *TINY, "--config", "segmentation={ratios: [0, 1, 2]}")
    assert jobs["synthesize"] == jobs["pool_synthetic"] == 2, "cases 4 to 7, in blocks of two"
    assert jobs["train_segmentation"] == 1
    assert not {"preprocess", "pool_real", "train_autoencoder", "train_generator"} & set(jobs)


def edit(file: Path, old: str, new: str) -> str:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return text


def test_a_comment_reruns_nothing_and_a_line_of_code_its_stages(project):
    loop = project / "workflow_scripts/training/loop.py"
    before = edit(loop, "from __future__ import annotations", "from __future__ import annotations\n\n# a comment")
    assert planned(project, *TINY) == {}
    loop.write_text(before + "\nUNUSED = 1\n")
    jobs = planned(project, *TINY)
    loop.write_text(before)
    assert {"train_autoencoder", "train_generator"} <= set(jobs)
    assert not {"demo_cohort", "preprocess", "split_cohort", "plan_segmentation", "pool_real"} & set(jobs)


def test_a_sampler_key_reruns_synthesis_and_no_training_of_a_generator(project):
    jobs = planned(project, *TINY, "--config", "system_settings={slice_ldm: {sampler: {steps: 9}}}")
    assert jobs["synthesize"] == 2
    assert not {"train_autoencoder", "extract_latents", "train_generator", "pool_real"} & set(jobs)


def test_models_and_arms_list_their_own_training_cases_and_no_other(results):
    splits = json.loads((results / "cohort/splits.json").read_text())
    train = set(splits["train"]["4"])
    held_out = set(splits["test"]) | set(splits["val"])
    assert len(train) == 4
    assert not train & held_out
    study = results / "n_real~4"
    for model in ("autoencoder/slice_vae", "generator/slice_ldm"):
        assert set(json.loads((study / model / "model.json").read_text())["training_case_ids"]) == train
    assert set(pd.read_csv(study / "features.tsv", sep="\t")["case_id"]) == train
    pool = pd.read_csv(study / "segmentation/pool_real.tsv", sep="\t")
    assert set(pool.loc[pool["split"] == "train", "case_id"]) == train
    assert set(pool["case_id"]) == train | set(splits["val"])
    for file in sorted((study / "segmentation").glob("**/arm.json")):
        arm = json.loads(file.read_text())
        assert set(arm["real_ids"]) == (set() if arm["synthetic_only"] else train)
        assert set(arm["val_ids"]) == set(splits["val"])
        tested = pd.read_csv(file.parent / "dice.tsv", sep="\t")["case_id"]
        assert set(tested) == set(splits["test"])


def test_a_trained_model_makes_cases_without_snakemake(project, tmp_path):
    requests = tmp_path / "tumours.csv"
    model = project / "results/tiny/n_real~4/generator/slice_ldm"
    feature = json.loads((model / "model.json").read_text())["features"]
    wanted = (feature["min"][0] + feature["max"][0]) / 2
    requests.write_text(f"{feature['names'][0]}\n{wanted}\n")
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        (ROOT / "tests/tiny.yaml").read_text().split("synthesis:")[1].split("segmentation:")[0].replace("\n  ", "\n")
    )
    command = [sys.executable, "-m", "workflow_scripts.synthesize", "--model", model, "--requests", requests]
    done = subprocess.run(
        [*map(str, command), "--out", str(tmp_path / "new"), "--config", str(settings)],
        cwd=project, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "new").glob("*/*-seg.nii.gz"))) == 1
