"""What a tracker is given of a run, and what is said without its package. The trackers themselves are not in the lock."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
from parsed_workflow import parsed

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_json, write_tsv
from workflow_scripts.programs.reporting import track_run
from workflow_scripts.reporting.tracking import TRACKERS, ended_trainings


@pytest.fixture
def run(tmp_path):
    """A run with an autoencoder that has ended, a generator that has not, and an arm that has been scored."""
    model, begun = tmp_path / "n_real~3/autoencoder/slice_vae", tmp_path / "n_real~3/generator/slice_ldm"
    arm = tmp_path / "n_real~3/segmentation/nnunet/slice_ldm/ratio~1/seed~0"
    for folder in (model, begun, arm):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(folder.name.encode())
    for folder in (model, begun):
        (folder / "loss.csv").write_text("step,vae_loss\n50,0.5\n100,nan\n")
    write_json(
        model / "model.json", {"kind": "autoencoder", "name": "slice_vae", "seed": 0, "training": {"steps": 100}}
    )
    write_json(arm / "arm.json", {"system": "slice_ldm", "ratio": 1.0, "real_ids": ["patient"]})
    (arm / "progress.csv").write_text("epoch,train_loss,pseudo_dice_core\n0,1.5,\n1,1.25,0.5\n")
    write_tsv(arm / "dice.tsv", pd.DataFrame({"case_id": ["a", "b"], "region": "core", "dice": [0.5, 0.75]}))
    return tmp_path


def test_ended_trainings_have_their_curves_settings_and_scores(run):
    model, arm = ended_trainings(run)
    assert model.name == "n_real~3/autoencoder/slice_vae" and model.results == {}
    assert list(model.metrics()) == [(50, {"vae_loss": 0.5}), (100, {})], "what is no number is no point of a curve"
    assert model.facts["training"] == "{'steps': 100}"
    assert arm.name.endswith("slice_ldm/ratio~1/seed~0") and arm.results == {"dice_core": 0.625}
    assert list(arm.metrics()) == [(0, {"train_loss": 1.5}), (1, {"train_loss": 1.25, "pseudo_dice_core": 0.5})]
    assert "patient" not in str(arm.facts), "no patient's id leaves the run"
    (run / "n_real~3/autoencoder/slice_vae/model.safetensors").write_bytes(b"trained anew")
    assert ended_trainings(run)[0].digest != model.digest


@pytest.mark.parametrize("tracker", TRACKERS)
def test_without_its_package_a_tracker_says_what_to_install(run, tracker, monkeypatch):
    monkeypatch.setitem(sys.modules, tracker, None)
    options = ["--run", str(run), "--tracker", tracker, "--out", str(run / "tracking.txt")]
    with pytest.raises(UserError, match=rf"{tracker} needs the package {tracker}.*python -m pip install {tracker}"):
        track_run.main(options)
    assert not (run / "tracking.txt").exists()


def test_a_run_without_trainings_is_no_run(tmp_path):
    with pytest.raises(UserError, match="holds no training that has ended"):
        track_run.main(["--run", str(tmp_path), "--tracker", "mlflow", "--out", str(tmp_path / "x.txt")])


def test_the_key_asks_for_it_after_all_trainings_and_without_it_nothing_does():
    jobs = parsed(config='{"data_root": "demo", "tracking": "wandb"}')["jobs"]
    (job,) = (job for job in jobs if job["rule"] == "track_run")
    assert job["output"] == ["results/full/tracking/wandb.txt"] and "--tracker wandb" in job["command"]
    trained = [one for one in jobs if one["rule"] in ("train_autoencoder", "train_generator")]
    assert trained and all(set(one["output"]) & set(job["input"]) for one in trained)
    arms = {path for one in jobs if one["rule"] == "score_segmentation" for path in one["output"]}
    assert arms <= set(job["input"]) and "--after" not in job["command"]
    assert not [one for one in parsed()["jobs"] if one["rule"] == "track_run"]
