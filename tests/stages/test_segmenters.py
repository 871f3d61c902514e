"""Every segmenter through the same tests: it plans from the training cases, trains, resumes to the same bytes, and learns."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import warm
from tiny_segmentation import TEST, TRAIN, VAL, Study
from waiting import checkpoint_under, wait_for
from workflow import copy_project, planned

from workflow_scripts.base.errors import UserError
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.study.segmenters import SEGMENTERS

ROOT = Path(__file__).resolve().parents[2]
FILES = ("model.safetensors", "progress.csv", "arm.json")


@pytest.fixture(scope="module", params=SEGMENTERS)
def study(request, tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("study"), request.param)
    study.make_plan(features_per_stage=[8, 16, 24])
    study.pool_real()
    return study


def dice(study, arm):
    """Whole-tumour Dice of each test case."""
    found = []
    for case_id in TEST:
        guess = np.asarray(nib.load(arm / "predictions" / f"{case_id}.nii.gz").dataobj).transpose(2, 1, 0) > 0
        truth = VolumeStore(study.volumes).levels(case_id) > 0
        found.append(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))
    return found


def test_it_plans_and_pools_without_a_test_case(study, tmp_path):
    shutil.copytree(study.folder, tmp_path / "study")
    copy = Study(tmp_path / "study", study.segmenter)
    before = copy.plan.read_bytes(), copy.real.read_bytes()
    for case_id in TEST:
        for file in copy.volumes.glob(f"{case_id}.*"):
            file.unlink()
    copy.make_plan(features_per_stage=[8, 16, 24])
    copy.pool_real()
    assert (copy.plan.read_bytes(), copy.real.read_bytes()) == before
    assert {re.sub(r"_(seg|locations)$", "", file.name.split(".")[0]) for file in copy.pool.iterdir()} == {*TRAIN, *VAL}


def test_an_arm_killed_and_run_again_ends_in_the_same_bytes(study, tmp_path):
    length = {"epochs": 4, "iterations_per_epoch": 4}
    mix, made = "sys/ratio~1_real_share", ("--synthetic", str(study.made()))
    whole = study.train("whole", mix, *made, "--state", str(tmp_path / "a"), **length)
    stopped = study.arm("stopped", mix)
    arguments = study.train_arguments(stopped, *made, "--state", str(tmp_path / "b"), checkpoint_minutes=0, **length)
    command = [warm.python(), "-m", "workflow_scripts.programs.segmentation.train_segmentation", *arguments]
    run = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **run)
    wait_for(checkpoint_under(tmp_path / "b"), "a checkpoint", process)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not any((stopped / name).exists() for name in FILES)
    assert subprocess.run(command, **run).returncode == 0
    assert [(stopped / name).read_bytes() for name in FILES] == [(whole / name).read_bytes() for name in FILES]


def test_trained_longer_it_finds_the_tumours_of_unseen_cases(study):
    arm = study.train("long", epochs=6, iterations_per_epoch=20, initial_learning_rate=0.03)
    losses = pd.read_csv(arm / "progress.csv").filter(like="loss").iloc[:, 0]
    assert len(losses) == 6 and losses.iloc[-1] < losses.iloc[0] - 0.3
    study.predict(arm)
    assert min(dice(study, arm)) > 0.7
    described = json.loads((arm / "arm.json").read_text())
    assert described["segmenter"] == study.segmenter and described["patches_seen"] == 240
    plain = [(arm / "predictions" / f"{case_id}.nii.gz").read_bytes() for case_id in TEST]
    study.predict(arm, mirroring=True)
    assert plain != [(arm / "predictions" / f"{case_id}.nii.gz").read_bytes() for case_id in TEST]
    assert min(dice(study, arm)) > 0.7


def test_each_way_of_mixing_is_another_training(study):
    ways = ("", "_real_share", "_synthetic_first")
    two = {"epochs": 2, "iterations_per_epoch": 1}
    arms = [study.train("mixing", f"sys/ratio~1{way}", "--synthetic", str(study.made()), **two) for way in ways]
    assert len({(arm / "model.safetensors").read_bytes() for arm in arms}) == 3


def test_the_control_without_augmentation_sees_other_batches(study):
    one_step = {"epochs": 1, "iterations_per_epoch": 2}
    arms = [study.train("control", mix, **one_step) for mix in ("real", "real_no_augmentation")]
    assert (arms[0] / "model.safetensors").read_bytes() != (arms[1] / "model.safetensors").read_bytes()
    axes = [json.loads((arm / "arm.json").read_text())["prediction"]["mirror_axes"] for arm in arms]
    assert axes == [[0, 1, 2], None]


def test_weights_of_another_plan_and_another_segmenters_plan_are_named(study, tmp_path):
    shutil.copytree(study.folder, tmp_path / "study")
    copy = Study(tmp_path / "study", study.segmenter)
    arm = copy.train("arm", epochs=1, iterations_per_epoch=1)
    copy.make_plan(features_per_stage=[4, 8, 16])
    with pytest.raises(UserError, match="does not fit the plan"):
        copy.predict(arm)
    copy.segmenter = next(name for name in SEGMENTERS if name != study.segmenter)
    copy.make_plan(features_per_stage=[4, 8, 16])
    with pytest.raises(UserError, match=f"the plan is one of {copy.segmenter}, not {study.segmenter}"):
        study.train("other", "real", "--plan", str(copy.plan))


def test_a_patch_that_dynunet_cannot_halve_says_what_to_write(tmp_path):
    with pytest.raises(UserError, match=r"a patch of \[15, 15, 15\] voxels allows 1.*patch_size: \[96, 96, 96\]"):
        Study(tmp_path, "monai_dynunet").make_plan(patch_size=[15, 15, 15], features_per_stage=None)


TOY = '''"""Says that nothing is tumour."""

POOL_SUFFIXES = (".txt",)


def plan(store, case_ids, head, settings, threads):
    return {}


def pool(plan, folder, pool_id, image, levels, spacing_mm):
    (folder / f"{pool_id}.txt").write_text("")
    return ""


def train(training):
    raise NotImplementedError


def predict(plan, weights_file, mirror_axes, precision, device):
    raise NotImplementedError
'''


def digest(project):
    """That of the code behind the training of nnU-Net's arms."""
    code = "from workflow_scripts.base.provenance import code_digest as of\nprint(of('workflow_scripts.programs.segmentation.train_segmentation'), "
    code += "of('workflow_scripts.segmentation.nnunet.train'))"
    return subprocess.run([sys.executable, "-c", code], cwd=project, text=True, capture_output=True, check=True).stdout


def test_a_segmenter_is_one_module_and_its_registration(tmp_path):
    copy_project(tmp_path)
    room = tmp_path / "workflow_scripts"
    (room / "segmentation/nothing.py").write_text(TOY)
    registry = room / "study/segmenters.py"
    registry.write_text(registry.read_text().replace("SEGMENTERS = {", 'SEGMENTERS = {"nothing": "Nothing", '))
    config = ["--configfile", str(ROOT / "tests/tiny.yaml"), "--config"]
    alone = planned(tmp_path, *config[:2])
    both = planned(tmp_path, *config, "segmentation={segmenters: [nnunet, nothing]}")
    assert both["train_segmentation"] == 2 * alone["train_segmentation"]
    assert both["plan_segmentation"] == both["pool_real"] == 2
    assert both["pool_synthetic"] == 2 * alone["pool_synthetic"]
    assert digest(tmp_path) == digest(ROOT), "arms of the other segmenters are not trained again"
    assert both["synthesize"] == alone["synthesize"], "all segmenters share the synthetic cases"
