"""UNet that denoises a latent or a volume under conditions, in two or three dimensions, with attention where asked for.

Layout of convolutions as in Kebaili et al. 2024 (arXiv 2406.05421); residual blocks with group normalisation and
scale-and-shift conditioning as in Dhariwal & Nichol 2021 (arXiv 2105.05233, section 3).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .attention import SelfAttention
from .blocks import CONV, group_norm, norm_silu, zeroed


def sinusoid(position: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding (B,) -> (B, width) of a number of order 1 to 1000 (Vaswani et al. 2017, section 3.5)."""
    half = width // 2
    steps = torch.arange(half, device=position.device, dtype=torch.float32)
    angles = position.float()[:, None] * torch.exp(-math.log(max_period) * steps / half)
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, width - 2 * half))


class ResidualBlock(nn.Module):
    """Two 3-kernel convolutions with a shortcut; the embedding scales and shifts the features between them.

    (B, c_in, *size), (B, embedding_dim) -> (B, c_out, *size). It starts as its shortcut: the second convolution is
    zero at first.
    """

    def __init__(self, c_in: int, c_out: int, embedding_dim: int, dims: int):
        super().__init__()
        conv = CONV[dims]
        self.norm_in, self.conv_in = group_norm(c_in), conv(c_in, c_out, 3, padding=1)
        self.film = nn.Linear(embedding_dim, 2 * c_out)
        self.norm_out, self.conv_out = group_norm(c_out), zeroed(conv(c_out, c_out, 3, padding=1))
        self.shortcut = conv(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv_in(norm_silu(self.norm_in, x))  # (B, c_out, *size)
        film = self.film(F.silu(embedding))  # (B, 2 c_out)
        return self.shortcut(x) + self.conv_out(norm_silu(self.norm_out, h, film))


class _Block(ResidualBlock):
    """A residual block, with self-attention after it where asked for; shapes as in `ResidualBlock`."""

    def __init__(self, c_in: int, c_out: int, embedding_dim: int, dims: int, attention: bool):
        super().__init__(c_in, c_out, embedding_dim, dims)
        self.attention = SelfAttention(c_out, dims) if attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = super().forward(x, embedding)
        return h if self.attention is None else self.attention(h)


class UNet(nn.Module):
    """Predict the target of a noisy latent: (B, in_channels, *size), (B,) -> (B, out_channels, *size).

    in_channels, out_channels : channels of the latent
    channels : [c0, c1, ..., cL]: c0 after the first convolution, c1 to cL on the L levels. The paper: [64, 128, 256,
        512]. Each level but the first halves the size (rounded up); going up, sizes follow those of the way down, so
        that any size goes.
    dims : 2 or 3 spatial dimensions
    blocks_per_level : residual blocks on each level of the way down, and one more on the way up. The paper: 2.
    embedding_dim : width of the embedding of time and conditions
    n_conditions : number of tumour conditions; 0 for an unconditional network
    attention_levels : levels, 1 (finest) to L, each block of which is followed by self-attention, down and up. The
        paper: none.
    middle_attention : self-attention between the two blocks at the bottleneck. The paper: in its 3D latent and voxel
        systems.
    checkpointing : in training keep the input of each block alone, and compute it again for the gradient: less memory,
        a third more time (Chen et al. 2016, arXiv 1604.06174). The results are the same.
    n_labels : numbers that follow the conditions and are never replaced by the null token: zeros stand for none
    n_maps : channels of a spatial condition beside the latent; its null token is zeros
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        *,
        dims: int = 3,
        blocks_per_level: int = 2,
        embedding_dim: int = 256,
        n_conditions: int = 0,
        attention_levels: Sequence[int] = (),
        middle_attention: bool = False,
        checkpointing: bool = False,
        n_labels: int = 0,
        n_maps: int = 0,
    ):
        super().__init__()
        conv, (c0, *levels), e = CONV[dims], channels, embedding_dim
        self.n_conditions, self.embedding_dim, self.checkpointing = n_conditions, e, checkpointing

        def block(c_in: int, c_out: int, level: int) -> nn.Module:
            return _Block(c_in, c_out, e, dims, level + 1 in attention_levels)

        self.time = nn.Sequential(nn.Linear(e, e), nn.SiLU(), nn.Linear(e, e))
        if n_conditions:
            self.features = nn.Sequential(nn.Linear(n_conditions, e), nn.SiLU(), nn.Linear(e, e))
            self.null_token = nn.Parameter(torch.randn(e) * 0.02)  # stands for "no conditions asked for"

        self.labels = nn.Linear(n_labels, e, bias=False) if n_labels else None
        self.n_maps = n_maps
        self.stem = conv(in_channels + n_maps, c0, 3, padding=1)
        skips, width = [c0], c0
        self.down = nn.ModuleList()  # for each level: blocks, then (but for the last) a strided convolution
        for level, c in enumerate(levels):
            stage = nn.ModuleList()
            for _ in range(blocks_per_level):
                stage.append(block(width, c, level))
                width = c
                skips.append(c)
            if level < len(levels) - 1:
                stage.append(conv(c, c, 3, stride=2, padding=1))
                skips.append(c)
            self.down.append(stage)
        self.middle = nn.ModuleList([_Block(width, width, e, dims, i == 0 and middle_attention) for i in range(2)])
        self.up = nn.ModuleList()  # for each level, deepest first: blocks, then (but for the first) a convolution
        for level in reversed(range(len(levels))):
            stage = nn.ModuleList()
            for _ in range(blocks_per_level + 1):
                skip = skips.pop()
                stage.append(block(width + skip, skip, level))
                width = skip
            if level > 0:
                stage.append(conv(width, width, 3, padding=1))
            self.up.append(stage)
        self.norm, self.head = group_norm(width), zeroed(conv(width, out_channels, 1))

    def embed(self, time: Tensor, conditions: Tensor | None, keep: Tensor | None) -> Tensor:
        """Embedding (B, embedding_dim) of the time step and of the conditions, or of the null token in their place."""
        embedding = self.time(sinusoid(time, self.embedding_dim))
        if self.labels is not None and conditions is not None:
            conditions, labels = conditions.split([self.n_conditions, self.labels.in_features], dim=1)
            embedding = embedding + self.labels(labels)
        if not self.n_conditions:
            return embedding
        null = self.null_token.expand(time.shape[0], -1)
        if conditions is None:
            return embedding + null
        wanted = self.features(conditions)
        return embedding + (wanted if keep is None else torch.where(keep[:, None], wanted, null))

    def _run(self, block: nn.Module, h: Tensor, embedding: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, h, embedding, use_reentrant=False)
        return block(h, embedding)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        conditions: Tensor | None = None,
        keep: Tensor | None = None,
        maps: Tensor | None = None,
    ) -> Tensor:
        """Denoise.

        x : (B, in_channels, *size) noisy latent
        time : (B,) time step, 0 (clean) to T - 1 (noise)
        conditions : (B, n_conditions + n_labels) normalised tumour conditions; None: the null token for every sample
        keep : (B,) booleans; where false the null token replaces the conditions. None: keep all
        maps : (B, n_maps, *size) spatial condition, under the same `keep`; None: the null token for every sample
        returns (B, out_channels, *size) float32
        """
        embedding = self.embed(time, conditions, keep)
        if self.n_maps:
            if maps is None:
                maps = x.new_zeros(len(x), self.n_maps, *x.shape[2:])
            elif keep is not None:
                maps = maps * keep.view(-1, *[1] * (x.ndim - 1))
            x = torch.cat([x, maps], dim=1)  # (B, in_channels + n_maps, *size)
        h = self.stem(x)  # (B, c0, *size)
        skips = [h]
        for stage in self.down:
            for layer in stage:
                h = self._run(layer, h, embedding) if isinstance(layer, _Block) else layer(h)
                skips.append(h)
        for block in self.middle:
            h = self._run(block, h, embedding)
        for stage in self.up:
            for layer in stage:
                if isinstance(layer, _Block):
                    h = self._run(layer, torch.cat([h, skips.pop()], dim=1), embedding)
                else:  # to the size of the next skip: twice this one, or one less where that was odd
                    h = layer(F.interpolate(h, size=skips[-1].shape[2:], mode="nearest"))
        return self.head(norm_silu(self.norm, h)).float()
