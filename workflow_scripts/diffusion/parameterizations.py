"""What a denoiser predicts (the noise, the clean latent, or the velocity), conversions, and the weights of the loss.

x_t = alpha x0 + sigma epsilon; v = alpha epsilon - sigma x0 (Salimans & Ho 2022, arXiv 2202.00512, appendix D).
Everywhere ``alpha_bar`` is alpha^2: a tensor that broadcasts against the latents, or a number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..base.errors import UserError

PARAMETERIZATIONS = ("epsilon", "v", "x0")


def check_parameterization(name: str) -> str:
    """`name` itself. Raises UserError if it is none of PARAMETERIZATIONS."""
    if name not in PARAMETERIZATIONS:
        raise UserError(f"diffusion.parameterization is {name!r}: it must be one of {', '.join(PARAMETERIZATIONS)}")
    return name


def _alpha_sigma(alpha_bar: Tensor | float) -> tuple:
    return alpha_bar**0.5, (1 - alpha_bar) ** 0.5


def add_noise(x0: Tensor, epsilon: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """Noisy latent x_t of a clean one."""
    alpha, sigma = _alpha_sigma(alpha_bar)
    return alpha * x0 + sigma * epsilon


def target(name: str, x0: Tensor, epsilon: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """What the denoiser should predict."""
    if check_parameterization(name) == "epsilon":
        return epsilon
    if name == "x0":
        return x0
    alpha, sigma = _alpha_sigma(alpha_bar)
    return alpha * epsilon - sigma * x0


def to_x0(name: str, prediction: Tensor, x_t: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """The clean latent that a prediction at x_t means."""
    alpha, sigma = _alpha_sigma(alpha_bar)
    if check_parameterization(name) == "epsilon":
        return (x_t - sigma * prediction) / alpha
    return prediction if name == "x0" else alpha * x_t - sigma * prediction


def to_epsilon(name: str, prediction: Tensor, x_t: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """The noise that a prediction at x_t means."""
    alpha, sigma = _alpha_sigma(alpha_bar)
    if check_parameterization(name) == "x0":
        return (x_t - alpha * prediction) / sigma
    return prediction if name == "epsilon" else sigma * x_t + alpha * prediction


def loss_weight(name: str, alpha_bar: Tensor, min_snr_gamma: float | None) -> Tensor:
    """Weight of the loss at each noise level, of the shape of `alpha_bar`.

    Min-SNR (Hang et al. 2023, arXiv 2303.09556, section 3.4): the loss on x0 weighs min(SNR, gamma), which on epsilon
    is min(SNR, gamma) / SNR and on v min(SNR, gamma) / (SNR + 1). None: 1 everywhere.
    """
    check_parameterization(name)
    if min_snr_gamma is None:
        return torch.ones_like(alpha_bar)
    snr = alpha_bar / (1 - alpha_bar)
    clipped = snr.clamp(max=min_snr_gamma)
    return {"x0": clipped, "epsilon": clipped / snr, "v": clipped / (snr + 1)}[name]
