"""`make status` beside real runs: while Snakemake works, after a job failed, was killed, or Snakemake itself was."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import small_cases
import yaml
from study_status import stages, status
from waiting import checkpoint_under, wait_for
from workflow import CORES, ROOT, copy_project, snakemake

pytestmark = pytest.mark.timeout(900)
LOG = "results/tiny/logs/n_real~4/train_autoencoder/slice_vae.log"
STATE = "results/tiny/.state/n_real~4/autoencoder_slice_vae"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project with a tiny study whose autoencoder trains for many minutes, if nobody ends it."""
    folder = copy_project(tmp_path_factory.mktemp("status of a study"))
    for index in range(8):
        small_cases.make_case(folder / "data", f"BraTS-GLI-{index:05d}-000", seed=index)
    settings = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text()) | {"data_root": str(folder / "data")}
    settings["system_settings"]["slice_ldm"]["autoencoder"]["training"].update(steps=200000, checkpoint_minutes=0.05)
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    lines = folder / "workflow_scripts/base/progress.py"  # so that nobody waits for the first line
    lines.write_text(lines.read_text().replace("LINE_EVERY_SECONDS = 15.0", "LINE_EVERY_SECONDS = 1.0"))
    return folder


class Run:
    """A Snakemake that works beside the test, in a session of its own."""

    def __init__(self, project: Path, *options: str):
        command = [sys.executable, "-m", "snakemake", "--cores", CORES, *options]
        self.process = subprocess.Popen(
            command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.project = project

    def training(self) -> psutil.Process:
        for process in psutil.Process(self.process.pid).children(recursive=True):
            command = process.cmdline()
            if (
                "workflow_scripts.programs.autoencoder.train_autoencoder" in command
                and "python" in Path(command[0]).name
            ):
                return process
        raise AssertionError("no training runs")

    def wait_for(self, text: str) -> None:
        log = self.project / LOG

        def said() -> str:
            return log.read_text() if log.exists() else ""

        wait_for(lambda: text in said(), f"{text!r} in {log}", self.process, said)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


OPTIONS = ("--configfile", "study.yaml", "--rerun-incomplete", "--until", "train_autoencoder")


def test_before_any_run_every_job_waits(project):
    done = status(project, "--configfile", "study.yaml")
    assert done.returncode == 0, done.stderr
    table = stages(done.stdout)
    assert table["preprocess"] == {"done": 0, "running": 0, "waiting": 2, "failed": 0, "jobs": 2}
    assert table["train_segmentation"]["jobs"] == table["score_segmentation"]["jobs"] > 2
    assert (
        table["all stages"]["waiting"] == table["all stages"]["jobs"] == sum(row["jobs"] for row in table.values()) / 2
    )
    assert "No run of this study has been started here yet." in done.stdout
    assert list(table)[:2] == ["find_cases", "preprocess"], "stages are in the order of the work"
    assert not (project / ".snakemake/log").exists(), "a look leaves no log of a run"


def test_a_run_from_its_start_through_every_kind_of_end(project):
    """One run after the other in the same folder, as a user has them; each look is a new process."""
    assert snakemake(project, "cohort", "--configfile", "study.yaml").returncode == 0
    with Run(project, *OPTIONS) as run:
        run.wait_for(" left, loss ")
        done = status(project)
        assert done.returncode == 0, done.stdout + done.stderr
        table = stages(done.stdout)
        assert table["preprocess"]["done"] == 2
        assert table["train_autoencoder"] == {"done": 0, "running": 1, "waiting": 0, "failed": 0, "jobs": 1}
        assert table["train_generator"]["waiting"] == 1
        running = done.stdout.split("running:\n")[1].split("\n\n")[0]
        assert re.fullmatch(
            r"  n_real~4/train_autoencoder/slice_vae, for \d+ (s|min), \d+ of 200000 steps, [\d.]+ steps/s, [\d:]+ left, loss [\d.]+",
            running,
        )
        assert "Snakemake has been at work since 20" in done.stdout
        assert "\033" not in done.stdout, "no colours in a pipe"

        wait_for(checkpoint_under(project / STATE), "a checkpoint", run.process)
        run.training().kill()
        assert run.process.wait(timeout=180) != 0
    done = status(project)
    assert done.returncode == 1
    assert stages(done.stdout)["train_autoencoder"]["failed"] == stages(done.stdout)["all stages"]["failed"] == 1
    assert f"n_real~4/train_autoencoder/slice_vae  ({LOG})\n      ended by SIGKILL\n" in done.stdout
    assert "left, loss" in done.stdout, "the last that it wrote"
    assert "Nothing is running. What is done stays: fix what failed, then start it again" in done.stdout

    with Run(project, *OPTIONS) as run:
        run.wait_for("goes on from the checkpoint")
        assert stages(status(project).stdout)["train_autoencoder"]["running"] == 1, "the failure is the older run's"
        training = run.training()
        run.process.kill()  # Snakemake alone: what it started is an orphan now
        run.process.wait()
        done = status(project)
        assert done.returncode == 0
        assert stages(done.stdout)["train_autoencoder"]["running"] == 1
        assert "is gone, but jobs of it are still there" in done.stdout
        training.kill()
        psutil.wait_procs([training], timeout=60)
    done = wait_for(lambda: (now := status(project)).returncode == 1 and now, "the end of its tee")
    table = stages(done.stdout)
    assert table["train_autoencoder"] == {"done": 0, "running": 0, "waiting": 0, "failed": 0, "cut off": 1, "jobs": 1}
    assert table["preprocess"]["done"] == 2
    assert (
        "unlock the folder (the same command with `--unlock`), then start it again by the same command" in done.stdout
    )
    assert snakemake(project, "--configfile", "study.yaml", "--unlock").returncode == 0
    assert "last checkpoint: start it again by the same command" in status(project).stdout


def test_another_study_of_the_same_folder_is_told_by_its_own_config(project):
    (project / "other.yaml").write_text((project / "study.yaml").read_text().replace("run: tiny", "run: other"))
    done = status(project, "--configfile", "other.yaml")
    assert done.returncode == 0
    assert done.stdout.startswith("results/other: 0 of ")
    assert "No run of this study has been started here yet." in done.stdout
    assert status(project, "--configfile", "study.yaml", "--config", "run=other").stdout == done.stdout


def test_a_mistake_in_the_config_is_a_sentence(project):
    done = status(project, "--configfile", "study.yaml", "--config", "sytems=[ldm_3d]")
    assert done.returncode == 2
    assert "unknown key 'sytems'" in done.stderr and "Did you mean 'systems'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_case_is_told_in_the_sentence_of_its_program(tmp_path):
    (tmp_path / "project").mkdir()
    project = copy_project(tmp_path / "project")
    for index in range(8):
        case = small_cases.make_case(tmp_path / "data", f"BraTS-GLI-{index:05d}-000", seed=index)
    case["t1c"].write_bytes(b"no image")
    settings = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text()) | {"on_bad_case": "fail"}
    (project / "study.yaml").write_text(yaml.safe_dump(settings | {"data_root": str(tmp_path / "data")}))
    done = snakemake(project, "cohort", "--keep-going", "--configfile", "study.yaml")
    assert done.returncode != 0
    done = status(project)
    assert done.returncode == 1
    table = stages(done.stdout)
    assert "demo_cohort" not in table
    assert table["find_cases"]["done"] == 1
    assert table["preprocess"] == {"done": 1, "running": 0, "waiting": 0, "failed": 1, "jobs": 2}
    failed = done.stdout.split("failed:\n")[1]
    assert re.search(r"^      error: case BraTS-GLI-00007-000: .*t1c", failed, flags=re.MULTILINE)

    settings["on_bad_case"] = "reject"
    (project / "study.yaml").write_text(yaml.safe_dump(settings | {"data_root": str(tmp_path / "data")}))
    assert snakemake(project, "cohort", "--configfile", "study.yaml").returncode == 0
    done = status(project)
    assert done.returncode == 0
    assert stages(done.stdout)["preprocess"]["done"] == 2
    assert re.search(r"Nothing is running, \d+ jobs wait: start it again", done.stdout)
