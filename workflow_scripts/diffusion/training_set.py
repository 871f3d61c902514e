"""What the generator learns from: the folder that extract_latents writes, read and checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..base.errors import UserError
from ..base.files import read_json, read_tsv
from ..cohort.tumours import feature_names
from ..training.model_files import contract_digest
from .conditions import FeatureTable


@dataclass(frozen=True)
class TrainingSet:
    """The training cases, in the order of their ids.

    Attributes
    ----------
    case_ids : list of str
    latents : (n, e, D, h, w) float32, mean 0 and standard deviation 1 in each channel over the train subset
    mean, std : (e,) float32, the scale that was taken out
    features : FeatureTable, rows in the order of `case_ids`
    brain_volume_ml : [smallest, largest]
    """

    case_ids: list[str]
    latents: Tensor
    mean: Tensor
    std: Tensor
    features: FeatureTable
    brain_volume_ml: list[float]


def read_training_set(folder: str | os.PathLike, autoencoder: str | os.PathLike, contract: dict) -> TrainingSet:
    """Read latents, their scale and the tumour features.

    Parameters
    ----------
    folder : of extract_latents
    autoencoder, contract : folder and contract of the autoencoder that made the latents

    Raises UserError if a file is missing or damaged, or if the parts do not belong together: latents of another
    autoencoder, of other cases than it was trained on, or of another shape.
    """
    folder = Path(folder)
    scale, table = read_json(folder / "latents.json"), read_tsv(folder / "features.tsv")
    again = "run `snakemake -R extract_latents`"
    if scale.get("autoencoder_digest") != contract_digest(autoencoder):
        raise UserError(f"the latents in {folder} were made by another autoencoder than {autoencoder}: {again}")
    try:
        by_case = load_file(folder / "latents.safetensors")
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{folder / 'latents.safetensors'} cannot be read ({error}): {again}") from None
    case_ids = sorted(by_case)
    if case_ids != sorted(contract["training_case_ids"]) or case_ids != sorted(table["case_id"]):
        raise UserError(f"{folder} and {autoencoder} are about different training cases: {again}")
    for case_id in case_ids:
        if list(by_case[case_id].shape) != list(contract["latent_shape"]):
            shape = list(by_case[case_id].shape)
            raise UserError(f"case {case_id}: its latent has shape {shape}, not {contract['latent_shape']}: {again}")
    names = feature_names(contract["regions"])
    missing = [name for name in (*names, "brain_volume_ml") if name not in table]
    if missing:
        raise UserError(f"{folder / 'features.tsv'} lacks the columns {', '.join(missing)}: {again}")
    table = table.set_index("case_id").loc[case_ids]
    mean, std = (torch.tensor(scale[key], dtype=torch.float32) for key in ("mean", "std"))
    latents = torch.stack([by_case[case_id].float() for case_id in case_ids])  # (n, e, D, h, w)
    if not torch.isfinite(latents).all() or not (std > 0).all():
        raise UserError(f"{folder} holds latents or a scale that are not finite: {again}")
    latents = (latents - mean[:, None, None, None]) / std[:, None, None, None]
    rows = table[names].to_numpy(np.float32).astype(np.float64)  # as the model file keeps them
    features = FeatureTable(tuple(names), rows)
    brain = table["brain_volume_ml"]
    return TrainingSet(case_ids, latents, mean, std, features, [float(brain.min()), float(brain.max())])
