"""From a config block to the two networks of a GAN: one entry a kind."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..base.errors import UserError
from .gan import GanDiscriminator, GanGenerator

KINDS = ("gan_3d",)


def build_gan_generator(spec: dict, shape: Sequence[int], n_conditions: int) -> nn.Module:
    """The generator that `spec` (the config's ``gan`` block) describes, for volumes or latents of `shape` (C, D, H, W).

    It has `GanGenerator`'s ``forward`` and ``z_dim``. Raises UserError for an unknown ``kind``.
    """
    _check(spec)
    return GanGenerator(
        shape[0],
        shape[1:],
        spec["channels"],
        spec.get("z_dim", 2048),
        spec.get("stem_channels", 32),
        spec.get("embedding_dim", 256),
        n_conditions,
    )


def build_gan_discriminator(spec: dict, shape: Sequence[int], n_conditions: int) -> nn.Module:
    """The discriminator of the same block; `GanDiscriminator`'s ``forward``. Raises UserError for an unknown ``kind``."""
    _check(spec)
    return GanDiscriminator(shape[0], spec["discriminator_channels"], n_conditions)


def _check(spec: dict) -> None:
    if spec.get("kind") not in KINDS:
        raise UserError(f"gan.kind is {spec.get('kind')!r}; known kinds: {', '.join(KINDS)}")
