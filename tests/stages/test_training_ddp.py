"""Two processes that share a batch make the same steps as one that has all of it."""

import csv

import pytest
import torch
from tiny_training import SETTINGS, Adversaries, Regression

from workflow_scripts.base.errors import UserError
from workflow_scripts.training.launch import train
from workflow_scripts.training.state import StateFolder

TOLERANCE = 1e-4  # relative: gradients are summed in another order (fp32)


class WithoutDropout(Regression):
    """Each process draws its own dropout, so two processes cannot match one that has it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        del self.players["network"].module[3]


def losses(folder) -> dict[str, list[float]]:
    with (folder / "loss.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def test_two_processes_have_the_losses_of_one_of_each_of_two_players(tmp_path):
    found = {}
    for devices in (1, 2):
        with StateFolder(tmp_path, "tiny", str(devices)) as state:
            settings = SETTINGS | {"steps": 20, "devices": devices, "batch_size": 16}
            weights = train(Adversaries(), settings, state, "training")
            found[devices] = losses(state.folder), weights
    assert found[1][0].keys() == found[2][0].keys()
    for key, values in found[1][0].items():
        assert found[2][0][key] == pytest.approx(values, rel=TOLERANCE), key
    for player, named in found[1][1].items():
        for name, value in named.items():
            torch.testing.assert_close(found[2][1][player][name], value, rtol=1e-3, atol=1e-4)


def test_an_error_in_two_processes_is_one_sentence_and_the_run_goes_on_to_the_loss_of_one(tmp_path):
    settings = SETTINGS | {"steps": 20}
    with StateFolder(tmp_path / "one", "tiny", "0") as state:
        whole = train(WithoutDropout(), settings, state, "training")["network"]
        curves = losses(state.folder)
    with StateFolder(tmp_path / "cut", "tiny", "0") as state:
        with pytest.raises(UserError, match=r"step 13 .*step 10 is kept"):
            train(WithoutDropout(bad_step=12), settings | {"devices": 2}, state, "training")
        resumed = train(WithoutDropout(), settings | {"devices": 2}, state, "training")["network"]
        for key, values in losses(state.folder).items():
            assert values == pytest.approx(curves[key], rel=TOLERANCE), key
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow  # a third start of two processes: the test above goes without it, and without dropout
def test_two_processes_with_dropout_resume_exactly(tmp_path):
    settings = SETTINGS | {"steps": 20, "devices": 2}
    with StateFolder(tmp_path / "whole", "tiny", "0") as state:
        whole = train(Regression(), settings, state, "training")["network"]
    with StateFolder(tmp_path / "cut", "tiny", "0") as state:
        with pytest.raises(UserError, match=r"step 13 .*step 10 is kept"):
            train(Regression(bad_step=12), settings, state, "training")
        resumed = train(Regression(), settings, state, "training")["network"]
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
