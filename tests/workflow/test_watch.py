"""The lines that one sees of a running study, from the events of its run, and the program that shows them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import small_cases
from workflow import ROOT, copy_project

from workflow_scripts.operations.run_events import FAILED, FINISHED, STARTED, Noted, Run
from workflow_scripts.operations.stage_lines import expected_seconds, line_text, stage_lines, total_text

TINY = str(ROOT / "tests/tiny.yaml")
TRAIN = "logs/train_segmentation/a.log"
PLANNED = {"preprocess": ("cohort", 2), "train_segmentation": ("segmentation", 3), "make_table": ("reporting", 1)}


def run(**jobs: Noted) -> Run:
    done = {f"logs/preprocess/{shard}.log": Noted(FINISHED, 0.0, "preprocess", 20.0) for shard in range(2)}
    return Run(
        Path("run"), begun=0.0, planned=PLANNED, jobs=done | {f"logs/{name}.log": job for name, job in jobs.items()}
    )


def test_a_stage_has_a_bar_and_what_is_left_of_it(tmp_path):
    (tmp_path / TRAIN).parent.mkdir(parents=True)
    (tmp_path / TRAIN).write_text("10:00:00 nnU-Net: 25 of 100 steps, 1 steps/s, 0:01:15 left, loss 0.2\n")
    seen = run()
    seen.jobs[TRAIN] = Noted(STARTED, 75.0, "train_segmentation")
    cohort, segmentation, reporting = lines = stage_lines(seen, {"train_segmentation": 100.0}, tmp_path, 100.0)
    assert (cohort.done, cohort.total, cohort.share, cohort.left) == (2, 2, 1.0, 0.0)
    assert segmentation.left == 75 + 2 * 100 and segmentation.share == pytest.approx(0.25 / 3)
    assert (reporting.left, reporting.unknown) == (0, 1)
    assert line_text(cohort).split() == ["cohort", "#" * 24, "2", "of", "2", "done"]
    assert line_text(segmentation).endswith("0 of 3     4 min left; train_segmentation, 25 of 100 steps")
    assert line_text(reporting).endswith("waits")
    assert total_text(lines, seen, 100.0) == "2 of 6 jobs done, 1 min so far, 4 min left and more"


def test_a_failed_job_is_seen_until_it_starts_again(tmp_path):
    seen = run(arm=Noted(FAILED, 50.0, "train_segmentation", 30.0))
    assert line_text(stage_lines(seen, {}, tmp_path, 60.0)[1]).endswith("failed")
    seen.jobs["logs/arm.log"] = Noted(STARTED, 55.0, "train_segmentation", failures=1)
    assert "failed" not in line_text(stage_lines(seen, {}, tmp_path, 60.0)[1])


def test_how_long_a_job_takes_is_known_from_its_like(tmp_path):
    table = tmp_path / "cost.csv"
    table.write_text("stage,jobs,wall_hours\npreprocess,2,0.005\ntrain_segmentation,4,0.1\nall stages,6,0.105\n")
    expected = expected_seconds(run(), [], table)
    assert expected["preprocess"] == 20.0, "of this run"
    assert expected["train_segmentation"] == pytest.approx(90 * 20 / 9), "this machine takes 20 s where that one took 9"
    earlier = Run(Path("earlier"), jobs={TRAIN: Noted(FINISHED, 0.0, "train_segmentation", 70.0)})
    assert expected_seconds(run(), [earlier], table)["train_segmentation"] == 70.0


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("watched study"))


def watch(project: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "workflow_scripts.programs.operations.watch", "--cores", "1", *options]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300)


def test_a_run_is_shown_and_all_that_was_written_is_kept(project, tmp_path):
    for number in range(3):
        small_cases.make_case(tmp_path, f"case{number}", seed=number)
    options = (
        "--configfile",
        TINY,
        "--config",
        f"data_root={tmp_path}",
        "--",
        "results/tiny/cohort/found.tsv",
    )
    done = watch(project, *options)
    assert done.returncode == 0, done.stderr
    log = next((project / ".snakemake/events").glob("*.log")).read_text()
    assert "rule find_cases" in log and "rule find_cases" not in done.stderr
    assert ["cohort", "#" * 24, "1", "of", "1", "done"] in [line.split()[1:] for line in done.stderr.splitlines()]


def test_what_failed_is_said_and_the_exit_status_kept(project, tmp_path):
    done = watch(project, "--configfile", TINY, "--config", f"data_root={tmp_path}", "run=other")
    assert done.returncode == 1
    assert "failed: find_cases" in done.stderr, done.stderr
    assert f"error: data_root {tmp_path} holds no files" in done.stderr, done.stderr


def test_a_mistake_is_said_and_the_exit_status_kept(project):
    done = watch(project, "--config", "data_root=demo", "sistems=[a]")
    assert done.returncode == 1 and "sistems" in done.stderr
