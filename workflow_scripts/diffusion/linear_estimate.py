"""The best linear estimate of a clean latent, and a denoiser that learns what that leaves."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from .schedules import Schedule

AXES = (-3, -2, -1)


class WithLinearEstimate(nn.Module):
    """A denoiser that is given the best linear estimate of the clean latent, and learns what that leaves.

    The estimate is a Wiener filter: at each spatial frequency x_t is weighed by alpha S / (alpha^2 S + sigma^2 N), with the
    power S of the training latents, of each channel, and N of the noise. A denoiser has to find such a filter before
    anything else, which takes it hundreds of steps. Its output is scaled by the standard deviation of what the filter leaves
    of the velocity. Both are c_skip and c_out of Karras et al. 2022 (arXiv 2206.00364, eq. 7), frequency by frequency.

    network : takes noisy latent and estimate, (B, 2 C, D, h, w), and what else `UNet.forward` takes; gives (B, C, D, h, w)
    shape : (C, D, h, w)
    schedule : one that keeps the variance; predictions are velocities, ``v``
    depth_correlation : of the noise, see `samplers.correlated`
    """

    rings: Tensor
    noise: Tensor
    power: Tensor

    def __init__(self, network: nn.Module, shape: Sequence[int], schedule: Schedule, depth_correlation: float):
        super().__init__()
        self.network, self.schedule = network, schedule
        channels, *size = shape
        index, count = _rings(size)
        self.register_buffer("rings", index, persistent=False)
        self.register_buffer("noise", _noise_power(size[0], depth_correlation)[:, None, None], persistent=False)
        self.register_buffer("power", torch.ones(channels, count))

    @torch.no_grad()
    def measure(self, latents: Iterable[Tensor]) -> None:
        """Take the mean power of clean latents (C, D, h, w), each with mean 0 and standard deviation 1 in all: S."""
        total, number = torch.zeros_like(self.power), 0
        place = self.rings.flatten()
        for latent in latents:
            spectrum = torch.fft.rfftn(latent.float(), dim=AXES).abs().square() / latent[0].numel()
            total.index_add_(1, place, spectrum.flatten(1))
            number += 1
        counts = torch.bincount(place, minlength=total.shape[1])
        self.power.copy_(torch.where(counts > 0, total / (number * counts.clamp(min=1)), 1.0))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        conditions: Tensor | None = None,
        keep: Tensor | None = None,
        maps: Tensor | None = None,
    ) -> Tensor:
        """As `UNet.forward`; the velocity, (B, C, D, h, w) float32."""
        x = x.float()  # Fourier transforms know no bf16; nothing below is of those that autocast would lower
        alpha, sigma = (level.view(-1, 1, 1, 1, 1) for level in self.schedule.of(time.long()))
        signal = self.power[:, self.rings]  # (C, D, h, w / 2 + 1)
        both = alpha.square() * signal + sigma.square() * self.noise  # (B, C, D, h, w / 2 + 1)
        spectrum = torch.fft.rfftn(x, dim=AXES) * (alpha * signal / both)
        estimate = torch.fft.irfftn(spectrum, s=x.shape[2:], dim=AXES)
        left = (signal * self.noise / both).mean(dim=(1, 2, 3, 4), keepdim=True).sqrt()
        learned = self.network(torch.cat([x, estimate], dim=1), time, conditions, keep, maps)
        return (alpha * x - estimate) / sigma + left * learned


def _rings(size: Sequence[int]) -> tuple[Tensor, int]:
    """Which frequencies of a real volume (D, h, w) share a mean, long (D, h, w / 2 + 1), and how many such groups there are:
    those of the same frequency along depth, and of about the same within the slice."""
    depth, *plane = size
    along = (torch.fft.fftfreq(depth) * depth).abs().round().long()[:, None, None]
    rows, columns = torch.fft.fftfreq(plane[0])[:, None], torch.fft.rfftfreq(plane[1])[None]
    within = ((rows.square() + columns.square()).sqrt() * max(plane)).round().long()[None]
    widest = math.ceil(max(plane) / math.sqrt(2)) + 1
    return along * widest + within, (depth // 2 + 1) * widest


def _noise_power(depth: int, correlation: float) -> Tensor:
    """Mean power (D,) at each frequency along depth of noise of variance 1, correlated as `samplers.correlated` makes it."""
    lag = torch.arange(depth, dtype=torch.float64)
    covariance = (1 - lag / depth) * correlation**lag  # of the periodogram; 0^0 is 1
    waves = torch.cos(2 * math.pi * lag[:, None] * lag / depth)
    return (2 * (waves @ covariance) - covariance[0]).float()
