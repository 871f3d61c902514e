"""Noise schedules: how much signal and noise a latent has at each time step, and which steps a sampler visits.

A noisy latent is x_t = alpha_t x0 + sigma_t epsilon. Time step 0 is almost clean, T - 1 almost or all noise; "clean"
itself, alpha 1 and sigma 0, comes before 0.

Two schedules keep the variance (alpha^2 + sigma^2 = 1; Ho et al. 2020, arXiv 2006.11239, eq. 4). Neither ends in pure
noise: `scaled_linear` with betas 0.002 to 0.02 ends at alpha = 0.0086, `cosine` at 5e-5. The trailing steps below start
at T - 1, with the very noise level that the network was trained on, and what is left of the signal there is too small
to see (Lin et al. 2024, arXiv 2305.08891, describe the harm that a larger rest does). Epsilon predictions are divided
by that alpha: `samplers.X0Predictor` bounds the result. The third, `flow`, goes straight from data to pure noise.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..base.errors import UserError
from ..study.settings.generator import Diffusion


class Schedule(Protocol):
    """Signal and noise as functions of time."""

    @property
    def timesteps(self) -> int:
        """T, the number of time steps."""

    def at(self, t: int) -> tuple[float, float]:
        """alpha and sigma of time step `t`; -1 means clean: 1 and 0."""

    def of(self, time: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """alpha and sigma of the time steps (B,), each (B,) of `dtype`, where `time` is."""


@dataclass(frozen=True)
class VariancePreserving:
    """alpha^2 + sigma^2 = 1. alpha_bar, alpha^2: (T,) float64, falling, within (0, 1)."""

    alpha_bar: Tensor

    @property
    def timesteps(self) -> int:
        return len(self.alpha_bar)

    def at(self, t: int) -> tuple[float, float]:
        a = 1.0 if t < 0 else float(self.alpha_bar[t])
        return a**0.5, (1 - a) ** 0.5

    def of(self, time: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        a = self.alpha_bar.to(time.device)[time].to(dtype)
        return a**0.5, (1 - a) ** 0.5


@dataclass(frozen=True)
class Flow:
    """alpha = 1 - sigma, sigma = (t + 1) / T: the straight path of rectified flow (Liu et al. 2022, arXiv 2209.03003)
    and of flow matching with optimal transport (Lipman et al. 2022, arXiv 2210.02747, example II, no noise at t = 0)."""

    timesteps: int

    def at(self, t: int) -> tuple[float, float]:
        sigma = (t + 1) / self.timesteps
        return 1 - sigma, sigma

    def of(self, time: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        sigma = ((time + 1).double() / self.timesteps).to(dtype)
        return 1 - sigma, sigma


def scaled_linear(timesteps: int, beta_start: float, beta_end: float) -> VariancePreserving:
    """Betas whose square roots are linear (Rombach et al. 2022, arXiv 2112.10752, code); the schedule of the paper."""
    beta = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float64) ** 2
    return VariancePreserving(torch.cumprod(1 - beta, dim=0))


def cosine(timesteps: int, offset: float = 0.008, max_beta: float = 0.999) -> VariancePreserving:
    """Squared cosine (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17), each beta at most `max_beta` as they say."""
    time = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    return VariancePreserving(torch.cumprod(1 - beta, dim=0))


def build_schedule(diffusion: Diffusion) -> Schedule:
    """The schedule that the config's ``diffusion`` block describes."""
    if diffusion.is_flow:
        return Flow(diffusion.timesteps)
    if diffusion.schedule == "cosine":
        return cosine(diffusion.timesteps)
    return scaled_linear(diffusion.timesteps, diffusion.beta_start, diffusion.beta_end)


def trailing_steps(timesteps: int, steps: int) -> list[int]:
    """`steps` time steps from T - 1 down, evenly spaced, the first always T - 1 (Lin et al. 2024, section 3.3).

    For 1000 and 4: [999, 749, 499, 249]. Raises UserError unless 1 <= steps <= timesteps.
    """
    if not isinstance(steps, int) or not 1 <= steps <= timesteps:
        raise UserError(f"sampler.steps is {steps!r}: it must be a whole number from 1 to {timesteps} (timesteps)")
    return [round(timesteps - i * timesteps / steps) - 1 for i in range(steps)]
