"""The patch discriminator that sharpens a 3D autoencoder."""

from collections.abc import Sequence

from torch import Tensor, nn

from .blocks import Conv3d, group_norm


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches (Isola et al. 2017, arXiv 1611.07004, in 3D): (B, C, D, H, W) -> (B, 1, d, h, w).

    in_channels : C, images and masks in [-1, 1]
    channels : width of each layer; all but the last halve the size. Group normalisation in the place of batch
        normalisation, so that devices need not exchange statistics. Published: [64, 128, 256, 512].
    """

    def __init__(self, in_channels: int, channels: Sequence[int]):
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for index, c in enumerate(channels):
            halves = index < len(channels) - 1
            layers += [Conv3d(width, c, 4, stride=2, padding=1)] if halves else _same_size(width, c)
            if index:
                layers.append(group_norm(c))
            layers.append(nn.LeakyReLU(0.2))
            width = c
        self.layers = nn.Sequential(*layers, *_same_size(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, D, H, W) in [-1, 1] -> scores (B, 1, d, h, w): towards 1 real, towards 0 made."""
        return self.layers(x)


def _same_size(in_channels: int, out_channels: int) -> list[nn.Module]:
    """A convolution with a kernel of 4 that keeps the size."""
    return [nn.ZeroPad3d((1, 2) * 3), Conv3d(in_channels, out_channels, 4)]
