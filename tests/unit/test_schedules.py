"""Noise schedules and the time steps that samplers visit."""

from itertools import pairwise

import pytest
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.diffusion.schedules import Flow, build_schedule, cosine, scaled_linear, trailing_steps
from workflow_scripts.study.settings.generator import Diffusion


@pytest.mark.parametrize("schedule", [scaled_linear(1000, 0.002, 0.02), cosine(1000), cosine(10)])
def test_the_signal_falls_from_almost_all_to_almost_none(schedule):
    a = schedule.alpha_bar
    assert a.dtype == torch.float64
    assert (a[1:] < a[:-1]).all()
    assert a[0] < 1
    assert 0 < a[-1] < 1e-3  # stated in the module: nothing ends in pure noise, what is left is too small to see
    assert schedule.at(-1) == (1.0, 0.0)
    assert schedule.at(0) == (a[0].item() ** 0.5, (1 - a[0].item()) ** 0.5)


@pytest.mark.parametrize("timesteps", [2, 10, 1000])
def test_flow_goes_straight_from_data_to_pure_noise(timesteps):
    schedule = Flow(timesteps)
    levels = [schedule.at(t) for t in range(-1, timesteps)]
    assert levels[0] == (1.0, 0.0) and levels[-1] == (0.0, 1.0)
    assert all(alpha + sigma == 1.0 for alpha, sigma in levels)
    rises = [after[1] - before[1] for before, after in pairwise(levels)]
    assert rises == pytest.approx([1 / timesteps] * timesteps)


@pytest.mark.parametrize("schedule", [scaled_linear(1000, 0.002, 0.02), cosine(1000), Flow(1000)])
def test_a_batch_of_times_has_the_levels_of_each(schedule):
    time = torch.tensor([0, 3, 500, 999])
    expected = torch.tensor([schedule.at(int(t)) for t in time], dtype=torch.float64).T
    torch.testing.assert_close(torch.stack(schedule.of(time, torch.float64)), expected)
    assert all(level.dtype == torch.float32 for level in schedule.of(time))
    torch.testing.assert_close(torch.stack(schedule.of(time)), expected.float(), atol=1e-5, rtol=0)


def test_scaled_linear_has_the_betas_of_the_paper():
    a = scaled_linear(1000, 0.002, 0.02).alpha_bar
    assert 1 - a[0].item() == pytest.approx(0.002)
    assert 1 - (a[-1] / a[-2]).item() == pytest.approx(0.02)
    assert 1 - (a[500] / a[499]).item() == pytest.approx((0.002**0.5 + (0.02**0.5 - 0.002**0.5) * 500 / 999) ** 2)
    assert a[-1].item() ** 0.5 == pytest.approx(0.0086, abs=2e-4)


def test_cosine_is_half_signal_near_the_middle():
    a = cosine(1000).alpha_bar
    assert a[499].item() == pytest.approx(0.5, abs=0.02)
    assert a[-1].item() ** 0.5 == pytest.approx(5e-5, rel=0.1)


def test_the_config_block_chooses_the_schedule():
    block = {"timesteps": 50, "schedule": "scaled_linear", "beta_start": 0.01, "beta_end": 0.2}
    assert torch.equal(build_schedule(Diffusion(**block)).alpha_bar, scaled_linear(50, 0.01, 0.2).alpha_bar)
    assert torch.equal(build_schedule(Diffusion(timesteps=50)).alpha_bar, cosine(50).alpha_bar)
    assert build_schedule(Diffusion()).timesteps == 1000
    assert build_schedule(Diffusion(timesteps=50, schedule="flow", parameterization="flow")) == Flow(50)


def test_trailing_steps_begin_at_the_last_time_step():
    assert trailing_steps(1000, 4) == [999, 749, 499, 249]
    assert trailing_steps(10, 10) == list(range(9, -1, -1))
    assert trailing_steps(1000, 1) == [999]


@pytest.mark.parametrize("timesteps", [7, 50, 1000])
def test_trailing_steps_fall_without_repeats(timesteps):
    for count in range(1, min(timesteps, 60) + 1):
        steps = trailing_steps(timesteps, count)
        assert steps[0] == timesteps - 1
        assert len(steps) == count
        assert steps == sorted(set(steps), reverse=True)
        assert steps[-1] >= 0


@pytest.mark.parametrize("count", [0, -1, 1001, 2.5])
def test_an_impossible_number_of_steps_is_refused(count):
    with pytest.raises(UserError, match=r"sampler\.steps"):
        trailing_steps(1000, count)
