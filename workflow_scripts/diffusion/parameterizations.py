"""What a denoiser predicts (the noise, the clean latent, or a velocity), conversions, and the weights of the loss.

x_t = alpha x0 + sigma epsilon. ``v`` = alpha epsilon - sigma x0 goes with schedules that keep the variance (Salimans &
Ho 2022, arXiv 2202.00512, appendix D); ``flow`` = epsilon - x0, the velocity of the straight path, with the schedule of
that name (Lipman et al. 2022, arXiv 2210.02747; Liu et al. 2022, arXiv 2209.03003).
Everywhere `alpha` and `sigma` are tensors that broadcast against the latents, or numbers.
"""

import torch
from torch import Tensor

Level = Tensor | float


def add_noise(x0: Tensor, epsilon: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """Noisy latent x_t of a clean one."""
    return alpha * x0 + sigma * epsilon


def target(name: str, x0: Tensor, epsilon: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """What the denoiser should predict."""
    if name == "epsilon":
        return epsilon
    if name == "x0":
        return x0
    return epsilon - x0 if name == "flow" else alpha * epsilon - sigma * x0


def to_x0(name: str, prediction: Tensor, x_t: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """The clean latent that a prediction at x_t means."""
    if name == "epsilon":
        return (x_t - sigma * prediction) / alpha
    if name == "x0":
        return prediction
    return x_t - sigma * prediction if name == "flow" else alpha * x_t - sigma * prediction


def loss_weight(name: str, alpha: Tensor, sigma: Tensor, min_snr_gamma: float | None) -> Tensor:
    """Weight of the loss at each noise level, of the shape of `alpha`.

    Min-SNR (Hang et al. 2023, arXiv 2303.09556, section 3.4): the loss on x0 weighs min(SNR, gamma), which on epsilon
    is min(SNR, gamma) / SNR, and on a velocity min(SNR, gamma) sigma^2. None: 1 everywhere, as those who proposed flow
    matching have it.
    """
    if min_snr_gamma is None:
        return torch.ones_like(alpha)
    snr = (alpha / sigma).square()
    clipped = snr.clamp(max=min_snr_gamma)
    if name == "epsilon":
        return clipped / snr
    return clipped if name == "x0" else clipped * sigma.square()
