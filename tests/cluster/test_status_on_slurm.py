"""`make status` beside a study on a real Slurm: jobs that run, are queued again, are cancelled, and fail with a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import small_cases
import yaml
from cluster_study import Running, ask_slurm, jobs, write_profile
from study_status import stages, status
from waiting import wait_for
from workflow import ROOT, copy_project, snakemake

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]


def study(folder: Path, **settings) -> Path:
    """A project with the tiny study on eight cases of its own; the autoencoder trains for many minutes."""
    (folder / "project").mkdir()
    project = copy_project(folder / "project")
    write_profile(project)
    for index in range(8):
        small_cases.make_case(folder / "data", f"BraTS-GLI-{index:05d}-000", seed=index)
    tiny = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text()) | {"data_root": str(folder / "data")} | settings
    tiny["system_settings"]["slice_ldm"]["autoencoder"]["training"].update(steps=200000, checkpoint_minutes=0.05)
    (project / "study.yaml").write_text(yaml.safe_dump(tiny))
    return project


def seen(project: Path, text: str):
    """A look whose status holds `text`: its output, else None."""

    def look():
        started = list((project / ".snakemake" / "events").glob("*"))  # before, the shipped config is told of
        done = status(project)
        assert done.returncode in (0, 1) or not started, done.stderr
        return done.stdout if re.search(text, done.stdout) else None

    return look


def test_a_training_that_runs_is_queued_again_and_is_cancelled(slurm, tmp_path):
    project = study(tmp_path)
    options = ("--configfile", "study.yaml", "--retries", "0", "--until", "train_autoencoder")
    running = Running(project, *options)
    try:
        text = running.wait_for(seen(project, r"steps/s, [\d:]+ left, loss"), "progress of the training")
        table = stages(text)
        assert table["train_autoencoder"]["running"] == table["all stages"]["running"] == 1
        assert table["preprocess"]["done"] == 2
        assert table["merge_cohort"]["done"] == table["split_cohort"]["done"] == 1, "jobs that share a submission"
        assert re.search(r"^  n_real~4/train_autoencoder/slice_vae, submitted .* ago, \d+ of 200000 steps", text, re.M)
        job = running.job_of("train_autoencoder")
        ask_slurm("scontrol", "requeuehold", job)
        text = running.wait_for(seen(project, "queued"), "a queued job")
        assert stages(text)["train_autoencoder"]["queued"] == 1
        running.kill()  # what the cluster has been given stays with it
        text = wait_for(seen(project, "is gone, but jobs of it are still there"), "the orphan")
        assert stages(text)["train_autoencoder"]["queued"] == 1
        ask_slurm("scancel", job)
        text = wait_for(seen(project, "was cut off"), "the end of the orphan")
        assert stages(text)["train_autoencoder"]["cut off"] == 1
        assert status(project).returncode == 1

        assert snakemake(project, "--configfile", "study.yaml", "--unlock").returncode == 0
        running = Running(project, *options)
        job = running.job_of("train_autoencoder")
        ask_slurm("scancel", job)
        assert running.process.wait(timeout=120) != 0
        done = status(project)
        assert done.returncode == 1
        assert stages(done.stdout)["train_autoencoder"]["failed"] == 1
        assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in done.stdout
    finally:
        if running.process.poll() is None:
            running.kill()
        for job in jobs("train_autoencoder"):
            ask_slurm("scancel", job)


def test_a_job_that_fails_again_and_again_is_told_once_with_its_sentence(slurm, tmp_path):
    project = study(tmp_path, on_bad_case="fail")
    (tmp_path / "data/BraTS-GLI-00007-000/BraTS-GLI-00007-000-t1c.nii.gz").write_bytes(b"no image")
    running = Running(project, "cohort", "--configfile", "study.yaml", "--retries", "1")
    try:
        assert running.process.wait(timeout=600) != 0
    finally:
        if running.process.poll() is None:
            running.kill()
    done = status(project)
    assert done.returncode == 1
    table = stages(done.stdout)
    assert (table["preprocess"]["done"], table["preprocess"]["failed"]) == (1, 1)
    assert table["merge_cohort"]["waiting"] == 1
    failed = done.stdout.split("failed:\n")[1]
    assert "      failed 2 times\n" in failed
    assert re.search(r"^      error: case BraTS-GLI-00007-000: .*t1c", failed, flags=re.MULTILINE)
    assert jobs("preprocess", "RUNNING") == []
