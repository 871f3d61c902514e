"""Weights that a training starts from: those of the same network, trained on other patients."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from ..base.errors import UserError
from .contract import Trained
from .model_files import load_model, load_weights

SAME = ("kind", "modalities", "masks", "value_range", "spec")
SAME_NETWORK = {"autoencoder": (*SAME, "latent_shape"), "generator": (*SAME, "autoencoder")}
"""What the contracts of two models have in common if the weights of one mean the same in the other; a generator's
settings and the scale of its latents may differ."""


def start_from(module: nn.Module, folder: str, contract: Mapping, prefix: str = "") -> list[dict]:
    """Give `module` the weights of the model in `folder`, and say whose they are, as `contract.Trained`, after those of what
    it started from itself.

    contract : of the model that is to be trained
    prefix : before the names of the module's weights in the file

    Raises UserError that names the folder if it holds no trained model, or one of another network.
    """
    weights, known = load_model(folder)
    for name in SAME_NETWORK[contract["kind"]]:
        if known.get(name) != contract[name]:
            shown = f"{name} {known.get(name)!r:.200}, here {contract[name]!r:.200}"
            raise UserError(
                f"training.start_from: {folder} holds another network ({shown}): train one with these settings"
            )
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    load_weights(module, own, Path(folder) / "model.safetensors")
    begun = {name: known[name] for name in Trained.model_fields if name in known}
    return [*known.get("started_from", []), begun]
