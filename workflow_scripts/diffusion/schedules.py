"""Noise schedules: how much of the clean latent is left at each time step, and which steps a sampler visits.

A noisy latent is x_t = alpha_t x0 + sigma_t epsilon with alpha_t^2 = alpha_bar_t and sigma_t^2 = 1 - alpha_bar_t
(Ho et al. 2020, arXiv 2006.11239, eq. 4). Time step 0 is almost clean, T - 1 almost noise; "clean" itself comes before 0.

Neither schedule ends in pure noise: `scaled_linear` with betas 0.002 to 0.02 ends at alpha = 0.0086, `cosine` at 5e-5.
The trailing steps below start at T - 1, with the very noise level that the network was trained on, and what is left of
the signal there is too small to see (Lin et al. 2024, arXiv 2305.08891, describe the harm that a larger rest does).
Epsilon predictions are divided by that alpha: `samplers.X0Predictor` bounds the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..base.errors import UserError


@dataclass(frozen=True)
class Schedule:
    """alpha_bar: (T,) float64, falling, within (0, 1)."""

    alpha_bar: Tensor

    @property
    def timesteps(self) -> int:
        """T, the number of time steps."""
        return len(self.alpha_bar)

    def at(self, t: int) -> float:
        """alpha_bar of time step `t`; -1 means clean: 1."""
        return 1.0 if t < 0 else float(self.alpha_bar[t])


def scaled_linear(timesteps: int, beta_start: float, beta_end: float) -> Schedule:
    """Betas whose square roots are linear (Rombach et al. 2022, arXiv 2112.10752, code); the schedule of the paper."""
    beta = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float64) ** 2
    return Schedule(torch.cumprod(1 - beta, dim=0))


def cosine(timesteps: int, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """Squared cosine (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17), each beta at most `max_beta` as they say."""
    time = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    return Schedule(torch.cumprod(1 - beta, dim=0))


def build_schedule(config: dict) -> Schedule:
    """The schedule that the config's ``diffusion`` block describes.

    Keys: ``timesteps``, ``schedule`` ("cosine" or "scaled_linear"), and for the latter ``beta_start`` and ``beta_end``.
    Raises UserError that names a key whose value cannot be.
    """
    timesteps, name = config.get("timesteps", 1000), config.get("schedule", "cosine")
    if not isinstance(timesteps, int) or timesteps < 2:
        raise UserError(f"diffusion.timesteps is {timesteps!r}: it must be a whole number, 2 or more")
    if name == "cosine":
        return cosine(timesteps)
    if name == "scaled_linear":
        first, last = config.get("beta_start", 0.002), config.get("beta_end", 0.02)
        if not 0 < first < last < 1:
            raise UserError(f"diffusion: need 0 < beta_start < beta_end < 1, not {first!r} and {last!r}")
        return scaled_linear(timesteps, first, last)
    raise UserError(f"diffusion.schedule is {name!r}: it must be cosine or scaled_linear")


def trailing_steps(timesteps: int, steps: int) -> list[int]:
    """`steps` time steps from T - 1 down, evenly spaced, the first always T - 1 (Lin et al. 2024, section 3.3).

    For 1000 and 4: [999, 749, 499, 249]. Raises UserError unless 1 <= steps <= timesteps.
    """
    if not isinstance(steps, int) or not 1 <= steps <= timesteps:
        raise UserError(f"sampler.steps is {steps!r}: it must be a whole number from 1 to {timesteps} (timesteps)")
    return [round(timesteps - i * timesteps / steps) - 1 for i in range(steps)]
