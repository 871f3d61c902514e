"""The weights that are kept are those with the lowest held-out loss; looking at it changes no step."""

from __future__ import annotations

import pytest
import torch
from tiny_training import SETTINGS, Regression

from workflow_scripts.training.launch import train
from workflow_scripts.training.state import StateFolder


class Listed:
    """Held-out losses as they are given, and the weights that they were asked about."""

    every_steps = 20

    def __init__(self, values):
        self.values, self.outputs = list(values), []

    def loss(self, modules, device):
        x = torch.linspace(-1, 1, 64, device=device).view(1, 1, 8, 8)
        self.outputs.append(modules["network"](x))
        return self.values.pop(0)


def trained(folder, values=None, **settings):
    task = Regression()
    if values is not None:
        task.held_out = Listed(values)
    with StateFolder(folder, "tiny", "0") as state:
        weights = train(task, SETTINGS | settings, state, "training")["network"]
    return weights, task


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_weights_of_the_lowest_loss_are_kept(tmp_path, best):
    weights, task = trained(tmp_path, [1.0 + (number != best) for number in range(3)])
    seen = task.held_out.outputs
    assert len(seen) == 3 and not task.held_out.values
    task.players["network"].module.load_state_dict(weights)
    again = task.players["network"].module.eval()(torch.linspace(-1, 1, 64).view(1, 1, 8, 8))
    differences = [float((again - output).detach().abs().max()) for output in seen]
    assert min(range(3), key=differences.__getitem__) == best and differences[best] < 1e-6


def test_looking_changes_no_step(tmp_path):
    looked, _ = trained(tmp_path / "looked", [3.0, 2.0, 1.0])
    alone, _ = trained(tmp_path / "alone")
    assert all(torch.equal(looked[name], value) for name, value in alone.items())


def test_the_best_so_far_outlives_a_stop(tmp_path):
    whole, _ = trained(tmp_path / "whole", [1.0, 2.0, 3.0])

    class Stopped(Regression):
        def batch(self, step):
            if step == 45:
                raise RuntimeError("killed")
            return super().batch(step)

    task = Stopped()
    task.held_out = Listed([1.0, 2.0])
    with StateFolder(tmp_path / "cut", "tiny", "0") as state, pytest.raises(RuntimeError, match="killed"):
        train(task, SETTINGS, state, "training")
    resumed, _ = trained(tmp_path / "cut", [3.0])
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
