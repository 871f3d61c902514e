"""A trained depth decoder: where a model folder keeps it, and whether it belongs to the autoencoder there."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor, nn

from ..base.errors import UserError
from ..models.depth_decoder import DepthDecoder, build_depth_decoder
from .model_files import load_model, load_weights, weights_digest

FOLDER = "depth_decoder"
"""Inside the folder of an autoencoder, where it is trained, and of a generator, which uses it."""


def load_depth_decoder(folder: str | os.PathLike, autoencoder: nn.Module, weights: dict[str, Tensor]) -> DepthDecoder:
    """The depth decoder in `folder`, on the CPU.

    Parameters
    ----------
    folder : of train_depth_decoder, or a copy
    autoencoder, weights : the autoencoder whose latents are to be decoded

    Raises UserError if the folder holds none, is damaged, or holds that of another autoencoder.
    """
    own, contract = load_model(Path(folder))
    if contract["kind"] != "depth_decoder":
        raise UserError(f"{folder} holds a trained {contract['kind']}, not a depth decoder")
    if contract["autoencoder_weights_digest"] != weights_digest(weights):
        raise UserError(
            f"the depth decoder in {folder} was trained for another autoencoder than this model's: "
            "run `snakemake -R train_depth_decoder`, or decode without it (`depth_decoder: false`)"
        )
    module = build_depth_decoder(contract["spec"], autoencoder)
    load_weights(module, own, folder)
    return module
