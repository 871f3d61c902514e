"""The latents of the train subset, as extract_latents left them."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..base.errors import UserError
from ..base.files import read_json
from .model_files import contract_digest


def read_latents(
    folder: str | os.PathLike, autoencoder: str | os.PathLike, contract: dict
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Latents of the training cases, and their scale.

    Parameters
    ----------
    folder : of extract_latents
    autoencoder, contract : folder and contract of the autoencoder that made the latents

    Returns
    -------
    case id -> (e, D, h, w) fp32 in the autoencoder's own scale, by rising id; mean (e,); standard deviation (e,)

    Raises
    ------
    UserError
        If a file is missing or damaged, or if the parts do not belong together: latents of another autoencoder, of
        other cases than it was trained on, of another shape, or with numbers that are not finite.
    """
    folder = Path(folder)
    scale = read_json(folder / "latents.json")
    again = "run `snakemake -R extract_latents`"
    if scale.get("autoencoder_digest") != contract_digest(autoencoder):
        raise UserError(f"the latents in {folder} were made by another autoencoder than {autoencoder}: {again}")
    try:
        by_case = load_file(folder / "latents.safetensors")
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{folder / 'latents.safetensors'} cannot be read ({error}): {again}") from None
    case_ids = sorted(by_case)
    if case_ids != sorted(contract["training_case_ids"]):
        raise UserError(f"{folder} and {autoencoder} are about different training cases: {again}")
    for case_id in case_ids:
        if list(by_case[case_id].shape) != list(contract["latent_shape"]):
            shape = list(by_case[case_id].shape)
            raise UserError(f"case {case_id}: its latent has shape {shape}, not {contract['latent_shape']}: {again}")
    mean, std = (torch.tensor(scale[key], dtype=torch.float32) for key in ("mean", "std"))
    latents = {case_id: by_case[case_id].float() for case_id in case_ids}
    if not all(torch.isfinite(latent).all() for latent in latents.values()) or not (std > 0).all():
        raise UserError(f"{folder} holds latents or a scale that are not finite: {again}")
    return latents, mean, std
