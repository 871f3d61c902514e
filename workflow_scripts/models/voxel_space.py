"""Voxel space, in the place of a latent one: what a system without an autoencoder generates in."""

from collections.abc import Sequence

from torch import Tensor, nn


class VoxelSpace(nn.Module):
    """The identity with the interface of an autoencoder: images and masks are channels in [-1, 1], no weights.

    image_channels, mask_channels : M modalities and R nested masks (-1 outside, 1 inside)
    """

    def __init__(self, image_channels: int, mask_channels: int):
        super().__init__()
        self.image_channels, self.mask_channels = image_channels, mask_channels

    def latent_shape(self, size: Sequence[int]) -> tuple[int, int, int, int]:
        """(M+R, D, H, W) of volumes of `size` (D, H, W)."""
        return self.image_channels + self.mask_channels, *size

    def encode_volumes(self, x: Tensor, slices_per_batch: int = 32) -> Tensor:
        """x itself, (B, M+R, D, H, W)."""
        return x

    def decode_volumes(self, z: Tensor, slices_per_batch: int = 32) -> tuple[Tensor, Tensor]:
        """z (B, M+R, D, H, W) -> image (B, M, D, H, W) in [-1, 1], mask probabilities (B, R, D, H, W)."""
        image, mask = z.clamp(-1.0, 1.0).split([self.image_channels, self.mask_channels], dim=1)
        return image, (mask + 1.0) / 2.0
