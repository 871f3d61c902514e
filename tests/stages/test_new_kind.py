"""A kind of generator of one's own: one module and its line in the registry, in a copy of the project, and every program runs it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import warm
from tiny_generator import SYNTHESIS, TRAINING
from workflow import copy_project, planned

from workflow_scripts.base.files import read_json, read_tsv

MODULE = '''
"""The latent that follows from the conditions by a linear map, and a little noise."""

import torch
from torch import nn

from ..training.orders import Order
from ..training.task import Player
from .network_generator import NetworkGenerator
from .samplers import draw_noise


class Linear(nn.Module):
    def __init__(self, shape, n_conditions):
        super().__init__()
        self.shape, self.map = shape, nn.Linear(n_conditions, shape[0] * shape[1] * shape[2] * shape[3])

    def forward(self, conditions):
        return self.map(conditions).view(-1, *self.shape)


class RegressionTask:
    def __init__(self, network, data, conditions, settings, seed):
        self.players = {"network": Player(network, settings.learning_rate)}
        self.data, self.conditions, self.settings, self.seed = data, conditions, settings, seed

    def batch(self, step):
        chosen = Order(self.seed, "cases", len(self.data.latents)).batch(step, self.settings.batch_size)
        chosen = torch.from_numpy(chosen)
        return {"latents": self.data.latents[chosen], "conditions": self.conditions[chosen]}

    def loss(self, player, modules, batch, step):
        return (modules[player](batch["conditions"]) - batch["latents"]).square().mean(), {}


class Regression(NetworkGenerator):
    kind, network_block, player, normalised = "regression", "regression", "network", True

    @classmethod
    def build(cls, blocks, shape, names):
        return Linear(shape, len(names))

    @classmethod
    def task(cls, blocks, data, conditions, settings, seed):
        network = cls.build(blocks, data.scale["shape"], data.conditions.names)
        return RegressionTask(network, data, conditions, settings, seed)

    def draw(self, conditions, rngs, bounds):
        z = self.network(conditions)
        return z + self.contract["spec"]["noise"] * draw_noise(z.shape, rngs)

    def describe(self):
        return "a linear map"
'''
BLOCK = """
from .settings.base import Weight, key
from .settings.training import TrainSettings


class RegressionBlock(Block):
    noise: Weight = key(0.05, "", "added to the latent")
    training: TrainSettings = key(unit="", meaning="a batch holds volumes", defaults={"batch_size": 6})


KINDS = {
    "regression": Kind("diffusion.regression", "Regression", {"regression": RegressionBlock}, "regression"),
"""
SYSTEM = """
label: a linear map
kind: regression
autoencoder: slice_ldm
regression: {noise: 0.1}
"""


def add_kind(folder: Path) -> None:
    """The module, its line and its system, in a copy of the project."""
    (folder / "workflow_scripts/diffusion/regression.py").write_text(MODULE)
    path = folder / "workflow_scripts/study/generators.py"
    before, after = path.read_text().split("KINDS = {\n")
    path.write_text(before + BLOCK + after)
    (folder / "config/systems/linear.yaml").write_text(SYSTEM)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("project"))
    add_kind(folder)
    return folder


def program(project, name, *arguments):
    command = [warm.python(), "-m", f"workflow_scripts.programs.{name}", *map(str, arguments), "--threads", "1"]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, env=os.environ)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def test_its_system_is_planned_beside_the_others(project):
    jobs = planned(project, "synthetic", "--configfile", "config/demo.yaml", "--config", "systems=[slice_ldm,linear]")
    assert jobs["train_generator"] == 2 and jobs["train_autoencoder"] == 1


def test_the_programs_train_it_and_draw_from_it(project, trained_heads, tmp_path):
    config = {
        "system": "linear",
        "kind": "regression",
        "seed": 3,
        "regions": ["whole_tumor", "tumor_core", "enhancing_tumor"],
    }
    config |= {"regression": {"noise": 0.1, "training": TRAINING | {"steps": 200, "learning_rate": 0.02}}}
    space = ["--latents", trained_heads / "latents", "--autoencoder", trained_heads / "autoencoder"]
    space += ["--conditions", trained_heads / "latents/conditions.tsv"]
    to = ["--out", tmp_path / "model", "--state", tmp_path / "state"]
    program(project, "generator.train_generator", "--config", json.dumps(config), *space, *to)
    contract = read_json(tmp_path / "model/model.json")
    assert contract["generator"]["kind"] == "regression" and len(contract["training_case_ids"]) == 6
    said = program(
        *(project, "synthesis.synthesize", "--config", json.dumps(SYNTHESIS), "--model", tmp_path / "model"),
        *("--count", 3, "--out", tmp_path / "cases"),
    )
    assert "a linear map" in said
    table = read_tsv(tmp_path / "cases/cases.tsv")
    assert len(table) == 3 and (abs(table.measured_volume_ml / table.requested_volume_ml - 1) < 0.5).all()
    assert all(Path(tmp_path, "cases", case_id).is_dir() for case_id in table.case_id)
