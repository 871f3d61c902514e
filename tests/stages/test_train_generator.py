"""Training the generator: it learns its latents under their conditions, and refuses what cannot be."""

import csv
import json
import os

import numpy as np
import pytest
import tiny_generator
import torch
from safetensors.torch import load_file, save_file
from tiny_generator import CONFIG, TRAINING

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.diffusion.conditioning import Conditioning
from workflow_scripts.diffusion.conditions import ConditionTable
from workflow_scripts.diffusion.denoising import DenoisingTask
from workflow_scripts.diffusion.generator import Request
from workflow_scripts.diffusion.kinds import load_generator
from workflow_scripts.diffusion.parameterizations import add_noise, target
from workflow_scripts.diffusion.schedules import build_schedule
from workflow_scripts.diffusion.training_set import TrainingSet
from workflow_scripts.reporting.datasheet import model_card
from workflow_scripts.study.settings.generator import Conditions, Diffusion
from workflow_scripts.study.settings.synthesis import SynthesisSettings
from workflow_scripts.study.settings.training import TrainSettings
from workflow_scripts.training.model_files import load_model, save_model


def config(**training):
    return CONFIG | {"diffusion": CONFIG["diffusion"] | {"training": TRAINING | training}}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two cases; the autoencoder is not trained, its latents are as good as any."""
    return tiny_generator.make_inputs(tmp_path_factory.mktemp("two"), count=2, steps=0)


@pytest.fixture(scope="module")
def trained(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return tiny_generator.train(inputs, folder / "state", folder / "model", config(batch_size=8))


@pytest.fixture
def copy(inputs, tmp_path):
    """A copy of the inputs, to be spoilt."""
    for file in inputs.glob("*/*"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_the_model_folder_says_all_that_synthesis_needs(inputs, trained):
    weights, contract = load_model(trained)
    assert contract["kind"] == "generator"
    assert contract["training_case_ids"] == ["head-00000-000", "head-00001-000"]
    assert contract["latent"]["shape"] == [3, 12, 4, 4]
    table = read_tsv(inputs / "latents" / "conditions.tsv")
    names = contract["features"]["names"]
    np.testing.assert_allclose(weights["features.table"], table[names], rtol=1e-6)
    np.testing.assert_allclose(contract["features"]["max"], table[names].max(), rtol=1e-6)
    assert contract["foreground_volume_ml"] == [
        table["foreground_volume_ml"].min(),
        table["foreground_volume_ml"].max(),
    ]
    assert contract["min_largest_piece_fraction"] == 0.9
    autoencoder, _ = load_model(inputs / "autoencoder")
    assert all(torch.equal(weights[f"autoencoder.{name}"], value) for name, value in autoencoder.items())


def test_the_model_is_written_by_who_holds_the_state(inputs, tmp_path, holders_at_save):
    holders = holders_at_save(tmp_path / "state")
    tiny_generator.train(inputs, tmp_path / "state", tmp_path / "model", config(steps=2))
    assert [json.loads(holder)["process"] for holder in holders] == [os.getpid()]


def test_the_loss_falls(trained):
    with (trained / "loss.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    losses = [float(row["denoiser_unweighted"]) for row in rows]
    assert len(rows) == TRAINING["steps"] / TRAINING["log_every_steps"]
    assert np.mean(losses[-5:]) < 0.35 * np.mean(losses[:5])


FLOW = {"parameterization": "flow", "schedule": "flow"}


@pytest.fixture(scope="module")
def trained_by_flow(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    settings = CONFIG | {"diffusion": CONFIG["diffusion"] | FLOW}
    return tiny_generator.train(inputs, folder / "state", folder / "model", settings)


@pytest.mark.parametrize(
    ("model", "sampler"),
    [
        ("trained", {"name": "dpmpp_2m", "steps": 20}),
        ("trained", {"name": "ddpm", "steps": 100}),
        ("trained_by_flow", {"name": "heun", "steps": 10}),
        ("trained_by_flow", {"name": "euler", "steps": 20}),
    ],
)
def test_two_latents_are_learned_each_under_its_own_conditions(inputs, model, sampler, request):
    settings = SynthesisSettings.read({"sampler": sampler, "precision": "32"})
    generator = load_generator(request.getfixturevalue(model), settings, torch.device("cpu"))
    latents = torch.stack([value for _, value in sorted(load_file(inputs / "latents" / "latents.safetensors").items())])
    rngs = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    made = generator.latents([Request(*each) for each in zip(generator.conditions.rows, rngs, strict=True)])
    distance = (made[:, None] - latents[None]).square().mean(dim=(2, 3, 4, 5)).sqrt()  # (made, real)
    apart = (latents[0] - latents[1]).square().mean().sqrt()
    assert distance[0, 0] < 0.5 * distance[0, 1]
    assert distance[1, 1] < 0.5 * distance[1, 0]
    assert distance.diagonal().max() < 0.5 * apart


class Numbers(ConditionTable):
    """Conditions that are told as they are."""

    def normalise(self, conditions):
        return conditions


def task(count=5, batch_size=4, **diffusion):
    latents = torch.randn(count, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    settings = TrainSettings.read({"steps": 1, "batch_size": batch_size})
    table = ConditionTable(("number",), np.arange(count, dtype=np.float64)[:, None])
    data = TrainingSet([], latents, {}, table, [], {}, [])
    told = Conditioning(Conditions(), Numbers(table.names, table.rows), {}, ())
    return DenoisingTask(
        torch.nn.Linear(1, 1), data, told, Diffusion(**{"timesteps": 100} | diffusion), settings, seed=7
    )


def test_a_batch_is_a_function_of_its_step():
    one, again, other = task().batch(3), task().batch(3), task().batch(4)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["noise"], other["noise"])
    assert {len(value) for value in one.values()} == {4}


def test_every_case_is_seen_equally_often_with_its_own_conditions():
    batches = [task().batch(step) for step in range(10)]
    seen = torch.cat([batch["conditions"] for batch in batches]).flatten()
    assert torch.bincount(seen.long()).tolist() == [8] * 5
    latents = torch.randn(5, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(batch["latents"], latents[batch["conditions"].long().flatten()]) for batch in batches)


def test_time_steps_cover_the_schedule_and_conditions_are_dropped_at_the_given_rate():
    many = task(batch_size=50, condition_dropout=0.2)
    batches = [many.batch(step) for step in range(40)]
    time_steps = torch.cat([batch["time"] for batch in batches])
    assert torch.bincount(time_steps, minlength=100).min() > 0
    assert torch.cat([batch["keep"] for batch in batches]).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert task(condition_dropout=0.0).batch(0)["keep"].all()


@pytest.mark.parametrize("loss", ["mse", "l1"])
@pytest.mark.parametrize("parameterization", ["epsilon", "v", "x0", "flow"])
def test_the_loss_is_zero_for_a_denoiser_that_knows_the_answer_and_not_for_another(parameterization, loss):
    schedule = "flow" if parameterization == "flow" else "cosine"
    trained = task(parameterization=parameterization, schedule=schedule, loss=loss)
    batch = trained.batch(0)
    levels = build_schedule(
        Diffusion(timesteps=100, schedule=schedule, parameterization="flow" if schedule == "flow" else "v")
    ).of(batch["time"])
    alpha, sigma = (level.view(-1, 1, 1, 1, 1) for level in levels)

    def oracle(x, time, conditions, keep):
        torch.testing.assert_close(x, add_noise(batch["latents"], batch["noise"], alpha, sigma))
        return target(parameterization, batch["latents"], batch["noise"], alpha, sigma)

    assert trained.loss("denoiser", {"denoiser": oracle}, batch, 0)[0] == 0
    assert trained.loss("denoiser", {"denoiser": lambda *args: oracle(*args) + 0.5}, batch, 0)[0] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system": None}, "system is empty"),
        ({"sampler": {}}, "unknown key 'sampler'"),
        ({"denoiser": {"kind": "unet_5d"}}, r"'unet_5d'.*unet_3d"),
        ({"diffusion": {"training": TRAINING, "parameterization": "flow"}}, "go together alone"),
        ({"diffusion": {"training": TRAINING | {"step": 5}}}, "unknown key 'step' under 'diffusion.training'"),
    ],
)
def test_a_wrong_config_is_refused_in_a_sentence(inputs, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        tiny_generator.train(inputs, tmp_path / "state", tmp_path / "model", CONFIG | change)
    assert not (tmp_path / "model").exists()


def spoil_digest(folder):
    weights, contract = load_model(folder / "autoencoder")
    save_model(folder / "autoencoder", weights, contract | {"seed": 99})


def spoil_cases(folder):
    latents = load_file(folder / "latents" / "latents.safetensors")
    save_file(latents | {"stranger": latents["head-00000-000"].clone()}, folder / "latents" / "latents.safetensors")


def spoil_shape(folder):
    latents = load_file(folder / "latents" / "latents.safetensors")
    halves = {name: value[:, :6].contiguous() for name, value in latents.items()}
    save_file(halves, folder / "latents" / "latents.safetensors")


def spoil_bytes(folder):
    (folder / "latents" / "latents.safetensors").write_bytes(b"cut off")


def spoil_columns(folder):
    table = read_tsv(folder / "latents" / "conditions.tsv")
    write_tsv(folder / "latents" / "conditions.tsv", table.drop(columns="sphericity"))


def spoil_values(folder):
    latents = load_file(folder / "latents" / "latents.safetensors")
    latents["head-00001-000"][0, 0, 0, 0] = float("nan")
    save_file(latents, folder / "latents" / "latents.safetensors")


def remove_scale(folder):
    (folder / "latents" / "latents.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_digest, "made by another autoencoder"),
        (spoil_cases, "different training cases"),
        (spoil_shape, "head-00000-000.*shape"),
        (spoil_bytes, r"latents\.safetensors cannot be read"),
        (spoil_columns, "lacks the columns sphericity"),
        (spoil_values, "not finite"),
        (remove_scale, r"latents\.json"),
    ],
)
def test_inputs_that_do_not_belong_together_are_refused_in_a_sentence(copy, spoil, message):
    spoil(copy)
    with pytest.raises(UserError, match=message):
        tiny_generator.train(copy, copy / "state", copy / "model")


def test_a_generator_is_no_autoencoder(inputs, trained, tmp_path):
    (tmp_path / "latents").symlink_to(inputs / "latents")
    (tmp_path / "autoencoder").symlink_to(trained)
    with pytest.raises(UserError, match="holds a generator, not an autoencoder"):
        tiny_generator.train(tmp_path, tmp_path / "state", tmp_path / "model")


def test_a_denoiser_starts_from_the_weights_of_another_one(inputs, trained, tmp_path):
    still = {"steps": 1, "learning_rate": 1e-12, "ema_half_life_steps": 0, "start_from": str(trained)}
    made = tiny_generator.train(inputs, tmp_path / "state", tmp_path / "model", config(**still))
    before, after = (load_model(folder)[0] for folder in (trained, made))
    assert all(torch.allclose(after[name], value, atol=1e-6) for name, value in before.items())
    assert [start["name"] for start in load_model(made)[1]["started_from"]] == ["tiny"]
    assert "`tiny`, trained on 2 other cases" in model_card(load_model(made)[1], {}, "0" * 64, simulated=True)
    with pytest.raises(UserError, match=r"start_from: .* holds another network \(kind 'autoencoder', here 'generator'"):
        folder = str(inputs / "autoencoder")
        tiny_generator.train(inputs, tmp_path / "s", tmp_path / "m", config(start_from=folder))
