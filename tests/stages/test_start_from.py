"""A training that starts from the weights of another one (`training.start_from`)."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tiny_autoencoder import arguments, curve, run
from waiting import rows_under, wait_for

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_json
from workflow_scripts.base.provenance import ROOT
from workflow_scripts.cohort.subset import patient_digest
from workflow_scripts.training.model_files import load_model, save_model

CASES = [f"BraTS-GLI-{number:05d}-000" for number in range(3)]
PROGRAM = "workflow_scripts.programs.autoencoder.train_autoencoder"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, preprocessed_cohort):
    folder = preprocessed_cohort(tmp_path_factory.mktemp("cohort"), cases=3)
    write_json(folder / "splits.json", {"seed": 0, "train": {"3": CASES}})
    return folder


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    return run(cohort, tmp_path_factory.mktemp("trained"))


def test_a_training_starts_from_the_weights_of_another_one(cohort, trained, tmp_path):
    """Here of the same patients: that they are others is for the split to see."""
    still = {"steps": 1, "learning_rate": 1e-12, "warmup_steps": 0, "ema_half_life_steps": 0}
    made = run(cohort, tmp_path, training={**still, "start_from": str(trained)})
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, made))
    assert all(torch.allclose(after[name], value, atol=1e-6) for name, value in before.items())
    contract = read_json(made / "model.json")
    digest = read_json(trained / "model.json")["weights_sha256"]
    masks = read_tsv(cohort / "cases.tsv").set_index("case_id").mask_digest[CASES]
    seen = {
        "training_case_ids": CASES,
        "training_patient_digests": sorted(patient_digest(case_id[:-4]) for case_id in CASES),
    }
    seen |= {"training_mask_digests": sorted(masks)}
    begun = {"kind": "autoencoder", "name": "slice_vae", "weights_sha256": digest}
    assert contract["started_from"] == [begun | seen] and contract.items() >= seen.items()
    assert str(trained) not in (made / "model.json").read_text(), "a released model names no path"
    first = curve(made)["autoencoder_loss"][0]
    assert first < 0.5 * curve(trained)["autoencoder_loss"][0], "it goes on from what the other had learned"


def test_where_the_start_lies_is_nothing_and_what_is_in_it_all(cohort, trained, tmp_path):
    """The same start in another folder goes on with the same training; another start is another training."""
    for name in ("moved", "other"):
        shutil.copytree(trained, tmp_path / name)
    weights, contract = load_model(tmp_path / "other")
    save_model(tmp_path / "other", {name: value * 1.01 for name, value in weights.items()}, contract)
    for folder in (trained, tmp_path / "moved", tmp_path / "other"):
        run(cohort, tmp_path, training={"steps": 1, "start_from": str(folder)})
    assert len(list((tmp_path / "state").glob("*/*/asked.json"))) == 2


@pytest.mark.parametrize(
    ("changes", "named"), [({"channels": [16, 32]}, "spec"), ({"regions": ["whole_tumor"]}, "masks")]
)
def test_a_start_of_another_network_is_refused(cohort, trained, tmp_path, changes, named):
    with pytest.raises(UserError, match=rf"start_from: {trained} holds another network \({named} "):
        run(cohort, tmp_path, changes, training={"start_from": str(trained)})


def test_killed_and_run_again_it_ends_in_the_same_bytes(cohort, trained, tmp_path):
    training = {"steps": 80, "start_from": str(trained), "log_every_steps": 1}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(cohort, whole, training=training)
    command = [sys.executable, "-m", PROGRAM, *arguments(cohort, cut, training=training)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    wait_for(rows_under(cut / "state", 5), "a curve", process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (cut / "autoencoder/model.json").exists()
    run(cohort, cut, training=training)
    for name in ("model.safetensors", "model.json", "loss.csv"):
        assert (cut / "autoencoder" / name).read_bytes() == (whole / "autoencoder" / name).read_bytes(), name
