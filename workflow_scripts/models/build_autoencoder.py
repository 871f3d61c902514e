"""From a config block to an autoencoder: one entry a kind."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..base.errors import UserError
from .slice_autoencoder import SliceAutoencoder
from .volume_autoencoder import VolumeAutoencoder
from .voxel_space import VoxelSpace


def _slice_vae(spec: dict, image_channels: int, mask_channels: int, grid: dict) -> nn.Module:
    _check(spec)
    return SliceAutoencoder(
        image_channels,
        mask_channels,
        spec["channels"],
        spec["strides"],
        spec["latent_channels"],
        grid,
        spec.get("position", "fraction"),
        spec.get("embedding_dim", 128),
    )


def _vae_3d(spec: dict, image_channels: int, mask_channels: int, grid: dict) -> nn.Module:
    _check(spec)
    return VolumeAutoencoder(
        image_channels, mask_channels, spec["channels"], spec["strides"], spec["latent_channels"], grid
    )


def _check(spec: dict) -> None:
    for key in ("channels", "strides"):
        values = spec.get(key)
        if not isinstance(values, list) or not values or not all(_is_count(value) for value in values):
            raise UserError(f"autoencoder: `{key}: {values}` must be a list of whole numbers of at least 1")
    channels, strides = spec["channels"], spec["strides"]
    if len(channels) != len(strides):
        raise UserError(
            f"autoencoder: {len(channels)} channels, but {len(strides)} strides; write one stride a level, "
            f"e.g. `strides: {[1] + [2] * (len(channels) - 1)}`"
        )
    if not _is_count(spec.get("latent_channels")):
        raise UserError(f"autoencoder: `latent_channels: {spec.get('latent_channels')}` must be at least 1")
    if spec.get("position", "fraction") not in ("fraction", "mm"):
        raise UserError(f"autoencoder: `position: {spec['position']}` must be fraction or mm")
    dim = spec.get("embedding_dim", 128)
    if not _is_count(dim) or dim < 4 or dim % 2:
        raise UserError(f"autoencoder: `embedding_dim: {dim}` must be an even number of at least 4")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


AUTOENCODERS: dict[str, Callable[[dict, int, int, dict], nn.Module]] = {"slice_vae": _slice_vae, "vae_3d": _vae_3d}
"""Kind -> builder(spec, image channels, mask channels, grid). An autoencoder of volumes has ``latent_shape(size)``,
``encode_volumes(x, slices_per_batch)`` and ``decode_volumes(z, slices_per_batch)`` as `SliceAutoencoder`."""


def build_autoencoder(spec: dict | None, image_channels: int, mask_channels: int, grid: dict) -> nn.Module:
    """The autoencoder that `spec` (the config's ``autoencoder`` block) describes.

    Parameters
    ----------
    spec : dict or None
        ``kind`` and the arguments of that network; None: no autoencoder, a `VoxelSpace` in its place.
    image_channels, mask_channels : int
        Modalities M and regions R.
    grid : {"size": [D, H, W], "spacing_mm": [z, y, x]}

    Raises
    ------
    UserError
        An unknown kind (the message names those there are), a wrong value, or a grid that does not fit the strides.
    """
    if spec is None:
        return VoxelSpace(image_channels, mask_channels)
    kind = spec.get("kind")
    if kind not in AUTOENCODERS:
        raise UserError(f"autoencoder.kind is {kind!r}; known kinds: {', '.join(sorted(AUTOENCODERS))}")
    return AUTOENCODERS[kind](spec, image_channels, mask_channels, grid)
