"""The depth-aware decoder: a trained slice decoder that also sees the neighbouring slices' features."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..base.errors import UserError
from ..study.settings.autoencoder import DepthDecoder as DepthDecoderSettings
from .blocks import group_norm, norm_silu, zeroed
from .slice_autoencoder import SliceAutoencoder, slice_positions

SLICE_LAYERS = ("embedding", "entry", "up", "grow", "head")
"""Parts of a `SliceAutoencoder` that decode: copied, so that a fine-tuning leaves the autoencoder as it is."""


class DepthMixer(nn.Module):
    """Residual branch along depth: norm, SiLU, convolution over (k, 1, 1) voxels, SiLU, conv1, which begins at zero.

    The norm sees one slice at a time, so that a volume may be decoded in parts. The volume is laid out as an image of
    slices by pixels: a 2D kernel of k x 1, which every device computes well, is then the 3D one.

    Parameters
    ----------
    channels : int
    kernel_size : int
        k, slices, odd.
    """

    def __init__(self, channels: int, kernel_size: int):
        super().__init__()
        self.radius = kernel_size // 2
        self.norm = group_norm(channels)
        self.depth = nn.Conv2d(channels, channels, (kernel_size, 1))
        self.project = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, h: Tensor) -> Tensor:
        """h (B, T, C, H, W) -> (B, T - 2 radius, C, H, W): slices without a whole neighbourhood are left out."""
        batch, slices, _, *plane = h.shape
        x = norm_silu(self.norm, h.flatten(0, 1))  # (B T, C, H, W)
        x = x.unflatten(0, (batch, slices)).flatten(3).transpose(1, 2)  # (B, C, T, H W)
        x = self.project(nn.functional.silu(self.depth(x)))  # (B, C, T - 2 radius, H W)
        x = x.transpose(1, 2).unflatten(3, plane)
        return h[:, self.radius : slices - self.radius] + x


class DepthDecoder(nn.Module):
    """Decoder of latent volumes: the layers of a slice decoder, and mixers along depth after some of its levels.

    What Blattmann et al. 2023 (arXiv 2304.08818, section 3.1.1) do to the decoder of a latent video model for frames
    that flicker, for slices that streak: the encoder, and so the latents, stay as they are. Before any training it
    gives what the slice decoder gives. Beyond the ends of a volume its outermost slice is repeated.

    Parameters
    ----------
    autoencoder : SliceAutoencoder
        Trained. Its decoding layers are copied.
    levels : sequence of int
        Levels of the decoder, 1 (finest) and up, that are followed by a mixer.
    kernel_size : int
        Slices that a mixer sees, odd; 1: no neighbour, for comparison.
    """

    def __init__(self, autoencoder: SliceAutoencoder, levels: Sequence[int], kernel_size: int):
        super().__init__()
        for name in SLICE_LAYERS:
            setattr(self, name, copy.deepcopy(getattr(autoencoder, name)))
        self.image_channels, self.mask_channels = autoencoder.image_channels, autoencoder.mask_channels
        self.latent_channels, self.reduction = autoencoder.latent_channels, autoencoder.reduction
        self._position, self._depth_spacing_mm = autoencoder.position, autoencoder.depth_spacing_mm
        self.mixers = nn.ModuleDict(
            {str(level): DepthMixer(autoencoder.channels[level - 1], kernel_size) for level in sorted(levels)}
        )
        self.halo = len(self.mixers) * (kernel_size // 2)
        """Neighbours on either side, slices, of which a slice of the output is made."""

    def positions(self, depth: int) -> Tensor:
        """Position of each of `depth` slices, (D,), in the unit that the embedding sees."""
        return slice_positions(depth, self._position, self._depth_spacing_mm)

    def fix_slice_layers(self) -> None:
        """From now on the mixers alone are trained."""
        for name in SLICE_LAYERS:
            getattr(self, name).requires_grad_(False)

    def forward(self, z: Tensor, position: Tensor) -> Tensor:
        """Intensities and mask logits of S slices, from them and `halo` neighbours on either side.

        z (B, e, S + 2 halo, h, w), position (B, S + 2 halo) -> (B, M+R, S, H, W)
        """
        embedding = self.embedding(position.flatten()).unflatten(0, position.shape)  # (B, T, E)
        h = z.transpose(1, 2)  # (B, T, e, h, w)
        for level, layer in self._levels():
            h = layer(h.flatten(0, 1), embedding.flatten(0, 1)).unflatten(0, h.shape[:2])  # (B, T, C, h', w')
            if str(level) in self.mixers:
                mixer = self.mixers[str(level)]
                h = mixer(h)  # (B, T - 2 radius, C, h', w')
                embedding = embedding[:, mixer.radius : embedding.shape[1] - mixer.radius]
        out = self.head(self.grow(h.flatten(0, 1)))  # (B S, M+R, H, W)
        return out.unflatten(0, h.shape[:2]).transpose(1, 2)

    def _levels(self) -> Iterator[tuple[int, nn.Module]]:
        """Levels from the coarsest to 1, each with the slice layers that end in it."""
        yield len(self.up) + 1, self.entry
        yield from zip(range(len(self.up), 0, -1), self.up, strict=True)

    @torch.no_grad()
    def decode_volumes(self, z: Tensor, slices_per_batch: int = 32) -> tuple[Tensor, Tensor]:
        """z (B, e, D, h, w) -> image (B, M, D, H, W) in [-1, 1], mask probabilities (B, R, D, H, W); fp32.

        So many slices at a time, with what they need of their neighbours: how many changes nothing but memory.
        """
        device = next(self.parameters()).device
        batch, _, depth, height, width = z.shape
        plane = (height * self.reduction, width * self.reduction)
        out = torch.empty((batch, self.image_channels + self.mask_channels, depth, *plane), device=z.device)
        positions = self.positions(depth)
        for number in range(batch):
            for start in range(0, depth, slices_per_batch):
                count = min(slices_per_batch, depth - start)
                index = slab_slices(start, count, depth, self.halo)
                slab = z[number : number + 1, :, index.to(z.device)].to(device, torch.float32)
                made = self(slab, positions[index].to(device)[None])[0]
                out[number, :, start : start + count] = made.to(out.device, torch.float32)
        image, logits = out.split([self.image_channels, self.mask_channels], dim=1)
        return image.clamp_(-1.0, 1.0), logits.sigmoid_()


def slab_slices(start: int, count: int, depth: int, halo: int) -> Tensor:
    """Numbers of the slices from which `count` slices from `start` on are decoded: (count + 2 halo,) int64.

    Beyond either end of the volume stands the number of its outermost slice.
    """
    return torch.arange(start - halo, start + count + halo).clamp(0, depth - 1)


def build_depth_decoder(spec: dict, autoencoder: nn.Module) -> DepthDecoder:
    """The depth decoder that `spec` describes, around the decoder of `autoencoder`.

    Parameters
    ----------
    spec : dict
        ``levels`` ("all" or a list) and ``kernel_size``.
    autoencoder : nn.Module

    Raises
    ------
    UserError
        A wrong value, a level that the autoencoder does not have, or an autoencoder of another kind.
    """
    if not isinstance(autoencoder, SliceAutoencoder):
        raise UserError("a depth decoder goes with a slice autoencoder (kind slice_vae): others decode whole volumes")
    count = len(autoencoder.channels)
    block = DepthDecoderSettings.read(spec, "depth_decoder")
    levels = list(range(1, count + 1)) if block.levels == "all" else block.levels
    if max(levels) > count:
        raise UserError(f"depth_decoder.levels {levels} go beyond the {count} levels of the autoencoder")
    return DepthDecoder(autoencoder, levels, block.kernel_size)
