"""The slice VAE: a 2D variational autoencoder that knows which slice of the volume it sees."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..base.errors import UserError
from .blocks import PositionEmbedding, SliceBlock, down, up


class _Level(nn.Module):
    """A change of resolution (conv3, strided or after nearest-neighbour upsampling), then a block."""

    def __init__(self, resample: nn.Module, in_channels: int, channels: int, embedding_dim: int):
        super().__init__()
        self.resample, self.block = resample, SliceBlock(in_channels, channels, embedding_dim)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.block(self.resample(x), embedding)


def slice_positions(depth: int, unit: str, depth_spacing_mm: float) -> Tensor:
    """Position of each of `depth` slices, (D,): as a "fraction" of the depth, or "mm" from its middle."""
    index = torch.arange(depth, dtype=torch.float32)
    return (index + 0.5) / depth if unit == "fraction" else (index - (depth - 1) / 2) * depth_spacing_mm


class SliceAutoencoder(nn.Module):
    """Variational autoencoder of axial slices, conditioned on the slice's position in encoder and decoder.

    The layout is that of Kebaili et al. 2024 (arXiv 2406.05421); the position enters every residual block.

    image_channels, mask_channels : M modalities in [-1, 1] and R nested masks (-1 outside, 1 inside), stacked in this
        order at the input. The decoder gives M intensities and R logits.
    channels : width of each level; the first is that of the input's resolution
    strides : reduction of height and width into each level
    latent_channels : e
    grid : {"size": [D, H, W], "spacing_mm": [z, y, x]}, of the volumes: slice k of D lies at (k + 0.5) / D, or at (k -
        (D - 1) / 2) * z mm
    position : "fraction" | "mm"; which of the two the embedding sees
    embedding_dim : width of the position embedding, even

    Raises UserError: a grid that the strides do not divide.
    """

    def __init__(
        self,
        image_channels: int,
        mask_channels: int,
        channels: Sequence[int],
        strides: Sequence[int],
        latent_channels: int,
        grid: dict,
        position: str = "fraction",
        embedding_dim: int = 128,
    ):
        super().__init__()
        self.image_channels, self.mask_channels, self.latent_channels = image_channels, mask_channels, latent_channels
        self.reduction = math.prod(strides)
        self.latent_shape(grid["size"])
        self.channels, self.position, self.depth_spacing_mm = list(channels), position, float(grid["spacing_mm"][0])
        both = image_channels + mask_channels
        last = len(channels) - 1
        self.embedding = PositionEmbedding(embedding_dim, position)
        self.stem = _Level(down(both, both, strides[0], dims=2), both, channels[0], embedding_dim)
        self.down = nn.ModuleList(
            _Level(down(channels[i - 1], channels[i], strides[i], dims=2), channels[i], channels[i], embedding_dim)
            for i in range(1, last + 1)
        )
        moments = 2 * latent_channels
        self.moments = nn.Sequential(nn.Conv2d(channels[last], moments, 3, padding=1), nn.Conv2d(moments, moments, 1))
        self.entry = SliceBlock(latent_channels, channels[last], embedding_dim)
        self.up = nn.ModuleList(
            _Level(up(channels[i + 1], channels[i], strides[i + 1], dims=2), channels[i], channels[i], embedding_dim)
            for i in reversed(range(last))
        )
        self.grow = up(channels[0], channels[0], strides[0], dims=2) if strides[0] > 1 else nn.Identity()
        self.head = nn.Conv2d(channels[0], both, 1)

    def latent_shape(self, size: Sequence[int]) -> tuple[int, int, int, int]:
        """(e, D, h, w) of volumes of `size` (D, H, W). Raises UserError, with sizes that fit, if it does not divide."""
        depth, *plane = size
        fitting = [depth, *(math.ceil(edge / self.reduction) * self.reduction for edge in plane)]
        if fitting != list(size):
            raise UserError(
                f"the grid of {' x '.join(map(str, size))} voxels does not divide by {self.reduction}, the product of "
                f"the autoencoder's strides, along height and width; write `size: {fitting}` under preprocessing, "
                "or other strides"
            )
        return self.latent_channels, depth, plane[0] // self.reduction, plane[1] // self.reduction

    def positions(self, depth: int) -> Tensor:
        """Position of each of `depth` slices, (D,), in the unit that the embedding sees."""
        return slice_positions(depth, self.position, self.depth_spacing_mm)

    def encode(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior: x (B, M+R, H, W), position (B,) -> two of (B, e, h, w)."""
        embedding = self.embedding(position)
        h = self.stem(x, embedding)  # (B, c0, H, W)
        for level in self.down:
            h = level(h, embedding)  # (B, ci, H / s, W / s)
        mean, log_variance = self.moments(h).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def decode(self, z: Tensor, position: Tensor) -> Tensor:
        """Intensities and mask logits: z (B, e, h, w), position (B,) -> (B, M+R, H, W)."""
        embedding = self.embedding(position)
        h = self.entry(z, embedding)  # (B, c_last, h, w)
        for level in self.up:
            h = level(h, embedding)
        return self.head(self.grow(h))

    def forward(self, x: Tensor, position: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, sample with `noise` (B, e, h, w), decode -> output (B, M+R, H, W), mean, log-variance."""
        mean, log_variance = self.encode(x, position)
        z = mean + noise * torch.exp(0.5 * log_variance)
        return self.decode(z, position), mean, log_variance

    @torch.no_grad()
    def encode_volumes(self, x: Tensor, slices_per_batch: int = 32) -> Tensor:
        """Posterior means: x (B, M+R, D, H, W) in [-1, 1] -> (B, e, D, h, w) fp32 on the device of `x`."""
        size = x.shape[2:]
        shape = self.latent_shape(size)
        out = torch.empty((x.shape[0], *shape), device=x.device)

        def one(slices: Tensor, position: Tensor) -> Tensor:
            return self.encode(slices, position)[0]

        self._slicewise(one, x, out, slices_per_batch)
        return out

    @torch.no_grad()
    def decode_volumes(self, z: Tensor, slices_per_batch: int = 32) -> tuple[Tensor, Tensor]:
        """z (B, e, D, h, w) -> image (B, M, D, H, W) in [-1, 1], mask probabilities (B, R, D, H, W); fp32."""
        batch, _, depth, height, width = z.shape
        plane = (height * self.reduction, width * self.reduction)
        out = torch.empty((batch, self.image_channels + self.mask_channels, depth, *plane), device=z.device)
        self._slicewise(self.decode, z, out, slices_per_batch)
        image, logits = out.split([self.image_channels, self.mask_channels], dim=1)
        return image.clamp_(-1.0, 1.0), logits.sigmoid_()

    def _slicewise(self, function, volumes: Tensor, out: Tensor, slices_per_batch: int) -> None:
        """Fill `out` (B, C', D, ...) with `function` of the slices of `volumes` (B, C, D, ...), so many at a time."""
        device = next(self.parameters()).device
        batch, _, depth = volumes.shape[:3]
        positions = self.positions(depth).repeat(batch)  # (B * D,)
        source, target = volumes.transpose(1, 2), out.transpose(1, 2)  # (B, D, C, ...), views
        for start in range(0, batch * depth, slices_per_batch):
            number = torch.arange(start, min(start + slices_per_batch, batch * depth))
            b, d = (index.to(volumes.device) for index in (number // depth, number % depth))
            result = function(source[b, d].to(device, torch.float32), positions[number].to(device))
            target[b.to(out.device), d.to(out.device)] = result.to(out.device, torch.float32)
