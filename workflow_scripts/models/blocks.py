"""Parts that networks share: normalisation, convolutions that change the resolution, residual units, and the
slice-position embedding with the block that it steers."""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from . import fused_norm

SHALLOW = 6  # slices


class Conv3d(nn.Conv3d):
    """A 3D convolution that is right for shallow volumes, and fast for single small ones, on a CPU.

    There bf16 gives wrong weight gradients, and writes beyond its memory, for volumes of a few slices (seen with 2, and
    with 4 and 5 under a kernel of 4; torch 2.13, oneDNN). Such volumes are computed in fp32; they are small, and the
    time does not matter. A single volume of less than 20,481 channels x slices x rows PyTorch keeps from oneDNN, and
    takes several times longer than for two of them: such volumes are handed over here.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.shape[2] < SHALLOW and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        single = x.device.type == "cpu" and x.dtype == torch.float32 and len(x) == 1
        plain = self.padding_mode == "zeros" and self.kernel_size != (1, 1, 1) and not torch.is_autocast_enabled("cpu")
        if single and plain and torch.backends.mkldnn.is_available():
            return torch.mkldnn_convolution(x, weight, bias, self.padding, self.stride, self.dilation, self.groups)
        return super()._conv_forward(x, weight, bias)


CONV = {2: nn.Conv2d, 3: Conv3d}
"""Spatial dimensions -> convolution."""


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm (Wu & He 2018) with at least 4 channels a group where the width allows it, and at most 32 groups."""
    groups = max(count for count in range(1, min(32, max(1, channels // 4)) + 1) if channels % count == 0)
    return nn.GroupNorm(groups, channels)


def norm_silu(norm: nn.GroupNorm, x: Tensor, film: Tensor | None = None, shortcut: Tensor | None = None) -> Tensor:
    """SiLU(norm(x) * (1 + scale) + shift) + shortcut; x and shortcut (B, C, *size), film (B, 2 C) scale and shift.

    On a GPU in one pass where Triton is at hand (`fused_norm`).
    """
    if fused_norm.works_on(x.device):
        return fused_norm.norm_silu(x, norm, film, shortcut)
    h = norm(x)
    if film is not None:
        scale, shift = film.reshape(*film.shape, *[1] * (x.ndim - 2)).chunk(2, dim=1)  # (B, C, 1, ...) each
        h = h * (1 + scale) + shift
    h = nn.functional.silu(h)
    return h if shortcut is None else h + shortcut


def zeroed(module: nn.Module) -> nn.Module:
    """The module, its weights set to zero: a branch that begins as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def down(in_channels: int, out_channels: int, stride: int, dims: int) -> nn.Module:
    """conv3 with a stride; nothing where neither size nor width changes. (B, in, *size) -> (B, out, *size / stride)"""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return CONV[dims](in_channels, out_channels, 3, stride=stride, padding=1)


class Upsample(nn.Upsample):
    """Nearest-neighbour upsampling; on a GPU in the type that comes in, where autocast would choose fp32."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cuda", enabled=False) if x.device.type == "cuda" else nullcontext():
            return super().forward(x)


def up(in_channels: int, out_channels: int, stride: int, dims: int) -> nn.Module:
    """conv3 after nearest-neighbour upsampling. (B, in, *size) -> (B, out, *size * stride)"""
    conv = CONV[dims](in_channels, out_channels, 3, padding=1)
    return conv if stride == 1 else nn.Sequential(Upsample(scale_factor=stride, mode="nearest"), conv)


class PositionEmbedding(nn.Module):
    """Sinusoids of a slice's position, then a two-layer perceptron.

    dim : width, even
    unit : "fraction" | "mm"; what positions are given in. Wavelengths run geometrically from twice the range that
        positions span (2, or 400 mm) to a hundredth of that, as in Vaswani et al. 2017.
    """

    def __init__(self, dim: int, unit: str = "fraction"):
        super().__init__()
        longest = {"fraction": 2.0, "mm": 400.0}[unit]
        wavelengths = longest * torch.logspace(0, -2, dim // 2, dtype=torch.float64)
        self.register_buffer("frequencies", (2 * math.pi / wavelengths).float(), persistent=False)
        self.layers = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, position: Tensor) -> Tensor:
        """position (B,) -> (B, dim)."""
        angle = position.float()[:, None] * self.frequencies  # (B, dim / 2)
        return self.layers(torch.cat([angle.cos(), angle.sin()], dim=1))


class ResidualUnit(nn.Module):
    """conv3 -> norm -> (scale, shift) -> SiLU, plus a shortcut (conv1 where the widths differ).

    x (B, in, *size) of `dims` spatial dimensions -> (B, out, *size)
    """

    def __init__(self, in_channels: int, out_channels: int, dims: int):
        super().__init__()
        self.conv = CONV[dims](in_channels, out_channels, 3, padding=1)
        self.norm = group_norm(out_channels)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else CONV[dims](in_channels, out_channels, 1)

    def forward(self, x: Tensor, film: Tensor | None = None) -> Tensor:
        return norm_silu(self.norm, self.conv(x), film, self.shortcut(x))


class SliceBlock(nn.Module):
    """Two residual units; the embedding scales and shifts the features of the first (FiLM, Perez et al. 2018).

    x (B, in, H, W), embedding (B, E) -> (B, out, H, W)
    """

    def __init__(self, in_channels: int, out_channels: int, embedding_dim: int):
        super().__init__()
        self.first = ResidualUnit(in_channels, out_channels, dims=2)
        self.second = ResidualUnit(out_channels, out_channels, dims=2)
        self.film = nn.Linear(embedding_dim, 2 * out_channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.second(self.first(x, self.film(embedding)))
