"""From a config block to a denoiser: one entry a kind."""

from collections.abc import Callable

from torch import nn

from ..study.settings.generator import Denoiser
from .tiled_unet import TiledUNet
from .unet import UNet


def _unet(spec: Denoiser, latent_channels: int, n_conditions: int, n_labels: int, n_maps: int, dims: int) -> UNet:
    return UNet(
        latent_channels,
        latent_channels,
        spec.channels,
        dims=dims,
        blocks_per_level=spec.blocks_per_level,
        embedding_dim=spec.embedding_dim,
        n_conditions=n_conditions,
        attention_levels=spec.attention_levels,
        middle_attention=spec.middle_attention,
        checkpointing=spec.checkpointing,
        n_labels=n_labels,
        n_maps=n_maps,
    )


def _unet_3d(spec: Denoiser, *channels: int) -> nn.Module:
    return _unet(spec, *channels, dims=3)


def _unet_2d_tiled(spec: Denoiser, *channels: int) -> nn.Module:
    return TiledUNet(_unet(spec, *channels, dims=2))


DENOISERS: dict[str, Callable[..., nn.Module]] = {"unet_3d": _unet_3d, "unet_2d_tiled": _unet_2d_tiled}
"""Kind -> builder(spec, latent channels, numbers of conditions, labels, maps); each has the ``forward`` of `UNet`."""


def build_denoiser(
    spec: dict, latent_channels: int, n_conditions: int, n_labels: int = 0, n_maps: int = 0
) -> nn.Module:
    """The denoiser that `spec` (the config's ``denoiser`` block) describes, for latents (B, latent_channels, D, h, w).

    n_conditions, n_labels, n_maps : see `UNet`

    Raises UserError for a key or value that cannot be.
    """
    block = Denoiser.read(spec, "denoiser")
    return DENOISERS[block.kind](block, latent_channels, n_conditions, n_labels, n_maps)
