"""From a config block to an autoencoder: one entry a kind."""

from collections.abc import Callable

from ..study.settings.autoencoder import SliceVae, Vae3d, autoencoder_of
from .slice_autoencoder import SliceAutoencoder
from .volume_autoencoder import VolumeAutoencoder
from .voxel_space import VoxelSpace

Autoencoder = SliceAutoencoder | VolumeAutoencoder | VoxelSpace
"""Each has ``latent_shape(size)``, ``encode_volumes(x, slices_per_batch)`` and ``decode_volumes(z, slices_per_batch)``."""


def _slice_vae(spec: SliceVae, image_channels: int, mask_channels: int, grid: dict) -> Autoencoder:
    return SliceAutoencoder(
        image_channels, mask_channels, spec.channels, spec.strides, spec.latent_channels, grid, spec.position,
        spec.embedding_dim,
    )  # fmt: skip


def _vae_3d(spec: Vae3d, image_channels: int, mask_channels: int, grid: dict) -> Autoencoder:
    return VolumeAutoencoder(image_channels, mask_channels, spec.channels, spec.strides, spec.latent_channels, grid)


AUTOENCODERS: dict[str, Callable[..., Autoencoder]] = {"slice_vae": _slice_vae, "vae_3d": _vae_3d}
"""Kind -> builder(spec, image channels, mask channels, grid)."""


def build_autoencoder(spec: dict | None, image_channels: int, mask_channels: int, grid: dict) -> Autoencoder:
    """The autoencoder that `spec` (the config's ``autoencoder`` block) describes.

    spec : ``kind`` and the arguments of that network; None: no autoencoder, a `VoxelSpace` in its place
    image_channels, mask_channels : modalities M and regions R
    grid : {"size": [D, H, W], "spacing_mm": [z, y, x]}

    Raises UserError: an unknown kind (the message names those there are), a wrong value, or a grid that does not fit
    the strides.
    """
    if spec is None:
        return VoxelSpace(image_channels, mask_channels)
    block = autoencoder_of(spec)
    return AUTOENCODERS[block.kind](block, image_channels, mask_channels, grid)
