"""Samplers against closed forms: for Gaussian data the best denoiser is known, and so is what must come out."""

import math

import pytest
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.diffusion.parameterizations import PARAMETERIZATIONS, to_epsilon
from workflow_scripts.diffusion.samplers import SAMPLERS, X0Predictor, check_sampler, ddim, ddpm, dpmpp_2m, draw_noise
from workflow_scripts.diffusion.schedules import cosine, scaled_linear

MEAN, STD = 0.7, 0.3
SCHEDULES = {"cosine": cosine(1000), "scaled_linear": scaled_linear(1000, 0.002, 0.02)}


def gaussian(schedule):
    """E[x0 | x_t] where x0 is normal with MEAN and STD."""

    def predict(x, t):
        a = schedule.at(t)
        gain = a**0.5 * STD**2 / (a * STD**2 + 1 - a)
        return MEAN + gain * (x - a**0.5 * MEAN)

    return predict


def bimodal(schedule):
    """E[x0 | x_t] where x0 is -1 or +1, each blurred by 0.2: not linear in x."""

    def predict(x, t):
        a = schedule.at(t)
        variance = a * 0.04 + 1 - a
        side = torch.tanh(a**0.5 * x / variance)
        return side + a**0.5 * 0.04 / variance * (x - a**0.5 * side)

    return predict


def noise(count, seed=0):
    return torch.randn(count, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(name, predict, schedule, steps, eta=0.0, count=20_000):
    return SAMPLERS[name](predict, noise(count), schedule, steps, torch.Generator().manual_seed(1), eta)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("name", "eta"), [("ddpm", 1.0), ("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0), ("dpmpp_2m", 0.0)]
)
def test_gaussian_data_come_out_with_their_mean_and_variance(name, eta, schedule):
    x = run(name, gaussian(SCHEDULES[schedule]), SCHEDULES[schedule], 1000, eta)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert x.std().item() == pytest.approx(STD, abs=0.01)


@pytest.mark.parametrize("data", [gaussian, bimodal])
def test_twenty_steps_of_second_order_end_nearer_the_solution_than_twenty_of_first(data):
    schedule = SCHEDULES["cosine"]
    solution = run("ddim", data(schedule), schedule, 1000, count=500)
    of_first, of_second = (
        (run(name, data(schedule), schedule, 20, count=500) - solution).abs().mean() for name in ("ddim", "dpmpp_2m")
    )
    assert of_second < 0.8 * of_first


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("data", [gaussian, bimodal])
def test_before_the_last_step_second_order_is_far_nearer(data, schedule):
    """The last step, to the clean latent, is the same for all samplers: without it the order of the others shows."""
    schedule = SCHEDULES[schedule]

    def before_last_step(name, steps):
        seen = {}

        def predict(x, t):
            seen[t] = x
            return data(schedule)(x, t)

        run(name, predict, schedule, steps, count=500)
        return seen[49]

    solution = before_last_step("ddim", 1000)
    of_first, of_second = ((before_last_step(name, 20) - solution).abs().mean() for name in ("ddim", "dpmpp_2m"))
    assert of_second < 0.5 * of_first


def test_ddim_follows_the_exact_path_of_gaussian_data():
    """The probability flow takes the noise z to MEAN + STD z."""
    schedule, start = SCHEDULES["cosine"], noise(100)
    end = ddim(gaussian(schedule), start, schedule, 1000, torch.Generator())
    torch.testing.assert_close(end, MEAN + STD * start, atol=0.02, rtol=0)


def test_ancestral_sampling_is_ddim_with_eta_one():
    schedule, start = SCHEDULES["cosine"], noise(50)
    predict = bimodal(schedule)
    one = ddpm(predict, start, schedule, 25, torch.Generator().manual_seed(3))
    other = ddim(predict, start, schedule, 25, torch.Generator().manual_seed(3), eta=1.0)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_both_modes_are_visited_and_nothing_between(name):
    schedule = SCHEDULES["cosine"]
    x = run(name, bimodal(schedule), schedule, 100, eta=0.3, count=2000)
    assert (x > 0).double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (x.abs() < 0.3).double().mean().item() < 0.01


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_a_function_of_its_arguments(name):
    schedule = SCHEDULES["cosine"]
    start = noise(10)
    before = start.clone()
    first, second = (
        SAMPLERS[name](bimodal(schedule), start, schedule, 10, torch.Generator().manual_seed(5), 0.5) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(start, before)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_is_the_first_estimate(name):
    schedule, start = SCHEDULES["cosine"], noise(10)
    predict = gaussian(schedule)
    x = SAMPLERS[name](predict, start, schedule, 1, torch.Generator(), 0.0)
    torch.testing.assert_close(x, predict(start, 999))


def test_a_sample_does_not_depend_on_the_others_in_its_batch():
    schedule = SCHEDULES["cosine"]

    def sample(seeds):
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        return ddpm(bimodal(schedule), draw_noise((len(seeds), 4), sources), schedule, 10, sources)

    torch.testing.assert_close(sample([1, 2, 3])[1], sample([2])[0])


class Network:
    """The exact denoiser of Gaussian data as a network: conditions give the mean, the null token means 0."""

    def __init__(self, schedule, parameterization):
        self.schedule, self.parameterization, self.passes = schedule, parameterization, 0

    def __call__(self, x, time, conditions, keep):
        self.passes += len(x)
        mean = torch.zeros_like(x) if conditions is None else conditions
        mean = mean if keep is None else torch.where(keep[:, None], mean, 0.0)
        a = self.schedule.at(int(time[0]))
        x0 = mean + a**0.5 * STD**2 / (a * STD**2 + 1 - a) * (x - a**0.5 * mean)
        epsilon = to_epsilon("x0", x0, x, a)
        return {"x0": x0, "epsilon": epsilon, "v": a**0.5 * epsilon - (1 - a) ** 0.5 * x0}[self.parameterization]


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
def test_every_parameterization_leads_to_the_same_sample(parameterization):
    schedule, start = SCHEDULES["scaled_linear"], noise(200)
    predict = X0Predictor(Network(schedule, parameterization), schedule, parameterization, torch.full((200, 1), MEAN))
    expected = dpmpp_2m(gaussian(schedule), start, schedule, 20, torch.Generator())
    torch.testing.assert_close(dpmpp_2m(predict, start, schedule, 20, torch.Generator()), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("guidance", "expected"), [(0.0, 0.0), (1.0, MEAN), (2.0, 2 * MEAN)])
def test_guidance_goes_from_the_null_token_through_the_conditions_and_beyond(guidance, expected):
    schedule = SCHEDULES["cosine"]
    predict = X0Predictor(Network(schedule, "v"), schedule, "v", torch.full((4000, 1), MEAN), guidance)
    x = ddim(predict, noise(4000), schedule, 100, torch.Generator())
    assert x.mean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("guidance", "passes"), [(0.0, 1), (1.0, 1), (3.0, 2)])
def test_guidance_costs_a_second_pass_only_where_it_is_needed(guidance, passes):
    network = Network(SCHEDULES["cosine"], "v")
    X0Predictor(network, SCHEDULES["cosine"], "v", torch.zeros(5, 1), guidance)(noise(5), 500)
    assert network.passes == 5 * passes


def test_bounds_hold_an_ill_conditioned_estimate():
    """Epsilon at the last step of the cosine schedule is divided by 5e-5: a small error would fill the image."""
    schedule, start = SCHEDULES["cosine"], noise(50)
    bounds = (torch.full((1, 1), -1.0), torch.full((1, 1), 2.0))

    def wrong(x, time, conditions, keep):
        return Network(schedule, "epsilon")(x, time, torch.full_like(x, MEAN), None) + 0.01

    free, held = (
        dpmpp_2m(X0Predictor(wrong, schedule, "epsilon", bounds=b), start, schedule, 20, torch.Generator())
        for b in (None, bounds)
    )
    assert free.abs().max() > 3
    assert held.min() >= -1
    assert held.max() <= 2


def test_defaults_fill_a_sampler_block():
    assert check_sampler({"steps": 7})["steps"] == 7
    assert math.isclose(check_sampler({})["guidance"], 1.0)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"name": "euler"}, "'euler'.*ddpm, ddim, dpmpp_2m"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": "20"}, "steps is '20'"),
        ({"eta": 1.5}, "eta is 1.5"),
        ({"guidance": -1}, "guidance is -1"),
        ({"step": 20}, "unknown key `step`"),
    ],
)
def test_a_wrong_sampler_block_is_refused_in_a_sentence(block, message):
    with pytest.raises(UserError, match=message):
        check_sampler(block)
