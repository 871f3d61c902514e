"""Training of an arm: exact resume, repeatable batches, and that it learns."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import warm
from tiny_segmentation import Study
from waiting import checkpoint_under, wait_for

from workflow_scripts.base.errors import UserError
from workflow_scripts.study.settings.segmentation import Segmentation

ROOT = Path(__file__).resolve().parents[2]
FILES = ("model.safetensors", "progress.csv", "arm.json")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("training"))
    study.make_plan()
    study.pool_real()
    return study


def start(study, out, state, **settings):
    arguments = study.train_arguments(out, "--state", str(state), checkpoint_minutes=0, **settings)
    command = [warm.python(), "-m", "workflow_scripts.programs.segmentation.train_segmentation", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def same(one, other):
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


def test_an_arm_stopped_in_mid_epoch_and_run_again_ends_in_the_same_bytes(study, tmp_path):
    length = {"epochs": 2, "iterations_per_epoch": 15}
    whole = study.train("whole", "real", "--state", str(tmp_path / "a"), **length)
    stopped = study.arm("stopped")
    process = start(study, stopped, tmp_path / "b", **length)
    wait_for(checkpoint_under(tmp_path / "b", step=18), "a checkpoint of the second epoch", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not any((stopped / name).exists() for name in FILES)
    again = start(study, stopped, tmp_path / "b", **length)
    assert again.wait(90) == 0
    assert same(whole, stopped)


def test_batches_do_not_depend_on_the_number_of_workers(study, tmp_path):
    alone = study.train("alone", "real", "--state", str(tmp_path / "a"), workers=0)
    helped = study.train("helped", "real", "--state", str(tmp_path / "b"), workers=2)
    assert (alone / "model.safetensors").read_bytes() == (helped / "model.safetensors").read_bytes()
    assert (alone / "progress.csv").read_bytes() == (helped / "progress.csv").read_bytes()


def test_bfloat16_is_repeatable_and_said_in_the_arm(study, tmp_path):
    one, again = (
        study.train(name, "real", "--state", str(tmp_path / name), precision="bf16") for name in ("one", "again")
    )
    assert same(one, again)
    assert json.loads((one / "arm.json").read_text())["training"]["precision"] == "bf16"
    exact = study.train("exact", precision="32")
    assert (one / "model.safetensors").read_bytes() != (exact / "model.safetensors").read_bytes()


def test_another_seed_gives_other_weights(study):
    one, other = study.train("seeds", seed=0), study.train("seeds", seed=1)
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_progress_has_a_row_an_epoch_and_no_times(study):
    progress = pd.read_csv(study.train("progress", epochs=3) / "progress.csv")
    regions = ["whole_tumor", "tumor_core", "enhancing_tumor"]
    wanted = ["epoch", "train_loss", "val_loss", *(f"pseudo_dice_{name}" for name in regions), "learning_rate"]
    assert list(progress.columns) == wanted
    assert progress["epoch"].tolist() == [0, 1, 2]
    assert progress["learning_rate"].is_monotonic_decreasing
    assert np.isfinite(progress[["train_loss", "val_loss"]].to_numpy()).all()


def test_a_diverging_training_says_what_to_set(study):
    with pytest.raises(UserError, match=r"no number any more.*initial_learning_rate below 1e\+30"):
        study.train("diverged", initial_learning_rate=1e30, epochs=1, iterations_per_epoch=12)


def test_an_arm_on_a_full_disk_goes_on_without_checkpoints_and_needs_room_for_the_last_alone(study, caplog, tmp_path):
    whole = study.train("roomy", "real", "--state", str(tmp_path / "roomy"), epochs=3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # a disk that takes no checkpoint
    try:
        with pytest.raises(OSError, match="too large"):
            study.train("full", "real", "--state", str(tmp_path / "full"), epochs=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    refused = "the checkpoint of step {} could not be written"
    assert all(refused.format(step) in caplog.text for step in (3, 6)), "one an epoch"
    assert "there is no earlier checkpoint. Free space there" in caplog.text
    assert same(whole, study.train("full", "real", "--state", str(tmp_path / "full"), epochs=3))


@pytest.mark.parametrize(
    ("workers", "threads", "on_gpu", "number"),
    [
        (None, 8, True, 7),
        (None, 64, True, 12),
        (None, 1, True, 1),
        (None, 8, False, 0),
        (3, 8, True, 3),
        (0, 8, True, 0),
    ],
)
def test_the_number_of_workers_follows_the_jobs_cpus(workers, threads, on_gpu, number):
    assert Segmentation(workers=workers).workers_for(threads, on_gpu) == number
