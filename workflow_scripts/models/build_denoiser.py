"""From a config block to a denoiser: one entry a kind."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..base.errors import UserError
from .tiled_unet import TiledUNet
from .unet import UNet


def _unet(spec: dict, latent_channels: int, n_conditions: int, dims: int) -> UNet:
    return UNet(
        latent_channels,
        latent_channels,
        spec["channels"],
        dims=dims,
        blocks_per_level=spec.get("blocks_per_level", 2),
        embedding_dim=spec.get("embedding_dim", 256),
        n_conditions=n_conditions,
        attention_levels=spec.get("attention_levels", ()),
        middle_attention=spec.get("middle_attention", False),
        checkpointing=spec.get("checkpointing", False),
    )


def _unet_3d(spec: dict, latent_channels: int, n_conditions: int) -> nn.Module:
    return _unet(spec, latent_channels, n_conditions, dims=3)


def _unet_2d_tiled(spec: dict, latent_channels: int, n_conditions: int) -> nn.Module:
    return TiledUNet(_unet(spec, latent_channels, n_conditions, dims=2))


DENOISERS: dict[str, Callable[[dict, int, int], nn.Module]] = {"unet_3d": _unet_3d, "unet_2d_tiled": _unet_2d_tiled}
"""Kind -> builder(spec, latent channels, number of conditions); every denoiser has the ``forward`` of `UNet`."""


def build_denoiser(spec: dict, latent_channels: int, n_conditions: int) -> nn.Module:
    """The denoiser that `spec` (the config's ``denoiser`` block) describes, for latents (B, latent_channels, D, h, w).

    Raises UserError for an unknown ``kind``, naming those there are.
    """
    kind = spec.get("kind")
    if kind not in DENOISERS:
        raise UserError(f"denoiser.kind is {kind!r}; known kinds: {', '.join(sorted(DENOISERS))}")
    return DENOISERS[kind](spec, latent_channels, n_conditions)
