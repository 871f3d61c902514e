"""Samplers against closed forms: for Gaussian data the best denoiser is known, and so is what must come out."""

import pytest
import torch

from workflow_scripts.diffusion.parameterizations import target
from workflow_scripts.diffusion.samplers import (
    SAMPLERS,
    DepthCorrelated,
    X0Predictor,
    ddim,
    ddpm,
    dpmpp_2m,
    draw_noise,
    network_calls,
)
from workflow_scripts.diffusion.schedules import Flow, cosine, scaled_linear
from workflow_scripts.study.settings.generator import SAMPLERS as GO_WITH_FLOW
from workflow_scripts.study.settings.generator import Sampler

MEAN, STD = 0.7, 0.3
SCHEDULES = {"cosine": cosine(1000), "scaled_linear": scaled_linear(1000, 0.002, 0.02), "flow": Flow(1000)}
OF_VARIANCE = ("cosine", "scaled_linear")


def schedule_of(sampler):
    return SCHEDULES["flow" if GO_WITH_FLOW[sampler] else "cosine"]


def gaussian(schedule):
    """E[x0 | x_t] where x0 is normal with MEAN and STD."""

    def predict(x, t):
        alpha, sigma = schedule.at(t)
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        return MEAN + gain * (x - alpha * MEAN)

    return predict


def bimodal(schedule):
    """E[x0 | x_t] where x0 is -1 or +1, each blurred by 0.2: not linear in x."""

    def predict(x, t):
        alpha, sigma = schedule.at(t)
        variance = alpha**2 * 0.04 + sigma**2
        side = torch.tanh(alpha * x / variance)
        return side + alpha * 0.04 / variance * (x - alpha * side)

    return predict


def noise(count, seed=0):
    return torch.randn(count, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(name, predict, schedule, steps, eta=0.0, count=20_000):
    return SAMPLERS[name](predict, noise(count), schedule, steps, torch.Generator().manual_seed(1), eta)


@pytest.mark.parametrize(
    ("name", "eta", "schedule"),
    [
        *[(*sampler, schedule) for schedule in OF_VARIANCE for sampler in [("ddpm", 1.0), ("dpmpp_2m", 0.0)]],
        *[("ddim", eta, schedule) for schedule in OF_VARIANCE for eta in (0.0, 0.5, 1.0)],
        *[(name, 0.0, "flow") for name in ("euler", "heun")],
    ],
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


@pytest.mark.parametrize("schedule", OF_VARIANCE)
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


def before_the_last_step(name, data, steps):
    """Where a sampler of flow stands at sigma 0.1; the last step, to the clean latent, is the same for all."""
    seen = {}

    def predict(x, t):
        seen.setdefault(t, x)
        return data(SCHEDULES["flow"])(x, t)

    run(name, predict, SCHEDULES["flow"], steps, count=500)
    return seen[99]


@pytest.mark.parametrize("data", [gaussian, bimodal])
def test_halving_the_step_halves_the_error_of_euler_and_quarters_that_of_heun(data):
    solution = before_the_last_step("heun", data, 1000)
    error = {
        (name, steps): (before_the_last_step(name, data, steps) - solution).abs().mean()
        for name in ("euler", "heun")
        for steps in (50, 100)
    }
    assert error["euler", 50] / error["euler", 100] == pytest.approx(2, abs=0.3)
    assert error["heun", 50] / error["heun", 100] == pytest.approx(4, abs=0.8)
    assert error["heun", 100] < 0.1 * error["euler", 100]


@pytest.mark.parametrize("name", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_point_is_reached_from_any_noise_in_any_number_of_steps(name, steps):
    """The path to a point is a straight line, along which both methods are exact, at both ends."""
    x = SAMPLERS[name](lambda x, t: torch.full_like(x, 3.0), noise(20), SCHEDULES["flow"], steps, torch.Generator())
    torch.testing.assert_close(x, torch.full_like(x, 3.0))


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_flow_follows_the_exact_path_of_gaussian_data(name):
    start = noise(100)
    end = SAMPLERS[name](gaussian(SCHEDULES["flow"]), start, SCHEDULES["flow"], 1000, torch.Generator())
    torch.testing.assert_close(end, MEAN + STD * start, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_sampler_calls_the_network_as_often_as_it_says(name, guidance):
    sampler = Sampler(name=name, steps=6, guidance=guidance)
    schedule, parameterization = schedule_of(name), "flow" if GO_WITH_FLOW[name] else "v"
    network = Network(schedule, parameterization)
    predict = X0Predictor(network, schedule, parameterization, torch.zeros(1, 1), guidance)
    SAMPLERS[name](predict, noise(1), schedule, 6, torch.Generator().manual_seed(0), 0.0)
    assert network.passes == network_calls(sampler)


def test_ancestral_sampling_is_ddim_with_eta_one():
    schedule, start = SCHEDULES["cosine"], noise(50)
    predict = bimodal(schedule)
    one = ddpm(predict, start, schedule, 25, torch.Generator().manual_seed(3))
    other = ddim(predict, start, schedule, 25, torch.Generator().manual_seed(3), eta=1.0)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_both_modes_are_visited_and_nothing_between(name):
    schedule = schedule_of(name)
    x = run(name, bimodal(schedule), schedule, 100, eta=0.3, count=2000)
    assert (x > 0).double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (x.abs() < 0.3).double().mean().item() < 0.01


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_a_function_of_its_arguments(name):
    schedule = schedule_of(name)
    start = noise(10)
    before = start.clone()
    first, second = (
        SAMPLERS[name](bimodal(schedule), start, schedule, 10, torch.Generator().manual_seed(5), 0.5) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(start, before)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_is_the_first_estimate(name):
    schedule, start = schedule_of(name), noise(10)
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
        alpha, sigma = level = self.schedule.at(int(time[0]))
        x0 = mean + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * mean)
        return target(self.parameterization, x0, (x - alpha * x0) / sigma, *level)


@pytest.mark.parametrize("parameterization", ["epsilon", "v", "x0", "flow"])
def test_every_parameterization_leads_to_the_same_sample(parameterization):
    name = "heun" if parameterization == "flow" else "dpmpp_2m"
    schedule, start = SCHEDULES["flow" if parameterization == "flow" else "scaled_linear"], noise(200)
    predict = X0Predictor(Network(schedule, parameterization), schedule, parameterization, torch.full((200, 1), MEAN))
    expected = SAMPLERS[name](gaussian(schedule), start, schedule, 20, torch.Generator())
    made = SAMPLERS[name](predict, start, schedule, 20, torch.Generator())
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)


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


def test_every_sampler_is_known_to_the_settings():
    assert set(GO_WITH_FLOW) == set(SAMPLERS)


def test_noise_along_depth_has_the_asked_correlation_and_unit_variance_everywhere():
    rngs = [torch.Generator().manual_seed(number) for number in range(400)]
    drawn = draw_noise((400, 2, 6, 5, 5), DepthCorrelated(rngs, 0.8))
    slices = drawn.transpose(1, 2).transpose(0, 1).flatten(1)  # (6, n)
    expected = 0.8 ** (torch.arange(6)[:, None] - torch.arange(6)).abs()
    torch.testing.assert_close(torch.cov(slices), expected, atol=0.03, rtol=0)
    alone = draw_noise((1, 2, 6, 5, 5), DepthCorrelated([torch.Generator().manual_seed(7)], 0.8))
    assert torch.equal(alone[0], drawn[7]), "a sample's noise does not depend on the others in its batch"
