"""The whole DAG on a tiny simulated cohort: it fills its tables, does nothing twice, reruns what changed, and leaks nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from workflow import ROOT, copy_project, planned, snakemake

from workflow_scripts.base.files import read_json, read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.memorisation.copy_gate import is_copy_reason
from workflow_scripts.memorisation.reference import compare_within, load_reference, save_reference
from workflow_scripts.reporting.registry import TABLES

pytestmark = pytest.mark.timeout(2400)  # the first test waits for the whole study
IMAGE_TABLES = {"evaluate_images", "make_table", "make_report"}
AUDIT = {"calibrate_memorisation", "audit_memorisation", "make_figure", "make_table"}
MODALITIES = ["t1n", "t1c", "t2w", "t2f"]
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
    assert len(table) == 3 * 5, "real only, two controls, ratio 1 and synthetic only, for each region"
    assert set(table["control"]) == {"none", "no_augmentation", "oversampled"}
    for suffix in (".md", ".tex"):
        assert "whole" in (results / "tables/augmentation_ratio").with_suffix(suffix).read_text()


def test_the_report_says_that_the_cohort_is_simulated(results):
    assert "simulat" in (results / "report.html").read_text().lower()


def test_the_cost_table_counts_every_job_of_the_run(results):
    table = pd.read_csv(results / "tables/cost.csv").set_index("stage")
    arms = len(list(results.glob("n_real~4/segmentation/**/arm.json")))
    assert table.loc["train_segmentation", "jobs"] == table.loc["score_segmentation", "jobs"] == arms > 2
    assert table.loc["synthesize", "jobs"] == table.loc["preprocess", "jobs"] == 2
    assert "make_report" not in table.index and table.loc["make_table", "jobs"] == len(TABLES) - 1
    files = [path for path in (results / "benchmarks").rglob("*.tsv") if path.stem not in ("cost", "make_report")]
    assert table.loc["all stages", "jobs"] == len(files)
    seconds = sum(pd.read_csv(path, sep="\t")["s"].sum() for path in files)
    assert table.loc["all stages", "wall_hours"] == pytest.approx(seconds / 3600, abs=1e-6)
    assert "What the run cost" in (results / "report.html").read_text()


def test_control_and_masks_have_a_row_a_feature(results):
    control = pd.read_csv(results / "tables/control.csv")
    assert (control.query("requests == 'all'").groupby("feature").size() == 1).all() and control.feature.nunique() == 12
    held_out = json.loads((results / "cohort/splits.json").read_text())
    assert set(control.n_requests) == {len(held_out["test"]) + len(held_out["val"])}
    masks = pd.read_csv(results / "tables/masks.csv")
    assert set(masks.comparison) == {"synthetic", "floor", "ungated"}
    assert (results / "figures/n_real~4/control_sweep_slice_ldm.png").stat().st_size > 10_000
    report = (results / "report.html").read_text()
    assert (
        'id="control"' in report and 'id="masks"' in report and "One tumour of slice_ldm that grows and moves" in report
    )


def test_snakemake_makes_its_own_report_without_network(project, monkeypatch):
    for kind in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(kind, "http://127.0.0.1:9")  # where nothing listens
    done = snakemake(project, *TINY, "--report", "snakemake_report.zip")
    assert done.returncode == 0, done.stdout
    with ZipFile(project / "snakemake_report.zip") as file:
        names = [Path(name).name for name in file.namelist()]
        page = file.read("snakemake_report/report.html").decode()
    tables = ("augmentation_ratio", "systems", "compute", "images", "control", "masks", "memorisation")
    figures = ("dice_vs_ratio", "real_and_synthetic_slice_ldm", "memorisation_slice_ldm", "control_sweep_slice_ldm")
    wanted = {f"{table}.csv" for table in (*tables, "cost")} | {f"{figure}.png" for figure in figures}
    assert wanted <= set(names)
    assert names.count("report.html") == 2, "ours lies beside Snakemake's"
    assert "evaluation.tables.bootstrap_samples: 200" in page, "a caption prints the setting"
    assert "Simulated cohort" in page


def test_every_job_records_what_it_ran_on(results):
    """The cost table counts GPU hours by these records."""
    logs = [path for path in (results / "logs").rglob("*.log") if path.parent.name != "slurm"]
    assert len(logs) > 20
    for log in logs:
        assert set(read_json(log.with_suffix(".json"))) - {"work"} == {"device", "gpus", "resumed"}, log


def test_a_second_run_does_nothing(project):
    done = snakemake(project, *TINY)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


@pytest.mark.parametrize(
    ("override", "rules"),
    [
        (
            "evaluation={tables: {seed: 5}}",
            {"make_figure", *IMAGE_TABLES},
        ),
        (
            "evaluation={control: {requests: 1}}",
            {"evaluate_control", "evaluate_masks", "make_report"},
        ),
        ("evaluation={control: {sweep_steps: 3}}", {"sample_control_sweep", "make_figure", "make_report"}),
        ("evaluation={masks: {permutations: 99}}", {"evaluate_masks", "make_report"}),
        ("evaluation={figures: {cases: 1}}", {"make_figure", "pack_viewer", "make_report"}),
        ("evaluation={report: {viewer_megabytes: 1}}", {"pack_viewer", "make_report"}),
        (
            "evaluation={images: {batch_size: 7}}",
            {"extract_real_features", "extract_synthetic_features", *AUDIT, *IMAGE_TABLES},
        ),
        ("evaluation={images: {neighbours: 2}}", IMAGE_TABLES),
        ("evaluation={cost: {volumes: 2}}", {"measure_cost", "make_report"}),
        ("evaluation={comparison_ratio: 1}", {"make_report"}),
        (
            "evaluation={segmentation: {hd_percentile: 90}}",
            {"score_segmentation", "gather_scores", "make_figure", "make_report"},
        ),
    ],
)
def test_an_evaluation_key_reruns_evaluation_alone(project, override, rules):
    assert set(planned(project, *TINY, "--config", override)) == {*rules, "make_table"}


def test_a_new_ratio_trains_its_arm_alone(project):
    assert planned(project, *TINY, "--config", "segmentation={ratios: [0, 0.5, 1]}") == {
        **dict.fromkeys(("train_segmentation", "predict_segmentation", "score_segmentation"), 1),
        **dict.fromkeys(("gather_scores", "make_report"), 1),
        "make_figure": 3,  # ratios, ladder, exchange
        "make_table": 6,  # these, kinds, systems, cost
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
    before = edit(loop, "import signal", "# a comment\nimport signal")
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
    assert set(pd.read_csv(study / "conditions.tsv", sep="\t")["case_id"]) == train
    pool = pd.read_csv(study / "segmentation/nnunet/pool_real.tsv", sep="\t")
    assert set(pool.loc[pool["split"] == "train", "case_id"]) == train
    assert set(pool["case_id"]) == train | set(splits["val"])
    files = sorted((study / "segmentation").glob("**/arm.json"))
    assert len(files) == 5
    for file in files:
        arm = json.loads(file.read_text())
        assert set(arm["real_ids"]) == (set() if arm["synthetic_only"] else train)
        assert set(arm["val_ids"]) == set(splits["val"])
        tested = pd.read_csv(file.parent / "dice.tsv", sep="\t")["case_id"]
        assert set(tested) == set(splits["test"])


def draws(study: Path) -> tuple[pd.Series, set[tuple[int, int]]]:
    """Attempts of each synthetic case, by number; number and attempt (from 0) of the draws refused as copies."""
    blocks = study / "synthetic/slice_ldm/blocks"
    made = pd.concat(read_tsv(path) for path in blocks.glob("?.tsv"))
    refused = pd.concat(read_tsv(path) for path in blocks.glob("?.rejected.tsv"))
    copies = refused[refused.reason.map(is_copy_reason)]
    return made.set_index("number").attempts, set(zip(copies.number, copies.attempt, strict=True))


def test_copies_of_training_cases_are_kept_out_of_the_arms(project, tmp_path):
    """What the generator makes is declared to be its training cases: then it copies them, until the gate draws again."""
    copy = tmp_path / "copied"
    shutil.copytree(project, copy)
    study = copy / "results/tiny/n_real~4"
    reference = load_reference(study / "memorisation/cases")
    made = [f"SliceAug-{number:05d}-000" for number in range(len(reference.case_ids))]
    read = {name: read_synthetic_case(study / "synthetic/slice_ldm" / name, name, MODALITIES)[0] for name in made}
    images = np.stack([reference.coarse_image(image) for image in read.values()])
    reference = dataclasses.replace(reference, images=images)
    reference.description["real"] = compare_within(reference)
    save_reference(study / "memorisation/cases", reference)

    arms = study / "segmentation/nnunet/slice_ldm/ratio~1/seed~0/model.safetensors"
    before = arms.read_bytes()
    kept, copies_before = draws(study)
    done = snakemake(copy, *TINY, "--rerun-triggers", "mtime", "--", str(arms.relative_to(copy)))
    assert done.returncode == 0, done.stdout[-4000:]
    again, copies = draws(study)
    for number, attempts in kept.items():
        if again[number] < attempts:
            assert (number, again[number] - 1) in copies_before, "refused before as a copy of a real patient"
        else:
            assert (number, attempts - 1) in copies, "the draw that was kept before is a copy now"
            assert again[number] > attempts
    for name, image in read.items():
        assert not np.array_equal(
            read_synthetic_case(study / "synthetic/slice_ldm" / name, name, MODALITIES)[0], image
        ), name
    assert arms.read_bytes() != before, "the arm was trained again, on the cases drawn in their place"


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
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.programs.synthesis.synthesize",
        "--model",
        model,
        "--requests",
        requests,
        "--allow-copies",  # of four patients, whom so small a model knows by heart; test_copy_gate.py refuses them
    ]
    done = subprocess.run(
        [*map(str, command), "--out", str(tmp_path / "new"), "--config", str(settings)],
        cwd=project, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (
        model / "release.json"
    ).is_file() and "copies of training cases are not refused: --allow-copies" in done.stderr
    assert len(list((tmp_path / "new").glob("*/*-seg.nii.gz"))) == 1
