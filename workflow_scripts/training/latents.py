"""The latents of the train subset, as extract_latents left them."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..base.errors import UserError
from ..base.files import read_json
from .model_files import contract_digest

LATENTS, CONDITIONS, CHANGES = "variants/", "conditions/", "changes/"
"""Prefixes of a case's id in latents.safetensors: latents (v, e, D, h, w), conditions (v, F), labels (v, L) of its copies."""

AGAIN = "run `snakemake -R extract_latents`"


@dataclass(frozen=True)
class Latents:
    """What extract_latents left.

    by_case : case id -> (e, D, h, w) fp32 in the autoencoder's own scale, by rising id
    mean, std : (e,) over the train subset
    positional_mean : whether the mean is to be taken out place by place
    variants : latents (n, v, e, D, h, w), conditions (n, v, F) and labels (n, v, L) of the cases' changed copies, in the
        order of `by_case`; None where there are none
    """

    by_case: dict[str, Tensor]
    mean: Tensor
    std: Tensor
    positional_mean: bool
    variants: tuple[Tensor, Tensor, Tensor] | None


def read_latents(folder: str | os.PathLike, autoencoder: str | os.PathLike, contract: dict) -> Latents:
    """Latents of the training cases, and their scale.

    folder : of extract_latents
    autoencoder, contract : folder and contract of the autoencoder that made the latents

    Raises UserError if a file is missing or damaged, or if the parts do not belong together: latents of another
    autoencoder, of other cases than it was trained on, of another shape, or with numbers that are not finite.
    """
    folder = Path(folder)
    scale = read_json(folder / "latents.json")
    if scale.get("autoencoder_digest") != contract_digest(autoencoder):
        raise UserError(f"the latents in {folder} were made by another autoencoder than {autoencoder}: {AGAIN}")
    by_case, tensors = latents_by_case(folder)
    case_ids = sorted(by_case)
    if case_ids != sorted(contract["training_case_ids"]):
        raise UserError(f"{folder} and {autoencoder} are about different training cases: {AGAIN}")
    for case_id in case_ids:
        if list(by_case[case_id].shape) != list(contract["latent_shape"]):
            shape = list(by_case[case_id].shape)
            raise UserError(f"case {case_id}: its latent has shape {shape}, not {contract['latent_shape']}: {AGAIN}")
    mean, std = (torch.tensor(scale[key], dtype=torch.float32) for key in ("mean", "std"))
    latents = {case_id: by_case[case_id].float() for case_id in case_ids}
    if not all(torch.isfinite(latent).all() for latent in latents.values()) or not (std > 0).all():
        raise UserError(f"{folder} holds latents or a scale that are not finite: {AGAIN}")
    return Latents(latents, mean, std, bool(scale.get("positional_mean")), _variants(tensors, case_ids))


def latents_by_case(folder: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Case id -> (e, D, h, w) of latents.safetensors, and what it holds of their changed copies.

    Raises UserError if it cannot be read.
    """
    path = Path(folder) / "latents.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}): {AGAIN}") from None
    return {name: tensors.pop(name) for name in list(tensors) if "/" not in name}, tensors


def _variants(tensors: dict[str, Tensor], case_ids: list[str]) -> tuple[Tensor, Tensor, Tensor] | None:
    if f"{LATENTS}{case_ids[0]}" not in tensors:
        return None
    latents, conditions, labels = (
        torch.stack([tensors[f"{prefix}{case_id}"] for case_id in case_ids])
        for prefix in (LATENTS, CONDITIONS, CHANGES)
    )
    return latents, conditions, labels
