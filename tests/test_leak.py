"""Rule 1: no stage declares an input that depends on cases outside its own training subset, in any arm of the full study."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from workflow import ROOT, copy_project, snakemake

# What every stage may read besides the files of its own subset, and why it leaks nothing.
SHARED = {
    "cohort/cases.tsv": "paths of all cases; a stage takes those of its subset from splits.json",
    "cohort/splits.json": "the lists of ids themselves",
    "evaluation/held_out_tumours.tsv": "tumours of validation and test patients, for evaluation; see the test below",
    "evaluation/reference_masks.tsv": "tumours of patients outside of the study, for evaluation",
    "evaluation/image_features.tsv": "features of real cases by a network that was never trained here: to evaluate alone",
    "evaluation/image_pairs.tsv": "likeness of held-out cases: to evaluate alone",
}
# The only stages that may look at more than one subset: they come after all training.
GATHER = {
    "gather_scores",
    "make_table",
    "extract_real_features",
    "make_report",
}
# Made once for all subsets, from patients that none of them holds.
HELD_OUT = {"measure_held_out", "measure_reference_masks"}
BEFORE_SPLITS = {"demo_cohort", "find_cases", "preprocess", "merge_cohort", "split_cohort"}
NAMED = re.compile(r"^(?P<run>results/full)/(?P<rest>.+)$")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> list[tuple[str, list[str], list[str]]]:
    """(rule, inputs, outputs) of every job of the full study: three subsets, 72 arms."""
    project = copy_project(tmp_path_factory.mktemp("leak"))
    done = snakemake(project, "--dry-run", "--config", "data_root=demo")
    assert done.returncode == 0, done.stdout
    found = []
    for text in re.split(r"\n(?=(?:local)?rule )", done.stdout)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", text).group(1)
        parts = {key: re.search(rf"^    {key}: (.+)$", text, flags=re.MULTILINE) for key in ("input", "output")}
        files = {key: match.group(1).split(", ") if match else [] for key, match in parts.items()}
        found.append((rule, files["input"], files["output"]))
    return found


def subset(path: str) -> str | None:
    match = re.search(r"n_real~(\d+)", path)
    return match and match.group(1)


def test_the_plan_was_read_whole(jobs):
    rules = [rule for rule, _, _ in jobs]
    assert rules.count("train_segmentation") == 72
    assert rules.count("train_generator") == 3
    assert all(outputs for rule, _, outputs in jobs if rule != "all")


def test_every_stage_reads_its_own_subset_alone(jobs):
    for rule, inputs, outputs in jobs:
        if rule in GATHER | BEFORE_SPLITS | HELD_OUT | {"all"}:
            continue
        own = {subset(path) for path in outputs}
        assert len(own) == 1 and None not in own, (rule, outputs)
        for path in inputs:
            shared = NAMED.match(path)["rest"] in SHARED
            assert shared or {subset(path)} == own, f"{rule} of n_real {own} reads {path}"


def test_nothing_that_trains_reads_a_score_a_prediction_or_an_evaluation(jobs):
    for rule, inputs, _ in jobs:
        if rule.startswith(
            ("train_", "plan_", "pool_", "extract_", "measure_", "synthesize", "memorisation_reference")
        ):
            assert not [path for path in inputs if re.search(r"dice\.tsv|predictions|evaluation/|tables/", path)], rule


def test_held_out_tumours_are_read_by_evaluations_that_nothing_trains_on(jobs):
    readers = {rule for rule, inputs, _ in jobs if any(path.endswith("held_out_tumours.tsv") for path in inputs)}
    assert readers == {"evaluate_control", "evaluate_masks"}
    made = {path for rule, _, outputs in jobs if rule in readers for path in outputs}
    assert {rule for rule, inputs, _ in jobs if made & set(inputs)} == {"evaluate_masks", "make_table"}


def test_no_generator_stage_reads_a_segmenter(jobs):
    for rule, inputs, _ in jobs:
        if rule in (
            "train_autoencoder",
            "extract_latents",
            "measure_tumours",
            "train_depth_decoder",
            "measure_reconstruction",
            "measure_depth_decoder",
            "train_generator",
            "attach_depth_decoder",
            "synthesize",
        ):
            assert not [path for path in inputs if "/segmentation/" in path], rule


def test_arms_share_nothing_but_plan_and_pool(jobs):
    for rule, inputs, outputs in jobs:
        if rule == "train_segmentation":
            arm = str(Path(outputs[0]).parent)
            others = [path for path in inputs if "seed~" in path and not path.startswith(arm)]
            assert not others, (arm, others)


def test_an_arm_with_synthetic_cases_reads_those_of_its_system_and_subset(jobs):
    for rule, inputs, outputs in jobs:
        if rule == "train_segmentation":
            pools = [path for path in inputs if "/pool_" in path and not path.endswith("pool_real.tsv")]
            assert bool(pools) == ("/segmentation/nnunet/real" not in outputs[0])


def test_only_prediction_and_evaluation_ask_for_the_test_split():
    """The volumes are one folder, so the ids decide: no other program names the test split in its code."""
    asking = set()
    for file in sorted((ROOT / "workflow_scripts").glob("*.py")):
        names = {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
        if "test_ids" in names or '"test"' in file.read_text():
            asking.add(file.stem)
    assert asking == {
        "calibrate_memorisation",
        "compare_decoders",
        "predict_segmentation",
        "extract_image_features",
        "evaluate_images",
        "measure_held_out",
        "split_cohort",
    }
