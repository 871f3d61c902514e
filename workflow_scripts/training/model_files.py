"""A model on disk: weights as safetensors, and a JSON contract: what they are, and what they were trained on."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..base.errors import UserError
from ..base.files import atomic, read_json, sha256_file, write_json

WEIGHTS, CONTRACT = "model.safetensors", "model.json"
_REQUIRED = (
    *("kind", "name", "spec", "modalities", "regions", "written", "grid", "value_range"),
    *("training_case_ids", "seed", "config_digest", "code_digest"),
)
_OF_KIND = {
    "autoencoder": ("masks", "latent_shape"),
    "generator": ("autoencoder", "latent", "features", "foreground_volume_ml", "generator"),
}


def save_model(folder: str | os.PathLike, weights: dict[str, torch.Tensor], contract: dict) -> None:
    """Write ``model.safetensors``, then ``model.json`` with the weights' digest: a JSON file means a whole model.

    Raises ValueError if `contract` lacks a key that its kind needs.
    """
    missing = [key for key in (*_REQUIRED, *_OF_KIND.get(str(contract.get("kind")), ())) if key not in contract]
    if contract.get("kind") not in _OF_KIND or missing:
        raise ValueError(f"contract of kind {contract.get('kind')!r} lacks {missing}")
    folder = Path(folder)
    (folder / CONTRACT).unlink(missing_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(weights.items())}
    with atomic(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    write_json(folder / CONTRACT, contract | {"weights_sha256": sha256_file(folder / WEIGHTS)})


def load_model(folder: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict]:
    """Weights (on the CPU) and contract of the model in `folder`.

    Raises UserError if a file is missing or damaged, or if the two do not belong together.
    """
    folder = Path(folder)
    for name in (CONTRACT, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} holds no trained model: {name} is missing; give a folder with model.json in it")
    contract = read_json(folder / CONTRACT)
    kind = contract.get("kind") if isinstance(contract, dict) else None
    if kind not in _OF_KIND:
        raise UserError(f"{folder / CONTRACT} is no model contract: its kind is {kind!r}")
    missing = [key for key in (*_REQUIRED, *_OF_KIND[kind]) if key not in contract]
    if missing:
        raise UserError(f"{folder / CONTRACT} lacks {', '.join(missing)}: train the model again")
    if contract.get("weights_sha256") != sha256_file(folder / WEIGHTS):
        raise UserError(
            f"{folder / WEIGHTS} is not the file that {CONTRACT} describes (its digest differs): "
            "copy both files again, or train the model again"
        )
    try:
        return load_file(folder / WEIGHTS), contract
    except SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS} is damaged ({error}): copy it again, or train again") from None


def contract_digest(folder: str | os.PathLike) -> str:
    """Digest of a model: of its contract, which holds that of its weights."""
    return sha256_file(Path(folder) / CONTRACT)


def load_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], source: object) -> None:
    """Load `weights` into `module`, all of them and no other. Raises UserError that names the first difference."""
    own = module.state_dict()
    for name in sorted(set(own) ^ set(weights)):
        raise UserError(f"{source}: weight {name} is {'missing' if name in own else 'unknown'}; train the model again")
    for name, value in own.items():
        if value.shape != weights[name].shape:
            raise UserError(f"{source}: weight {name} has shape {tuple(weights[name].shape)}, not {tuple(value.shape)}")
    module.load_state_dict(weights)
