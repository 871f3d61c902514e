"""From a config block to the two networks of a GAN: one entry a kind."""

from collections.abc import Sequence

from ..study.settings.generator import Gan
from .gan import GanDiscriminator, GanGenerator


def build_gan_generator(spec: dict, shape: Sequence[int], n_conditions: int) -> GanGenerator:
    """The generator that `spec` (the config's ``gan`` block) describes, for volumes or latents of `shape` (C, D, H, W).

    Raises UserError for a key or value that cannot be.
    """
    block = Gan.read(spec, "gan")
    return GanGenerator(
        shape[0],
        shape[1:],
        block.channels,
        block.z_dim,
        block.stem_channels,
        block.embedding_dim,
        n_conditions,
    )


def build_gan_discriminator(spec: dict, shape: Sequence[int], n_conditions: int) -> GanDiscriminator:
    """The discriminator of the same block. Raises UserError for a key or value that cannot be."""
    block = Gan.read(spec, "gan")
    return GanDiscriminator(shape[0], block.discriminator_channels, n_conditions)
