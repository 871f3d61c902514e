"""What a denoiser predicts (the noise, the clean latent, or a velocity), conversions, and the weights of the loss.

x_t = alpha x0 + sigma epsilon. ``v`` = alpha epsilon - sigma x0 goes with schedules that keep the variance (Salimans &
Ho 2022, arXiv 2202.00512, appendix D); ``flow`` = epsilon - x0, the velocity of the straight path, with the schedule of
that name (Lipman et al. 2022, arXiv 2210.02747; Liu et al. 2022, arXiv 2209.03003).
Everywhere `alpha` and `sigma` are tensors that broadcast against the latents, or numbers.
"""

import torch
from torch import Tensor

from ..base.errors import UserError

PARAMETERIZATIONS = ("epsilon", "v", "x0", "flow")

Level = Tensor | float


def check_parameterization(name: str) -> str:
    """`name` itself. Raises UserError if it is none of PARAMETERIZATIONS."""
    if name not in PARAMETERIZATIONS:
        raise UserError(f"diffusion.parameterization is {name!r}: it must be one of {', '.join(PARAMETERIZATIONS)}")
    return name


def add_noise(x0: Tensor, epsilon: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """Noisy latent x_t of a clean one."""
    return alpha * x0 + sigma * epsilon


def target(name: str, x0: Tensor, epsilon: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """What the denoiser should predict."""
    if check_parameterization(name) == "epsilon":
        return epsilon
    if name == "x0":
        return x0
    return epsilon - x0 if name == "flow" else alpha * epsilon - sigma * x0


def to_x0(name: str, prediction: Tensor, x_t: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """The clean latent that a prediction at x_t means."""
    if check_parameterization(name) == "epsilon":
        return (x_t - sigma * prediction) / alpha
    if name == "x0":
        return prediction
    return x_t - sigma * prediction if name == "flow" else alpha * x_t - sigma * prediction


def to_epsilon(name: str, prediction: Tensor, x_t: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """The noise that a prediction at x_t means."""
    if check_parameterization(name) == "x0":
        return (x_t - alpha * prediction) / sigma
    if name == "epsilon":
        return prediction
    return x_t + alpha * prediction if name == "flow" else sigma * x_t + alpha * prediction


def loss_weight(name: str, alpha: Tensor, sigma: Tensor, min_snr_gamma: float | None) -> Tensor:
    """Weight of the loss at each noise level, of the shape of `alpha`.

    Min-SNR (Hang et al. 2023, arXiv 2303.09556, section 3.4): the loss on x0 weighs min(SNR, gamma), which on epsilon
    is min(SNR, gamma) / SNR, and on a velocity min(SNR, gamma) sigma^2. None: 1 everywhere, as those who proposed flow
    matching have it.
    """
    check_parameterization(name)
    if min_snr_gamma is None:
        return torch.ones_like(alpha)
    snr = (alpha / sigma).square()
    clipped = snr.clamp(max=min_snr_gamma)
    if name == "epsilon":
        return clipped / snr
    return clipped if name == "x0" else clipped * sigma.square()
