"""Inception-v3 up to its last pooling, as the network of the usual FID (Szegedy et al. 2016, arXiv:1512.00567).

Two weights files fit, and each is run as it was trained:
- pytorch-fid's ``pt_inception-2015-12-05``, TensorFlow's network of 2015 with 1008 classes: average pools leave the
  padding out, and the last block pools by maximum. FID by this network is what papers on photographs print.
- torchvision's ``inception_v3``, 1000 classes: average pools count the padding.
Both see pixels from -1 to 1 (torchvision's own input transform ends there too), and their layers have the same names.
"""

import os

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..base.errors import UserError
from .weights_file import fill, read_weights

SIZE = 299  # pixels that the network is given in both


class Convolution(nn.Module):
    """Convolution without bias, batch normalisation, ReLU: (B, C, H, W) -> (B, C', H', W')."""

    def __init__(self, channels: int, out: int, kernel: int | tuple[int, int], stride: int = 1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _chain(block: nn.Module, x: Tensor, *names: str) -> Tensor:
    for name in names:
        x = getattr(block, name)(x)
    return x


class _Block(nn.Module):
    """Branches side by side. `pool`: "counted", "inside" (average pools with and without the padding) or "max"."""

    pool = "counted"

    def pooled(self, x: Tensor) -> Tensor:
        if self.pool == "max":
            return self.branch_pool(F.max_pool2d(x, 3, stride=1, padding=1))
        inside = self.pool == "inside"
        return self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=not inside))


class BlockA(_Block):
    """35 x 35: branches of 1x1, 5x5, twice 3x3, and a pool."""

    def __init__(self, channels: int, pool_features: int):
        super().__init__()
        self.branch1x1 = Convolution(channels, 64, 1)
        self.branch5x5_1 = Convolution(channels, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(channels, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(channels, pool_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = _chain(self, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch1x1(x), _chain(self, x, "branch5x5_1", "branch5x5_2"), double, self.pooled(x)], 1)


class BlockB(_Block):
    """35 x 35 -> 17 x 17."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3 = Convolution(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(channels, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = _chain(self, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(_Block):
    """17 x 17: branches of 1x1, 7x7 and twice 7x7 (each as 1x7 and 7x1), and a pool."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        flat, tall = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = Convolution(channels, 192, 1)
        self.branch7x7_1 = Convolution(channels, width, 1)
        self.branch7x7_2 = Convolution(width, width, **flat)
        self.branch7x7_3 = Convolution(width, 192, **tall)
        self.branch7x7dbl_1 = Convolution(channels, width, 1)
        self.branch7x7dbl_2 = Convolution(width, width, **tall)
        self.branch7x7dbl_3 = Convolution(width, width, **flat)
        self.branch7x7dbl_4 = Convolution(width, width, **tall)
        self.branch7x7dbl_5 = Convolution(width, 192, **flat)
        self.branch_pool = Convolution(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = _chain(self, x, *(f"branch7x7_{number}" for number in range(1, 4)))
        double = _chain(self, x, *(f"branch7x7dbl_{number}" for number in range(1, 6)))
        return torch.cat([self.branch1x1(x), single, double, self.pooled(x)], 1)


class BlockD(_Block):
    """17 x 17 -> 8 x 8."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3_1 = Convolution(channels, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(channels, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = _chain(self, x, *(f"branch7x7x3_{number}" for number in range(1, 5)))
        return torch.cat([_chain(self, x, "branch3x3_1", "branch3x3_2"), seven, F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(_Block):
    """8 x 8: branches of 1x1, 3x3 and twice 3x3 whose ends fan out into 1x3 and 3x1, and a pool; 2048 channels."""

    def __init__(self, channels: int):
        super().__init__()
        flat, tall = {"kernel": (1, 3), "padding": (0, 1)}, {"kernel": (3, 1), "padding": (1, 0)}
        self.branch1x1 = Convolution(channels, 320, 1)
        self.branch3x3_1 = Convolution(channels, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, **flat)
        self.branch3x3_2b = Convolution(384, 384, **tall)
        self.branch3x3dbl_1 = Convolution(channels, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, **flat)
        self.branch3x3dbl_3b = Convolution(384, 384, **tall)
        self.branch_pool = Convolution(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), _chain(self, x, "branch3x3dbl_1", "branch3x3dbl_2")
        fans = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        fans += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *fans, self.pooled(x)], 1)


class InceptionV3(nn.Module):
    """(B, 3, 299, 299) in [0, 1] -> (B, 2048), averaged over places. `classes`: 1008 (TensorFlow 2015) or 1000.

    name, spatial_dims, input_size, digest : as of ``FeatureNetwork``
    """

    spatial_dims, input_size, digest = 2, SIZE, ""

    def __init__(self, classes: int):
        super().__init__()
        self.of_2015 = classes == 1008
        self.name = "Inception-v3 (TensorFlow 2015, as of FID)" if self.of_2015 else "Inception-v3 (torchvision)"
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280), BlockE(2048)
        self.fc = nn.Linear(2048, classes)  # in the file; no feature passes through it
        if self.of_2015:
            for block in self.modules():
                if isinstance(block, _Block):
                    block.pool = "inside"
            self.Mixed_7c.pool = "max"

    def forward(self, x: Tensor) -> Tensor:
        x = _chain(self, 2 * x - 1, "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3")
        x = _chain(self, F.max_pool2d(x, 3, stride=2), "Conv2d_3b_1x1", "Conv2d_4a_3x3")
        x = _chain(self, F.max_pool2d(x, 3, stride=2), "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a")
        x = _chain(self, x, "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e")
        return _chain(self, x, "Mixed_7a", "Mixed_7b", "Mixed_7c").mean(dim=(2, 3))


def load_inception_v3(path: str | os.PathLike, sha256: str | None) -> InceptionV3:
    """Inception-v3 with the weights of a file of pytorch-fid or torchvision. Raises UserError as `read_weights`."""
    weights, digest = read_weights(path, sha256, "Inception-v3")
    weights = {name: value for name, value in weights.items() if not name.startswith("AuxLogits.")}
    classes = len(weights.get("fc.bias", ()))
    if classes not in (1000, 1008):
        raise UserError(
            f"feature network: {path} holds no weights of Inception-v3 (no fc.bias of 1008 classes, as pytorch-fid's "
            "file has it, or of 1000, as torchvision's)"
        )
    network = fill(InceptionV3(classes), weights, path, "Inception-v3")
    network.digest = digest
    return network
