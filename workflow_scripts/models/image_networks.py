"""The feature networks by which images are judged, by the name that the configuration gives them."""

import os
from collections.abc import Callable
from functools import partial

from torch import nn

from ..base.errors import UserError
from .feature_network import load_feature_network
from .inception import load_inception_v3
from .medical_resnets import load_medicalnet, load_radimagenet

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "efficientnet_lite0": load_feature_network,
    "inception_v3": load_inception_v3,
    "radimagenet_resnet50": load_radimagenet,
    "medicalnet_resnet10": partial(load_medicalnet, 10),
    "medicalnet_resnet50": partial(load_medicalnet, 50),
}


def load_image_network(name: str, weights: str | os.PathLike, sha256: str | None) -> nn.Module:
    """A network with ``name``, ``digest``, ``spatial_dims`` and ``input_size`` (see ``FeatureNetwork``).

    It maps images (B, 3, H, W), or volumes (B, 1, D, H, W) where spatial_dims is 3, in [0, 1] to features (B, F).
    Raises UserError where the weights are missing or do not fit.
    """
    if weights == "package" and name != "efficientnet_lite0":
        raise UserError(f"evaluation: images: {name} is not packaged: give weights, the path of a file, and its sha256")
    return NETWORKS[name](weights, sha256)
