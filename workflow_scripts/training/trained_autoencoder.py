"""A trained autoencoder, opened for the subset that it was trained on."""

import os

from torch import Tensor, nn

from ..base.errors import UserError
from ..cohort.subset import Subset
from ..models.build_autoencoder import build_autoencoder
from .case_volumes import common_grid
from .model_files import build_for, load_model


def load_autoencoder(folder: str | os.PathLike, train: Subset) -> tuple[nn.Module, dict[str, Tensor], dict]:
    """The autoencoder in `folder`, on the CPU, its weights and its contract.

    Raises UserError if the folder holds none, or one that was trained on other cases or on another grid than `train`.
    """
    weights, contract = load_model(folder)
    if contract["kind"] != "autoencoder":
        raise UserError(f"{folder} holds a {contract['kind']}, not an autoencoder")
    if train.case_ids != sorted(contract["training_case_ids"]):
        raise UserError(
            f"{folder} was not trained on the train subset of {train.n_patients} patients: "
            "run `snakemake -R train_autoencoder`"
        )
    shared = common_grid(train.store, train.case_ids)
    if (shared["modalities"], shared["grid"]) != (contract["modalities"], contract["grid"]):
        raise UserError(f"{folder} was trained on another grid or other modalities than {train.manifest} holds")
    channels = len(contract["modalities"]), len(contract["masks"])
    module = build_for(weights, lambda: build_autoencoder(contract["spec"], *channels, contract["grid"]), folder)
    return module, weights, contract
