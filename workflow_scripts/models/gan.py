"""A 3D generative adversarial network of images and masks under conditions: generator and discriminator.

Residual blocks that the tumour's conditions steer in the generator, a projection discriminator (Miyato & Koyama 2018,
arXiv 1802.05637) with spectral normalisation (Miyato et al. 2018, arXiv 1802.05957).
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import Conv3d, group_norm, norm_silu
from .unet import ResidualBlock


def _sizes(size: Sequence[int], levels: int) -> list[tuple[int, ...]]:
    """Coarsest to finest: `size` halved (rounded up) so often."""
    return [tuple(math.ceil(edge / 2**power) for edge in size) for power in reversed(range(levels))]


class GanGenerator(nn.Module):
    """Volume from noise under conditions: z (B, z_dim), conditions (B, F) -> (B, out_channels, D, H, W) in [-1, 1].

    out_channels : images and masks
    size : (D, H, W), of the volumes; any
    channels : width of each level, coarsest first; each level but the first doubles the size
    z_dim : width of the noise. The paper: 2048.
    stem_channels : channels into which the noise is unfolded on the coarsest grid
    embedding_dim : width of the embedding of the conditions, which steers every block
    """

    def __init__(
        self,
        out_channels: int,
        size: Sequence[int],
        channels: Sequence[int],
        z_dim: int,
        stem_channels: int,
        embedding_dim: int,
        n_conditions: int,
    ):
        super().__init__()
        self.sizes, self.z_dim, e = _sizes(size, len(channels)), z_dim, embedding_dim
        self.coarsest = (stem_channels, *self.sizes[0])
        self.features = nn.Sequential(nn.Linear(n_conditions, e), nn.SiLU(), nn.Linear(e, e))
        self.unfold = nn.Linear(z_dim, math.prod(self.coarsest))
        widths = [stem_channels, *channels]
        self.blocks = nn.ModuleList(ResidualBlock(c_in, c_out, e, dims=3) for c_in, c_out in pairwise(widths))
        self.norm, self.head = group_norm(widths[-1]), Conv3d(widths[-1], out_channels, 3, padding=1)

    def forward(self, z: Tensor, conditions: Tensor) -> Tensor:
        """z (B, z_dim), conditions (B, F) normalised -> (B, out_channels, D, H, W) float32 in [-1, 1]."""
        embedding = self.features(conditions)
        h = self.unfold(z).reshape(len(z), *self.coarsest)  # (B, stem, *coarsest size)
        for block, size in zip(self.blocks, self.sizes, strict=True):
            h = block(F.interpolate(h, size=size, mode="nearest"), embedding)
        return self.head(norm_silu(self.norm, h)).float().tanh()


class _SpectralNorm:
    """Divides a layer's weight by its largest singular value, estimated by one power iteration a training pass.

    PyTorch's own parametrization cannot be sent to another process. The estimate follows from the weights alone, so
    that it is the same on every device.
    """

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        rows = self.weight.flatten(1).shape[0]
        self.register_buffer("left", F.normalize(torch.randn(rows), dim=0))

    def normalised_weight(self) -> Tensor:
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)  # (out, in * kernel)
            with torch.no_grad():
                right = F.normalize(matrix.T @ self.left, dim=0)
                left = F.normalize(matrix @ right, dim=0) if self.training else self.left.clone()
                self.left.copy_(left)
            return self.weight / (left @ (matrix @ right))


class _SpectralConv3d(_SpectralNorm, Conv3d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, self.normalised_weight(), bias)


class _SpectralLinear(_SpectralNorm, nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalised_weight(), self.bias)


class GanDiscriminator(nn.Module):
    """Score of a volume under conditions: x (B, C, D, H, W), conditions (B, F) -> (B,).

    channels : width of each layer, finest first; each halves the size
    """

    def __init__(self, in_channels: int, channels: Sequence[int], n_conditions: int):
        super().__init__()
        widths = [in_channels, *channels]
        self.layers = nn.ModuleList(
            _SpectralConv3d(c_in, c_out, 3, stride=2, padding=1) for c_in, c_out in pairwise(widths)
        )
        self.score = _SpectralLinear(widths[-1], 1)
        self.projection = _SpectralLinear(n_conditions, widths[-1])

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """x (B, C, D, H, W) in [-1, 1], conditions (B, F) normalised -> (B,): towards 1 real, towards 0 made."""
        h = x
        for layer in self.layers:
            h = F.leaky_relu(layer(h), 0.2)
        h = h.float().mean(dim=(2, 3, 4))  # (B, c)
        return self.score(h).squeeze(1).float() + (self.projection(conditions) * h).sum(dim=1).float()
