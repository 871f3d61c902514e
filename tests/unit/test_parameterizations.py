"""What a denoiser predicts: conversions and loss weights."""

import pytest
import torch

from workflow_scripts.diffusion.parameterizations import add_noise, loss_weight, target, to_x0
from workflow_scripts.diffusion.schedules import Flow, cosine

PARAMETERIZATIONS = ("epsilon", "v", "x0", "flow")
ALPHA_BAR = torch.tensor([0.999, 0.9, 0.5, 0.1, 0.001], dtype=torch.float64)[:, None]
SIGMA = torch.tensor([0.001, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)[:, None]


def level(name):
    """alpha and sigma of five noise levels, on the schedules that go with what is predicted."""
    return (1 - SIGMA, SIGMA) if name == "flow" else (ALPHA_BAR.sqrt(), (1 - ALPHA_BAR).sqrt())


def draws():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(5, 7, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_the_true_target_gives_back_the_signal(name):
    x0, epsilon = draws()
    x_t = add_noise(x0, epsilon, *level(name))
    truth = target(name, x0, epsilon, *level(name))
    torch.testing.assert_close(to_x0(name, truth, x_t, *level(name)), x0)


def test_noise_keeps_the_variance_at_one():
    x0, epsilon = torch.randn(2, 1, 100_000, generator=torch.Generator().manual_seed(1))
    noisy = add_noise(x0, epsilon, *(value[:, None] for value in cosine(10).of(torch.arange(10))))
    torch.testing.assert_close(noisy.var(dim=1), torch.ones(10), atol=0.02, rtol=0)


def test_velocity_turns_from_noise_to_signal():
    x0, epsilon = draws()
    torch.testing.assert_close(target("v", x0, epsilon, 1.0, 0.0), epsilon)
    torch.testing.assert_close(target("v", x0, epsilon, 0.0, 1.0), -x0)


def test_the_velocity_of_flow_is_that_of_its_path():
    """d x_t / d sigma, the same all along."""
    x0, epsilon = draws()
    later, earlier = (add_noise(x0, epsilon, *Flow(10).at(t)) for t in (7, 2))
    torch.testing.assert_close(target("flow", x0, epsilon, 0.3, 0.7), (later - earlier) / 0.5)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_min_snr_weighs_the_same_error_of_the_clean_latent_the_same(name):
    """Whatever is predicted, weight x squared error is min(SNR, gamma) x squared error of the clean latent."""
    (x0, epsilon), (alpha, sigma) = draws(), level(name)
    x_t = add_noise(x0, epsilon, alpha, sigma)
    prediction = target(name, x0, epsilon, alpha, sigma) + 0.1
    error_of_x0 = (to_x0(name, prediction, x_t, alpha, sigma) - x0).square()
    snr = (alpha / sigma).square()
    expected = (snr.clamp(max=5.0) * error_of_x0).expand(5, 7)
    torch.testing.assert_close((loss_weight(name, alpha, sigma, 5.0) * 0.1**2).expand(5, 7), expected)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_without_gamma_every_noise_level_weighs_one(name):
    assert torch.equal(loss_weight(name, *level(name), None), torch.ones_like(SIGMA))
