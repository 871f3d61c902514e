"""ResNets trained on medical images, as yardsticks: RadImageNet's of slices, and MedicalNet's of volumes.

The networks are MONAI's; the weights come from files that the user has fetched from their authors.
"""

import os
import re

import torch
from torch import Tensor, nn

from ..base.errors import UserError
from .weights_file import fill, read_weights

LAYERS = {10: ("basic", [1, 1, 1, 1]), 50: ("bottleneck", [3, 4, 6, 3])}
BACKBONE = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def _resnet(depth: int, spatial_dims: int, channels: int) -> nn.Module:
    from monai.networks.nets import ResNet  # MONAI takes seconds to load, and few studies use these networks

    block, layers = LAYERS[depth]
    return ResNet(
        block, layers, [64, 128, 256, 512], spatial_dims, channels, conv1_t_stride=2, feed_forward=False,
        bias_downsample=False,
    )  # fmt: skip


class RadImageNet(nn.Module):
    """ResNet-50 of RadImageNet (Mei et al. 2022): (B, 3, H, W) in [0, 1] -> (B, 2048), averaged over places.

    It was trained on slices of CT, MR and ultrasound, 224 x 224 pixels from -1 to 1.

    name, spatial_dims, input_size, digest : as of ``FeatureNetwork``
    """

    name = "ResNet-50 (RadImageNet)"
    spatial_dims, input_size = 2, 224

    def __init__(self, network: nn.Module, digest: str):
        super().__init__()
        self.network, self.digest = network, digest

    def forward(self, x: Tensor) -> Tensor:
        return self.network(2 * x - 1)


def load_radimagenet(path: str | os.PathLike, sha256: str | None) -> RadImageNet:
    """RadImageNet's ResNet-50 from its authors' PyTorch file, or from one with torchvision's names.

    The authors' file names the layers by number ("backbone.0.weight", "backbone.4.0.conv1.weight"). The network that
    others have converted from TensorFlow differs (its convolutions have biases) and is refused.
    Raises UserError as `read_weights`.
    """
    weights, digest = read_weights(path, sha256, "RadImageNet's ResNet-50")
    named = {}
    for name, value in weights.items():
        match = re.match(r"backbone\.(\d+)\.(.+)", name)
        if match and match[1] in BACKBONE:
            name = f"{BACKBONE[match[1]]}.{match[2]}"
        if not name.startswith(("fc.", "classifier.")):
            named[name] = value
    return RadImageNet(fill(_resnet(50, 2, 3), named, path, "RadImageNet's ResNet-50"), digest)


class MedicalNet(nn.Module):
    """ResNet of MedicalNet (Chen et al. 2019, arXiv:1904.00625): (B, 1, D, H, W) in [0, 1], background 0 -> (B, F).

    F is 512 (10 layers) or 2048 (50 layers), averaged over places. As its authors do, each volume is shifted and scaled
    to mean 0 and deviation 1 over its own foreground; they fill the background with such noise, here it
    gets the mean, so that the same volume has the same features. The grid is left as it is.

    name, spatial_dims, input_size, digest : as of ``FeatureNetwork``
    """

    spatial_dims, input_size = 3, None

    def __init__(self, network: nn.Module, depth: int, digest: str):
        super().__init__()
        self.network, self.digest = network, digest
        self.name = f"ResNet-{depth} (MedicalNet, 3D)"

    def forward(self, x: Tensor) -> Tensor:
        places = (1, 2, 3, 4)
        foreground = x > 0
        count = foreground.sum(dim=places, keepdim=True).clamp_min(1)
        mean = (x * foreground).sum(dim=places, keepdim=True) / count
        deviation = (((x - mean) * foreground).square().sum(dim=places, keepdim=True) / count).sqrt()
        return self.network((x - mean) / deviation.clamp_min(1e-6) * foreground)


def _dilate(layer: nn.Module, dilation: int) -> None:
    """Stride 1 and dilated 3x3x3 convolutions instead of stride 2, as MedicalNet has them in its last two layers."""
    for module in layer.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = (1, 1, 1)
            if module.kernel_size == (3, 3, 3):
                module.dilation = module.padding = (dilation,) * 3


def load_medicalnet(depth: int, path: str | os.PathLike, sha256: str | None) -> MedicalNet:
    """MedicalNet's ResNet of `depth` 10 or 50 from its authors' file, e.g. ``resnet_10_23dataset.pth``.

    The head of their segmentation ("conv_seg", in some files) is left out. Raises UserError as `read_weights`.
    """
    what = f"MedicalNet's ResNet-{depth}"
    weights, digest = read_weights(path, sha256, what)
    weights = {name: value for name, value in weights.items() if not name.startswith(("conv_seg.", "fc."))}
    first = weights.get("conv1.weight", torch.empty(0))
    if tuple(first.shape) != (64, 1, 7, 7, 7):
        raise UserError(
            f"feature network: {path} holds no weights of {what} (conv1.weight has shape {list(first.shape)})"
        )
    network = fill(_resnet(depth, 3, 1), weights, path, what)
    _dilate(network.layer3, 2)
    _dilate(network.layer4, 4)
    return MedicalNet(network, depth, digest)
