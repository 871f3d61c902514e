"""One loop for every network: it learns, averages, schedules, logs, and refuses what cannot work."""

import csv
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_training import SETTINGS, Adversaries, Regression
from torch import nn

from workflow_scripts.base.errors import UserError
from workflow_scripts.training.ema import EMA
from workflow_scripts.training.launch import train
from workflow_scripts.training.prefetch import prefetched
from workflow_scripts.training.state import StateFolder, growth_digest, run_digest


def curve(state: StateFolder) -> list[dict]:
    with (state.folder / "loss.csv").open() as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


@pytest.fixture
def state(tmp_path):
    with StateFolder(tmp_path, "tiny", "0") as folder:
        yield folder


def test_a_network_learns_and_its_curve_is_written(state):
    train(Regression(), SETTINGS | {"steps": 200}, state, "training")
    rows = curve(state)
    assert [row["step"] for row in rows] == list(range(5, 205, 5))
    assert rows[-1]["network_loss"] < 0.2 * rows[0]["network_loss"]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert set(rows[0]) == {"step", *(f"network_{name}" for name in ("loss", "mae", "gradient_norm", "learning_rate"))}
    assert list((state.folder / "tensorboard").glob("events*"))


@pytest.mark.parametrize(("precision", "by_place"), [("32", True), ("bf16", False)])
def test_weights_of_slices_are_laid_out_as_a_cpu_reads_them_fastest(state, precision, by_place):
    task, strides = Regression(), []
    middle = nn.Conv2d(4, 4, 3, padding=1)
    middle.register_forward_hook(lambda module, inputs, output: strides.append(module.weight.stride(1)))
    task.players["network"].module = nn.Sequential(nn.Conv2d(1, 4, 1), middle, nn.Conv2d(4, 1, 1))
    train(task, SETTINGS | {"precision": precision, "steps": 5}, state, "training")
    assert [stride == 1 for stride in strides] == [by_place] * 5, "channels of a place side by side"


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_network_is_told_exactly_what_the_batch_holds(state, precision):
    """In bf16 a time step of 999 would be 1000, and neighbouring slices would be at one position."""
    task, told = Regression(), []
    task.players["network"].module.register_forward_pre_hook(lambda module, inputs: told.append(inputs[0].clone()))
    train(task, SETTINGS | {"precision": precision, "steps": 2}, state, "training")
    assert len(told) == 2 and all(torch.equal(x, task.batch(step)["x"]) for step, x in enumerate(told))


@pytest.mark.parametrize("half_life", [0, 10])
def test_weights_laid_out_for_tensor_cores_come_back_as_files_take_them(state, tmp_path, half_life):
    task = Regression()
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1))
    task.players["network"].module = network.to(memory_format=torch.channels_last)  # the loop does so on a GPU
    weights = train(task, SETTINGS | {"ema_half_life_steps": half_life}, state, "training")["network"]
    save_file(weights, tmp_path / "weights.safetensors")  # takes no other layout
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["1.weight"], weights["1.weight"])


def test_two_players_take_turns_each_on_its_own_loss(state):
    weights = train(Adversaries(), SETTINGS | {"steps": 400, "batch_size": 16}, state, "training")
    rows = curve(state)
    assert set(weights) == {"critic", "maker"}
    assert rows[0]["maker_radius"] < 0.5  # begins near the origin
    assert abs(rows[-1]["maker_radius"] - 1) < 0.3  # and reaches the circle
    assert rows[-1]["critic_loss"] != rows[-1]["maker_loss"]


def test_a_players_step_leaves_the_other_player_as_it_was(state):
    class CriticOnly(Adversaries):
        def loss(self, player, modules, batch, step):
            loss, terms = super().loss(player, modules, batch, step)
            return (loss if player == "critic" else 0 * loss), terms

    task = CriticOnly()
    before = {name: player.module.state_dict() for name, player in task.players.items()}
    before = {name: {key: value.clone() for key, value in weights.items()} for name, weights in before.items()}
    after = train(task, SETTINGS | {"batch_size": 16, "ema_half_life_steps": 0}, state, "training")
    assert all(torch.equal(after["maker"][key], value) for key, value in before["maker"].items())
    assert not all(torch.equal(after["critic"][key], value) for key, value in before["critic"].items())


def test_the_learning_rate_warms_up_and_decays(state):
    train(Regression(), SETTINGS | {"steps": 40, "warmup_steps": 10, "log_every_steps": 1}, state, "training")
    rates = [row["network_learning_rate"] for row in curve(state)]
    assert rates[:10] == pytest.approx([1e-2 * step / 10 for step in range(1, 11)])
    assert rates[10:] == pytest.approx([1e-2 * 0.5 * (1 + math.cos(math.pi * step / 30)) for step in range(30)])


def test_gradient_clipping_bounds_the_step(tmp_path):
    curves = {}
    for clip in (None, 1e-8):
        with StateFolder(tmp_path, "tiny", str(clip)) as state:
            # Adam scales gradients to its step, but for its epsilon of 1e-8: clipped to that, learning all but stops.
            train(Regression(), SETTINGS | {"gradient_clip": clip}, state, "training")
            curves[clip] = [row["network_loss"] for row in curve(state)]
    assert curves[None][-1] < 0.7 * curves[None][0]
    assert curves[1e-8][-1] > curves[None][-1] * 1.1


def test_the_average_has_the_stated_half_life_and_copies_buffers():
    module = nn.BatchNorm1d(2)
    module.weight.data.fill_(0.0)
    average = EMA(module, half_life_steps=20)
    module.weight.data.fill_(1.0)
    module.running_mean.fill_(7.0)
    for step in range(1000, 1020):  # long after the shorter averages of the first steps
        average.update(step)
    saved = average.state_dict()
    assert saved["weight"].tolist() == pytest.approx([0.5, 0.5])
    assert saved["running_mean"].tolist() == [7.0, 7.0]
    assert saved["num_batches_tracked"].dtype == torch.int64


def test_averaged_weights_are_returned_only_when_asked_for(tmp_path):
    results = {}
    for half_life in (0, 30):
        with StateFolder(tmp_path, "tiny", str(half_life)) as state:
            task = Regression()
            settings = SETTINGS | {"ema_half_life_steps": half_life, "decay": "constant"}
            weights = train(task, settings, state, "training")["network"]
            results[half_life] = all(
                torch.equal(weights[key], value) for key, value in task.players["network"].module.state_dict().items()
            )
    assert results == {0: True, 30: False}


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_batches_made_ahead_are_the_same_batches(ahead):
    with prefetched(lambda step: step * step, 3, 9, ahead) as batches:
        assert list(batches) == [9, 16, 25, 36, 49, 64]


def test_an_error_in_a_batch_made_ahead_is_raised_in_its_step():
    def make(step):
        if step == 4:
            raise UserError("volume of case X is missing")
        return step

    seen = []
    with pytest.raises(UserError, match="case X"), prefetched(make, 0, 9, 2) as batches:
        for batch in batches:
            seen.append(batch)
    assert seen == [0, 1, 2, 3]


def test_a_loss_that_is_not_finite_stops_with_its_step_and_a_remedy(state):
    with pytest.raises(UserError, match=r"step 13 .*checkpoint of step 10 is kept.*learning_rate"):
        train(Regression(bad_step=12), SETTINGS, state, "training")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepz": 3}, "unknown key 'stepz' under 'training'. Did you mean 'steps'"),
        ({"steps": 0}, "steps is 0, but must be a whole number of at least 1"),
        ({"steps": 2.5}, "whole number"),
        ({"batch_size": True}, "whole number"),
        ({"learning_rate": "fast"}, "a number above 0"),
        ({"learning_rate": math.nan}, "a number above 0"),
        ({"gradient_clip": 0}, "gradient_clip is 0"),
        ({"decay": "linear"}, "one of cosine, constant"),
        ({"precision": "16"}, "one of auto, bf16, 32"),
        ({"devices": 3}, "batch_size: 9"),
    ],
)
def test_wrong_settings_are_refused_with_the_key(state, change, message):
    with pytest.raises(UserError, match=message):
        train(Regression(), SETTINGS | change, state, "training")


def test_two_writers_of_one_state_folder_are_refused(tmp_path):
    with StateFolder(tmp_path, "stage", "digest"):
        with pytest.raises(UserError, match="in use by process"):
            StateFolder(tmp_path, "stage", "digest", wait_seconds=0)
        StateFolder(tmp_path, "stage", "another", wait_seconds=0).close()
    StateFolder(tmp_path, "stage", "digest", wait_seconds=0).close()


def test_a_training_with_more_steps_says_that_it_starts_again(tmp_path, caplog):
    """More steps for a trained system: nothing of the schedule is the same, and the log says so."""
    for digest, steps in (("0", 300), ("1", 300), ("2", 600)):
        with StateFolder(tmp_path, "tiny", digest) as state:
            state.asked_for("generator slice_ldm", {"training": {"steps": steps}, "masks": ["a"]})
            said, _ = caplog.text, caplog.clear()
            assert ("code or its input files have changed" in said) == (digest == "1")
            assert ("training.steps 300 there, 600 now" in said) == (digest == "2")
            assert ("goes on with more steps where" in said) == (digest == "2")
            (state.folder / "checkpoint-000000300.pt").touch()
            state.asked_for("generator slice_ldm", {"training": {"steps": steps}})
            assert not caplog.text, "a training that goes on says nothing of others"
    with StateFolder(tmp_path, "tiny", "3") as state:
        state.asked_for("generator ldm_3d", {"training": {"steps": 1}})
    assert not caplog.text, "another system's training is none of this one's"


def _trained(root, steps: int, digest: str, **settings):
    """A training of the number of steps, as `train_model` makes it: its weights and its curve."""
    settings = SETTINGS | {"decay": "constant"} | settings | {"steps": steps}
    grows = growth_digest({"training": settings}, "workflow_scripts.training.loop")
    with StateFolder(root, "tiny", digest) as state:
        state.asked_for("tiny training", {"training": settings}, grows, steps)
        weights = train(Regression(), settings, state, "tiny training")["network"]
        return weights, (state.folder / "loss.csv").read_bytes()


def test_a_training_with_more_steps_goes_on_where_the_first_ones_are_the_same(tmp_path, caplog):
    caplog.set_level("INFO", logger="sliceaug")
    whole, curve_of_whole = _trained(tmp_path / "whole", 40, "0")
    _trained(tmp_path / "grown", 20, "0")
    caplog.clear()
    grown, curve_of_grown = _trained(tmp_path / "grown", 40, "1")
    assert "tiny training goes on from step 20 of the training in" in caplog.text
    assert all(torch.equal(grown[name], weight) for name, weight in whole.items()) and curve_of_grown == curve_of_whole
    caplog.clear()
    fewer, _ = _trained(tmp_path / "grown", 15, "2")
    assert "training.steps 40 there, 15 now" in caplog.text
    assert not all(torch.equal(fewer[name], weight) for name, weight in whole.items())


@pytest.mark.parametrize(
    ("first", "settings", "then"),
    [(20, {"decay": "cosine"}, {}), (18, {}, {}), (20, {}, {"learning_rate": 0.02})],
    ids=["a cosine", "an end between two rows of the curve", "another learning rate"],
)
def test_a_training_that_is_no_beginning_is_not_gone_on_from(tmp_path, caplog, first, settings, then):
    caplog.set_level("INFO", logger="sliceaug")
    _trained(tmp_path, first, "0", **settings)
    _trained(tmp_path, 40, "1", **settings | then)
    assert f"starts from its first step: the earlier training in {tmp_path}/tiny/0 is another one" in caplog.text
    assert "goes on from" not in caplog.text


def test_the_digest_of_a_run_follows_settings_and_inputs_but_not_how_often_it_is_saved(tmp_path):
    file = tmp_path / "cases.tsv"
    file.write_text("a")
    module = "workflow_scripts.training.loop"
    settings = {"training": {"steps": 3, "checkpoint_minutes": 10}}
    base = run_digest(settings, module, file)
    assert run_digest({"training": {"checkpoint_minutes": 0, "steps": 3}}, module, file) == base
    assert run_digest({"training": {"steps": 4, "checkpoint_minutes": 10}}, module, file) != base
    file.write_text("b")
    assert run_digest(settings, module, file) != base
    with pytest.raises(UserError, match="missing file"):
        run_digest(settings, module, tmp_path / "gone.tsv")
