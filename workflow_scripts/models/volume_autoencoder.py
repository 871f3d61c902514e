"""A 3D variational autoencoder of whole volumes: the first stage of 3D latent diffusion."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..base.errors import UserError
from .blocks import Conv3d, ResidualUnit, down, up


class VolumeAutoencoder(nn.Module):
    """Variational autoencoder of volumes or patches of them; every axis is reduced alike.

    The layout is that of the slice autoencoder with 3D convolutions, without the position embedding: the network is
    the same at every place, so that it may learn from patches.

    image_channels, mask_channels : M modalities in [-1, 1] and R nested masks (-1 outside, 1 inside), stacked in this
        order at the input. The decoder gives M intensities and R logits.
    channels : width of each level; the first is that of the input's resolution
    strides : reduction of every axis into each level
    latent_channels : e
    grid : {"size": [D, H, W], ...}, of the volumes

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
    ):
        super().__init__()
        self.image_channels, self.mask_channels, self.latent_channels = image_channels, mask_channels, latent_channels
        self.reduction = math.prod(strides)
        self.latent_shape(grid["size"])
        both, last = image_channels + mask_channels, len(channels) - 1
        self.encoder = nn.Sequential(down(both, both, strides[0], dims=3), _block(both, channels[0]))
        for i in range(1, last + 1):
            self.encoder.append(down(channels[i - 1], channels[i], strides[i], dims=3))
            self.encoder.append(_block(channels[i], channels[i]))
        moments = 2 * latent_channels
        self.moments = nn.Sequential(Conv3d(channels[last], moments, 3, padding=1), Conv3d(moments, moments, 1))
        self.decoder = nn.Sequential(_block(latent_channels, channels[last]))
        for i in reversed(range(last)):
            self.decoder.append(up(channels[i + 1], channels[i], strides[i + 1], dims=3))
            self.decoder.append(_block(channels[i], channels[i]))
        if strides[0] > 1:
            self.decoder.append(up(channels[0], channels[0], strides[0], dims=3))
        self.decoder.append(Conv3d(channels[0], both, 1))

    def latent_shape(self, size: Sequence[int]) -> tuple[int, int, int, int]:
        """(e, d, h, w) of volumes of `size` (D, H, W). Raises UserError, with sizes that fit, if it does not divide."""
        fitting = [math.ceil(edge / self.reduction) * self.reduction for edge in size]
        if fitting != list(size):
            raise UserError(
                f"a volume of {' x '.join(map(str, size))} voxels does not divide by {self.reduction}, the product of "
                f"the autoencoder's strides; write `size: {fitting}` under preprocessing, a patch_size that divides, "
                "or other strides"
            )
        return self.latent_channels, *(edge // self.reduction for edge in size)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior: x (B, M+R, D, H, W) -> two of (B, e, d, h, w)."""
        mean, log_variance = self.moments(self.encoder(x)).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def decode(self, z: Tensor) -> Tensor:
        """Intensities and mask logits: z (B, e, d, h, w) -> (B, M+R, D, H, W)."""
        return self.decoder(z)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, sample with `noise` (B, e, d, h, w), decode -> output (B, M+R, D, H, W), mean, log-variance."""
        mean, log_variance = self.encode(x)
        return self.decode(mean + noise * torch.exp(0.5 * log_variance)), mean, log_variance

    @torch.no_grad()
    def encode_volumes(self, x: Tensor, slices_per_batch: int = 32) -> Tensor:
        """Posterior means, a volume at a time: x (B, M+R, D, H, W) -> (B, e, d, h, w) fp32 on the device of `x`.

        `slices_per_batch` is not used: a volume is encoded whole.
        """
        device = next(self.parameters()).device
        return torch.cat([self.encode(one.to(device, torch.float32))[0].float().to(x.device) for one in x.split(1)])

    @torch.no_grad()
    def decode_volumes(self, z: Tensor, slices_per_batch: int = 32) -> tuple[Tensor, Tensor]:
        """z (B, e, d, h, w) -> image (B, M, D, H, W) in [-1, 1], mask probabilities (B, R, D, H, W); fp32.

        A volume at a time; `slices_per_batch` is not used.
        """
        device = next(self.parameters()).device
        out = torch.cat([self.decode(one.to(device, torch.float32)).float().to(z.device) for one in z.split(1)])
        image, logits = out.split([self.image_channels, self.mask_channels], dim=1)
        return image.clamp(-1.0, 1.0), logits.sigmoid()


def _block(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(ResidualUnit(in_channels, out_channels, dims=3), ResidualUnit(out_channels, out_channels, 3))
