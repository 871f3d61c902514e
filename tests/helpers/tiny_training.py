"""Two tiny problems for the training loop, and a program that trains them, to be killed by tests."""

from __future__ import annotations

import argparse
import json
import time

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from workflow_scripts.base.cli import run_program
from workflow_scripts.base.seeds import torch_rng
from workflow_scripts.training.launch import train
from workflow_scripts.training.state import StateFolder
from workflow_scripts.training.task import Player

SETTINGS = {
    "steps": 60,
    "batch_size": 8,
    "warmup_steps": 5,
    "decay": "cosine",
    "gradient_clip": 1.0,
    "ema_half_life_steps": 10,
    "precision": "32",
    "checkpoint_minutes": 0,
    "log_every_steps": 5,
}


def _seeded(make, *keys):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_rng(*keys).initial_seed())
        return make()


class Regression:
    """A small convolutional network learns to blur images. `bad_step`: the step with a NaN in its batch."""

    def __init__(self, seed: int = 0, batch_size: int = 8, bad_step: int | None = None, pause_s: float = 0.0):
        self.seed, self.batch_size, self.bad_step, self.pause_s = seed, batch_size, bad_step, pause_s
        network = _seeded(
            lambda: nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(8, 1, 1)
            ),
            *(seed, "init"),
        )
        self.players = {"network": Player(network, learning_rate=1e-2, weight_decay=0.01)}

    def batch(self, step: int) -> dict[str, Tensor]:
        time.sleep(self.pause_s)
        x = torch.randn((self.batch_size, 1, 8, 8), generator=torch_rng(self.seed, "batch", step))
        if step == self.bad_step:
            x[0] = torch.nan
        return {"x": x, "y": nn.functional.avg_pool2d(x, 3, 1, 1)}

    def loss(self, player, modules, batch, step):
        error = modules["network"](batch["x"]) - batch["y"]
        return error.square().mean(), {"mae": error.abs().mean()}


class Adversaries:
    """A least-squares GAN on points of a circle (Mao et al. 2017): two players, each with its own loss."""

    def __init__(self, batch_size: int = 16, pause_s: float = 0.0):
        self.batch_size, self.pause_s = batch_size, pause_s

        def network(inputs, outputs):
            return nn.Sequential(nn.Linear(inputs, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, outputs))

        self.players = {
            "critic": Player(_seeded(lambda: network(2, 1), "critic"), learning_rate=2e-3),
            "maker": Player(_seeded(lambda: network(4, 2), "maker"), learning_rate=1e-3),
        }

    def batch(self, step: int) -> dict[str, Tensor]:
        time.sleep(self.pause_s)
        generator = torch_rng("circle", step)
        angle = torch.rand((self.batch_size, 1), generator=generator) * 2 * torch.pi
        return {
            "real": torch.cat([angle.cos(), angle.sin()], dim=1),
            "noise": torch.randn((self.batch_size, 4), generator=generator),
        }

    def loss(self, player, modules, batch, step):
        made = modules["maker"](batch["noise"])
        if player == "maker":
            loss = (modules["critic"](made) - 1).square().mean()
        else:
            loss = (modules["critic"](batch["real"]) - 1).square().mean() + modules["critic"](
                made.detach()
            ).square().mean()
        return loss, {"radius": made.norm(dim=1).mean()}


PROBLEMS = {"regression": Regression, "adversaries": Adversaries}


def main(argv=None) -> None:
    """Train a problem and write its weights."""
    parser = argparse.ArgumentParser()
    parser.add_argument("problem", choices=PROBLEMS)
    parser.add_argument("state")
    parser.add_argument("out")
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--task", type=json.loads, default={})
    args = parser.parse_args(argv)
    with StateFolder(args.state, "tiny", "0", wait_seconds=0) as state:
        weights = train(PROBLEMS[args.problem](**args.task), SETTINGS | args.settings, state, "training tiny")
    flat = {f"{player}.{name}": value for player, named in weights.items() for name, value in named.items()}
    save_file(flat, args.out)


if __name__ == "__main__":
    run_program(main)
