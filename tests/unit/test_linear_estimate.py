"""The best linear estimate that a denoiser may be given: a Wiener filter by the spectrum of the training latents."""

import pytest
import tiny_generator
import torch
from tiny_generator import CONFIG, TRAINING
from torch import nn

from workflow_scripts.base.errors import UserError
from workflow_scripts.diffusion.kinds import load_generator
from workflow_scripts.diffusion.linear_estimate import WithLinearEstimate
from workflow_scripts.diffusion.parameterizations import add_noise, target, to_x0
from workflow_scripts.diffusion.samplers import correlated
from workflow_scripts.diffusion.schedules import build_schedule
from workflow_scripts.study.settings.generator import Diffusion
from workflow_scripts.study.settings.synthesis import SynthesisSettings
from workflow_scripts.training.model_files import load_model

SHAPE = (2, 12, 10, 6)
SCHEDULE = build_schedule(Diffusion(timesteps=100))


class Nothing(nn.Module):
    """A network that has learned nothing: it keeps what it is told."""

    def forward(self, x, *told):
        self.told = x
        return torch.zeros_like(x[:, : SHAPE[0]])


def smooth(count: int) -> torch.Tensor:
    """Random volumes of unit variance whose neighbours are alike, the second channel more so than the first."""
    volumes = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))
    for channel, rounds in ((0, 1), (1, 3)):
        for _ in range(rounds):
            for axis in (1, 2, 3):
                volumes[:, channel] = volumes[:, channel] + volumes[:, channel].roll(1, axis)
    return volumes / volumes.std(dim=(0, 2, 3, 4), keepdim=True)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@pytest.mark.parametrize("t", [10, 50, 90])
def test_the_estimate_is_the_best_that_a_linear_filter_gives(t, correlation):
    latents = smooth(200)
    noise = correlated(torch.randn(latents.shape, generator=torch.Generator().manual_seed(1)), correlation)
    alpha, sigma = SCHEDULE.at(t)
    noisy, time = add_noise(latents, noise, alpha, sigma), torch.full((len(latents),), t)
    denoiser = WithLinearEstimate(Nothing(), SHAPE, SCHEDULE, correlation)

    def error() -> float:
        x0 = to_x0("v", denoiser(noisy, time), noisy, alpha, sigma)
        assert torch.allclose(x0, denoiser.network.told[:, SHAPE[0] :], atol=1e-4), "the network is told it, too"
        return float((x0 - latents).square().mean())

    denoiser.measure(latents)
    best = error()
    scaled = alpha / (alpha**2 + sigma**2) * noisy  # the best without a look at frequencies
    assert best < 0.95 * float((scaled - latents).square().mean())
    measured = denoiser.power.clone()
    for wrong in (measured * 1.5, measured / 1.5, measured.flip(0)):
        denoiser.power.copy_(wrong)
        assert error() > best
    denoiser.power.copy_(measured)
    linear = denoiser(noisy, time)
    denoiser.network.forward = lambda x, *told: torch.ones_like(x[:, : SHAPE[0]])
    unit = (denoiser(noisy, time) - linear).mean()
    left = (target("v", latents, noise, alpha, sigma) - linear).std()
    assert float(unit) == pytest.approx(float(left), rel=0.1), "what is left to learn has a variance of 1"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return tiny_generator.make_inputs(tmp_path_factory.mktemp("two"), count=2, steps=0)


def config(**training) -> dict:
    return CONFIG | {"diffusion": CONFIG["diffusion"] | {"linear_estimate": True, "training": TRAINING | training}}


def test_a_denoiser_learns_with_it_and_draws_with_what_it_measured(inputs, tmp_path):
    made = tiny_generator.train(inputs, tmp_path / "state", tmp_path / "model", config(steps=5))
    weights, _ = load_model(made)
    assert (weights["network.power"] > 0).all() and weights["network.power"].std() > 0.1
    generator = load_generator(made, SynthesisSettings(), torch.device("cpu"))
    assert torch.equal(generator.network.power, weights["network.power"])
    drawn = generator.drawn(generator.conditions.rows[:1], [torch.Generator().manual_seed(0)])
    assert drawn.shape == (1, 3, 12, 4, 4) and drawn.isfinite().all()


def test_what_starts_from_another_denoiser_keeps_its_own_measurement(inputs, tmp_path):
    first = tiny_generator.train(inputs, tmp_path / "s", tmp_path / "first", config(steps=2))
    other = tiny_generator.make_inputs(tmp_path / "other", count=3, steps=0)
    second = tiny_generator.train(other, tmp_path / "t", tmp_path / "second", config(steps=1, start_from=str(first)))
    third = tiny_generator.train(other, tmp_path / "u", tmp_path / "third", config(steps=1))
    power = [load_model(folder)[0]["network.power"] for folder in (first, second, third)]
    assert torch.equal(power[1], power[2]) and not torch.equal(power[0], power[1])


def test_it_goes_with_velocities_alone():
    with pytest.raises(UserError, match="linear_estimate is true, but goes with `parameterization: v` alone"):
        Diffusion.read({"linear_estimate": True, "parameterization": "x0"}, "diffusion")
