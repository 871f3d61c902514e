"""Attention-free UNet that denoises a latent under conditions, in two or three dimensions.

Layout of convolutions as in Kebaili et al. 2024 (arXiv 2406.05421); residual blocks with group normalisation and
scale-and-shift conditioning as in Dhariwal & Nichol 2021 (arXiv 2105.05233, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}


def sinusoid(position: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding (B,) -> (B, width) of a number of order 1 to 1000 (Vaswani et al. 2017, section 3.5)."""
    half = width // 2
    steps = torch.arange(half, device=position.device, dtype=torch.float32)
    angles = position.float()[:, None] * torch.exp(-math.log(max_period) * steps / half)
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, width - 2 * half))


def _norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with the largest number of groups, at most 32, that leaves 4 channels or more in each."""
    groups = [g for g in range(1, 33) if channels % g == 0 and channels // g >= 4]
    return nn.GroupNorm(max(groups, default=1), channels)


def _zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class ResidualBlock(nn.Module):
    """Two 3-kernel convolutions with a shortcut; the embedding scales and shifts the features between them.

    (B, c_in, *size), (B, embedding_dim) -> (B, c_out, *size). It starts as its shortcut: the second convolution is
    zero at first.
    """

    def __init__(self, c_in: int, c_out: int, embedding_dim: int, dims: int):
        super().__init__()
        conv = _CONV[dims]
        self.norm_in, self.conv_in = _norm(c_in), conv(c_in, c_out, 3, padding=1)
        self.film = nn.Linear(embedding_dim, 2 * c_out)
        self.norm_out, self.conv_out = _norm(c_out), _zeroed(conv(c_out, c_out, 3, padding=1))
        self.shortcut = conv(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv_in(F.silu(self.norm_in(x)))  # (B, c_out, *size)
        film = self.film(F.silu(embedding))  # (B, 2 c_out)
        scale, shift = film.reshape(*film.shape, *[1] * (x.ndim - 2)).chunk(2, dim=1)  # (B, c_out, 1, ...) each
        h = self.norm_out(h) * (1 + scale) + shift
        return self.shortcut(x) + self.conv_out(F.silu(h))


class UNet(nn.Module):
    """Predict the target of a noisy latent: (B, in_channels, *size), (B,) -> (B, out_channels, *size).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the latent.
    channels : sequence of int
        [c0, c1, ..., cL]: c0 after the first convolution, c1 to cL on the L levels. The paper: [64, 128, 256, 512].
        Each level but the first halves the size (rounded up); going up, sizes follow those of the way down, so that
        any size goes.
    dims : int
        2 or 3 spatial dimensions.
    blocks_per_level : int
        Residual blocks on each level of the way down, and one more on the way up. The paper: 2.
    embedding_dim : int
        Width of the embedding of time and features.
    n_features : int
        Number of tumour features; 0 for an unconditional network.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        *,
        dims: int = 3,
        blocks_per_level: int = 2,
        embedding_dim: int = 256,
        n_features: int = 0,
    ):
        super().__init__()
        conv, (c0, *levels), e = _CONV[dims], channels, embedding_dim
        self.n_features, self.embedding_dim = n_features, e
        self.time = nn.Sequential(nn.Linear(e, e), nn.SiLU(), nn.Linear(e, e))
        if n_features:
            self.features = nn.Sequential(nn.Linear(n_features, e), nn.SiLU(), nn.Linear(e, e))
            self.null_token = nn.Parameter(torch.randn(e) * 0.02)  # stands for "no features asked for"

        self.stem = conv(in_channels, c0, 3, padding=1)
        skips, width = [c0], c0
        self.down = nn.ModuleList()  # for each level: blocks, then (but for the last) a strided convolution
        for level, c in enumerate(levels):
            stage = nn.ModuleList()
            for _ in range(blocks_per_level):
                stage.append(ResidualBlock(width, c, e, dims))
                width = c
                skips.append(c)
            if level < len(levels) - 1:
                stage.append(conv(c, c, 3, stride=2, padding=1))
                skips.append(c)
            self.down.append(stage)
        self.middle = nn.ModuleList([ResidualBlock(width, width, e, dims) for _ in range(2)])
        self.up = nn.ModuleList()  # for each level, deepest first: blocks, then (but for the first) a convolution
        for level in reversed(range(len(levels))):
            stage = nn.ModuleList()
            for _ in range(blocks_per_level + 1):
                skip = skips.pop()
                stage.append(ResidualBlock(width + skip, skip, e, dims))
                width = skip
            if level > 0:
                stage.append(conv(width, width, 3, padding=1))
            self.up.append(stage)
        self.norm, self.head = _norm(width), _zeroed(conv(width, out_channels, 1))

    def embed(self, time: Tensor, features: Tensor | None, keep: Tensor | None) -> Tensor:
        """Embedding (B, embedding_dim) of the time step and of the features, or of the null token in their place."""
        embedding = self.time(sinusoid(time, self.embedding_dim))
        if not self.n_features:
            return embedding
        null = self.null_token.expand(time.shape[0], -1)
        if features is None:
            return embedding + null
        wanted = self.features(features)
        return embedding + (wanted if keep is None else torch.where(keep[:, None], wanted, null))

    def forward(self, x: Tensor, time: Tensor, features: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Denoise.

        x : (B, in_channels, *size) noisy latent
        time : (B,) time step, 0 (clean) to T - 1 (noise)
        features : (B, n_features) normalised tumour features; None: the null token for every sample
        keep : (B,) booleans; where false the null token replaces the features. None: keep all
        returns (B, out_channels, *size) float32
        """
        embedding = self.embed(time, features, keep)
        h = self.stem(x)  # (B, c0, *size)
        skips = [h]
        for stage in self.down:
            for layer in stage:
                h = layer(h, embedding) if isinstance(layer, ResidualBlock) else layer(h)
                skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for stage in self.up:
            for layer in stage:
                if isinstance(layer, ResidualBlock):
                    h = layer(torch.cat([h, skips.pop()], dim=1), embedding)
                else:  # to the size of the next skip: twice this one, or one less where that was odd
                    h = layer(F.interpolate(h, size=skips[-1].shape[2:], mode="nearest"))
        return self.head(F.silu(self.norm(h))).float()
