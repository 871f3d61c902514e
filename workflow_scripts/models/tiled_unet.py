"""A 2D UNet for stacked slice latents: the slices lie side by side as the tiles of one image."""

import math

from torch import Tensor, nn
from torch.nn import functional as F


def tiling(depth: int, height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of the image, as near to a square as whole tiles allow; the last row may not be full."""
    columns = min(depth, max(1, round(math.sqrt(depth * height / width))))
    return math.ceil(depth / columns), columns


def tile(x: Tensor) -> Tensor:
    """Slices row by row, zeros where there are more tiles than slices: (B, C, D, h, w) -> (B, C, rows h, columns w)."""
    batch, channels, depth, height, width = x.shape
    rows, columns = tiling(depth, height, width)
    x = F.pad(x, (0, 0, 0, 0, 0, rows * columns - depth))  # (B, C, rows columns, h, w)
    x = x.reshape(batch, channels, rows, columns, height, width).transpose(3, 4)  # (B, C, rows, h, columns, w)
    return x.reshape(batch, channels, rows * height, columns * width)


def untile(image: Tensor, depth: int, height: int, width: int) -> Tensor:
    """The exact inverse of `tile`: (B, C, rows h, columns w) -> (B, C, D, h, w)."""
    batch, channels = image.shape[:2]
    rows, columns = tiling(depth, height, width)
    x = image.reshape(batch, channels, rows, height, columns, width).transpose(3, 4)  # (B, C, rows, columns, h, w)
    return x.reshape(batch, channels, rows * columns, height, width)[:, :, :depth]


class TiledUNet(nn.Module):
    """A denoiser of 3D latents that sees them as one tiled image (the 2D diffusion of Kebaili et al. 2024).

    unet : UNet of 2 dimensions
    """

    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        conditions: Tensor | None = None,
        keep: Tensor | None = None,
        maps: Tensor | None = None,
    ) -> Tensor:
        """As `UNet.forward`: x (B, C, D, h, w), maps (B, n_maps, D, h, w) -> (B, C, D, h, w) float32."""
        tiled = None if maps is None else tile(maps)
        return untile(self.unet(tile(x), time, conditions, keep, tiled), *x.shape[2:])
