"""The DAG, by dry runs: every configuration plans its jobs in seconds, every named target exists, mistakes stop at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from parsed_workflow import parsed
from workflow import ROOT, TARGETS, copy_project, planned, snakemake

from workflow_scripts.reporting.tables.cost import stage_of


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("dry run"))  # a space in the path is on purpose


def arms(n_real: int, ratios: int, synthetic_only: int, seeds: int, systems: int = 1, controls: int = 0) -> int:
    """Real-only and its controls, plus `ratios` mixes and `synthetic_only` arms of each system, for each subset and seed."""
    return n_real * seeds * (1 + controls + systems * (ratios + synthetic_only))


def test_full_study_has_every_arm(project):
    jobs = planned(project, "--config", "data_root=demo")
    ladder = 2 * 3 * 2  # ceiling and reconstructions, at 20 and 50 patients
    assert jobs["train_segmentation"] == arms(n_real=3, ratios=4, synthetic_only=1, seeds=3, controls=2) + ladder == 84
    assert jobs["pool_others"] == jobs["reconstruct_others"] == jobs["pool_reconstructions"] == 2
    assert jobs["train_autoencoder"] == jobs["train_generator"] == jobs["plan_segmentation"] == 3
    assert jobs["synthesize"] == (80 + 200 + 400) / 10
    assert jobs["pool_synthetic"] == jobs["synthesize"]
    assert jobs["preprocess"] == 16


@pytest.mark.parametrize(("name", "trainings"), [("demo", 6), ("brats_mini", 4), ("paper", 24)])
def test_shipped_overrides_plan_their_arms(project, name, trainings):
    options = ("--configfile", f"config/{name}.yaml", "--config", "data_root=demo")
    assert planned(project, *options)["train_segmentation"] == trainings


def test_the_demo_of_all_systems_plans_each_of_them(project):
    jobs = planned(project, "--configfile", "config/demo.yaml", "config/demo_all.yaml")
    assert jobs["train_generator"] == 6 and jobs["train_autoencoder"] == 2
    assert jobs["train_segmentation"] == arms(n_real=1, ratios=1, synthetic_only=0, seeds=1, systems=6)


def test_on_a_machine_without_a_card_small_trainings_run_side_by_side_and_what_is_timed_or_awaited_does_not(project):
    profile = yaml.safe_load((ROOT / "profiles/cpu/config.yaml").read_text())
    threads = {name: rule["threads"] for name, rule in parsed(plan=False)["rules"].items()}
    alone = {"measure_cost", "demo_cohort"}  # timed; and what all others wait for
    assert set(profile["set-threads"]) == {rule for rule, count in threads.items() if count > 1} - alone
    command = ("--workflow-profile", "profiles/cpu", "--cores", "2", "--dry-run", "generator")
    plan = snakemake(project, *command, "--configfile", "config/demo.yaml", "config/demo_all.yaml").stdout
    jobs = plan.split("\nrule ")[1:]
    assert {job.split(":")[0]: "threads: 2" in job for job in jobs} == {
        "demo_cohort": True,
        **dict.fromkeys(("find_cases", "preprocess", "merge_cohort", "split_cohort"), False),
        **dict.fromkeys(("measure_tumours", "train_autoencoder", "extract_latents", "train_generator"), False),
        "generator": False,
    }


def test_own_data_makes_no_demo_cohort(project, tmp_path):
    assert planned(project, "--config", "data_root=demo")["demo_cohort"] == 1
    assert planned(project, "--config", f"data_root={tmp_path}")["demo_cohort"] == 0


def test_a_folder_of_masks_is_measured_where_there_is_one_and_the_sweep_can_be_left_out(project, tmp_path):
    jobs = planned(project, "--config", "data_root=demo")
    assert jobs["measure_reference_masks"] == 0 and jobs["sample_control_sweep"] == jobs["evaluate_control"] == 3
    override = f"evaluation={{masks: {{reference_root: '{tmp_path}'}}, control: {{sweep_steps: 0}}}}"
    jobs = planned(project, "--config", "data_root=demo", override)
    assert jobs["measure_reference_masks"] == 1 and jobs["sample_control_sweep"] == 0


@pytest.mark.parametrize("target", TARGETS)
def test_named_target(project, target):
    assert planned(project, target, "--configfile", "config/demo.yaml")


def test_stages_of_a_target_do_not_reach_beyond_it(project):
    assert set(planned(project, "latents", "--configfile", "config/demo.yaml")) == {
        *("demo_cohort", "find_cases", "preprocess", "merge_cohort", "split_cohort"),
        *("train_autoencoder", "extract_latents"),
    }


def test_the_snakefile_imports_no_torch(project):
    code = (
        "import sys; sys.argv = ['snakemake', '-n', '--quiet', 'all', '--config', 'data_root=demo']\n"
        "from snakemake.cli import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_mistake_in_the_config_stops_before_any_job_with_the_line_to_write(project):
    done = snakemake(project, "--dry-run", "--config", "data_root=demo", "segmentation={ratios: [1]}")
    assert done.returncode != 0
    assert "ratios: [0, 1]" in done.stdout
    assert "Traceback" not in done.stdout


def test_read_only_results_are_named(project):
    """A file where the results folder should be: what a read-only place looks like to every user, root too."""
    (project / "blocked").write_text("")
    done = snakemake(project, "cohort", "--configfile", "config/demo.yaml", "--config", "results=blocked")
    assert done.returncode != 0
    assert "blocked" in done.stdout


def test_every_rule_says_what_it_needs_and_has_a_log_of_its_own():
    for name, rule in parsed(plan=False)["rules"].items():
        assert rule["conda"] and rule["threads"] and {"mem_mb", "runtime"} <= set(rule["resources"]), name
        assert {"program", "options", "code"} <= set(rule["params"]), name
        (log,) = rule["log"]
        assert log.removesuffix(".log") == rule["benchmark"].replace("/benchmarks/", "/logs/").removesuffix(".tsv")
        assert stage_of(Path(re.sub(r"{.*?}", "x", log)).relative_to("results/full/logs")) == name
