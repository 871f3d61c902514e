"""Samplers: from noise to a clean latent. Each is a pure function of (predictor, noise, schedule, steps, rng).

A *predictor* is a function (x_t, t) -> estimate of the clean latent, both (B, C, *size), t an integer time step.
All samplers visit trailing time steps and end with the estimate of the clean latent at the last of them: with few steps
that is a mean over what the latent may be, most of all on `scaled_linear`, whose first time steps are noisy.
Where a sampler draws noise it takes one rng, or one for each sample, so that a sample does not depend on the
others in its batch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..study.settings.generator import Sampler
from .parameterizations import to_x0
from .schedules import Flow, Schedule, trailing_steps

Predictor = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class DepthCorrelated:
    """Rngs whose noise is correlated along depth, see `correlated`."""

    rng: torch.Generator | Sequence[torch.Generator]
    correlation: float


Rngs = torch.Generator | Sequence[torch.Generator] | DepthCorrelated


@dataclass(frozen=True)
class X0Predictor:
    """A denoiser as a predictor of the clean latent, with classifier-free guidance (Ho & Salimans 2022, 2207.12598).

    model : callable (x, time (B,), conditions (B, F), keep (B,)) -> prediction
    schedule, parameterization : as in training
    conditions : (B, F) or None; normalised tumour conditions
    guidance : 0: the null token alone; 1: the conditions alone (one pass); above 1: away from the null token
    bounds : (low, high) or None; tensors (1, C, 1, 1, 1) within which the estimate is kept: the range of the training
        latents
    maps : (B, R, *size) or None; spatial condition
    """

    model: nn.Module | Callable[..., Tensor]
    schedule: Schedule
    parameterization: str
    conditions: Tensor | None = None
    guidance: float = 1.0
    bounds: tuple[Tensor, Tensor] | None = None
    maps: Tensor | None = None

    def __call__(self, x: Tensor, t: int) -> Tensor:
        prediction = self._predict(x, torch.full((x.shape[0],), float(t), device=x.device))
        x0 = to_x0(self.parameterization, prediction, x, *self.schedule.at(t))
        return x0 if self.bounds is None else x0.clamp(*self.bounds)

    def _predict(self, x: Tensor, time: Tensor) -> Tensor:
        if self.conditions is None or self.guidance == 0:
            return self.model(x, time, None, None)
        maps = [] if self.maps is None else [self.maps]
        if self.guidance == 1:
            return self.model(x, time, self.conditions, None, *maps)
        batch = len(x)
        keep = torch.arange(2 * batch, device=x.device) < batch
        x, time, conditions, *maps = (torch.cat([part, part]) for part in (x, time, self.conditions, *maps))
        wanted, null = self.model(x, time, conditions, keep, *maps).chunk(2)
        return null + self.guidance * (wanted - null)


def draw_noise(shape: Sequence[int], rng: Rngs) -> Tensor:
    """Gaussian noise (B, ...) float32, drawn on the CPU, so that every device gets the same."""
    if isinstance(rng, DepthCorrelated):
        return correlated(draw_noise(shape, rng.rng), rng.correlation)
    if isinstance(rng, torch.Generator):
        return torch.randn(tuple(shape), generator=rng)
    return torch.stack([torch.randn(tuple(shape[1:]), generator=one) for one in rng])


def correlated(white: Tensor, correlation: float) -> Tensor:
    """White noise (B, C, D, h, w) as an autoregressive process of first order along D, of the same variance everywhere.

    Neighbouring slices correlate by `correlation`, slices k apart by its k-th power. Latents do as well: white noise
    drowns what a slice has of its own long before what all have in common.
    """
    if not correlation:
        return white
    slices, own = [white[:, :, 0]], (1 - correlation**2) ** 0.5
    for index in range(1, white.shape[2]):
        slices.append(correlation * slices[-1] + own * white[:, :, index])
    return torch.stack(slices, dim=2)


def _visited(schedule: Schedule, steps: int) -> list[tuple[int, int]]:
    """(from, to) pairs of time steps; the last goes to -1, the clean latent."""
    times = trailing_steps(schedule.timesteps, steps)
    return list(zip(times, [*times[1:], -1], strict=True))


def ddpm(predict: Predictor, noise: Tensor, schedule: Schedule, steps: int, rng: Rngs, eta: float = 1.0) -> Tensor:
    """Ancestral sampling from the posterior q(x_s | x_t, x0) (Ho et al. 2020, eq. 6 and 7); `eta` is not used."""
    x = noise
    for t, s in _visited(schedule, steps):
        (alpha, sigma), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
        kept = (alpha / alpha_s) ** 2  # alpha^2 of the way from s to t
        x0 = predict(x, t)
        mean = (alpha_s * (1 - kept) * x0 + kept**0.5 * sigma_s**2 * x) / sigma**2
        deviation = sigma_s / sigma * (1 - kept) ** 0.5
        x = mean + deviation * draw_noise(x.shape, rng).to(x) if s >= 0 else mean
    return x


def ddim(predict: Predictor, noise: Tensor, schedule: Schedule, steps: int, rng: Rngs, eta: float = 0.0) -> Tensor:
    """DDIM (Song et al. 2021, arXiv 2010.02502, eq. 12 and 16). eta 0: deterministic; 1: as `ddpm`."""
    x = noise
    for t, s in _visited(schedule, steps):
        (alpha, sigma), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
        x0 = predict(x, t)
        epsilon = (x - alpha * x0) / sigma
        deviation = eta * sigma_s / sigma * (1 - (alpha / alpha_s) ** 2) ** 0.5
        rest = sigma_s if deviation == 0 else max(sigma_s**2 - deviation**2, 0.0) ** 0.5
        x = alpha_s * x0 + rest * epsilon
        if deviation > 0:
            x = x + deviation * draw_noise(x.shape, rng).to(x)
    return x


def dpmpp_2m(predict: Predictor, noise: Tensor, schedule: Schedule, steps: int, rng: Rngs, eta: float = 0.0) -> Tensor:
    """DPM-Solver++(2M), deterministic (Lu et al. 2022, arXiv 2211.01095, algorithm 2); `rng`, `eta` are not used.

    The first step is of first order, for want of a step before it, and so is the last, whose log-SNR is infinite.
    """
    x, before, h_before = noise, None, 0.0
    for t, s in _visited(schedule, steps):
        x0 = predict(x, t)
        if s < 0:
            return x0
        (alpha, sigma), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
        h = math.log(alpha_s / sigma_s) - math.log(alpha / sigma)
        estimate = x0 if before is None else x0 + (x0 - before) * (h / (2 * h_before))
        x = sigma_s / sigma * x - alpha_s * math.expm1(-h) * estimate
        before, h_before = x0, h
    return x


def euler(predict: Predictor, noise: Tensor, schedule: Flow, steps: int, rng: Rngs, eta: float = 0.0) -> Tensor:
    """Euler's method along the straight path's velocity, epsilon - x0 = (x - x0) / sigma, deterministic: first order
    (Liu et al. 2022, arXiv 2209.03003, section 2); `rng`, `eta` are not used."""
    x = noise
    for t, s in _visited(schedule, steps):
        (_, sigma), (_, sigma_s) = schedule.at(t), schedule.at(s)
        x0 = predict(x, t)
        x = x0 if s < 0 else x + (sigma_s - sigma) * (x - x0) / sigma
    return x


def heun(predict: Predictor, noise: Tensor, schedule: Flow, steps: int, rng: Rngs, eta: float = 0.0) -> Tensor:
    """Heun's method along the same velocity, deterministic: second order, two calls a step (Karras et al. 2022, arXiv
    2206.00364, algorithm 1). The last step is Euler's, since nothing is trained at sigma 0. `rng`, `eta` are not used.
    """
    x = noise
    for t, s in _visited(schedule, steps):
        (_, sigma), (_, sigma_s) = schedule.at(t), schedule.at(s)
        x0 = predict(x, t)
        if s < 0:
            return x0
        first = (x - x0) / sigma
        ahead = x + (sigma_s - sigma) * first
        second = (ahead - predict(ahead, s)) / sigma_s
        x = x + (sigma_s - sigma) * (first + second) / 2
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    **{"ddpm": ddpm, "ddim": ddim, "dpmpp_2m": dpmpp_2m},
    **{"euler": euler, "heun": heun},
}
"""Name -> sampler(predict, noise, schedule, steps, rng, eta)."""


def network_calls(sampler: Sampler) -> int:
    """How often the network is called for one sample: once or twice a step, and twice that under guidance."""
    steps = sampler.steps
    calls = 2 * steps - 1 if sampler.name == "heun" else steps
    return calls * (1 if sampler.guidance in (0, 1) else 2)
