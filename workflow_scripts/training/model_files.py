"""A model on disk: weights as safetensors, and a JSON contract: what they are, and what they were trained on."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..base.errors import UserError
from ..base.files import atomic, read_json, sha256_file, sha256_json, write_json
from .contract import check_contract

Module = TypeVar("Module", bound=torch.nn.Module)
WEIGHTS, CONTRACT = "model.safetensors", "model.json"
OWN_DIGEST = "contract_sha256"  # of the contract without it: a digit that changed on the way is no other model


def save_model(folder: str | os.PathLike, weights: dict[str, torch.Tensor], contract: dict) -> None:
    """Write ``model.safetensors``, then ``model.json`` with both digests: a JSON file means a whole model.

    Raises ValueError if `contract` is none that `load_model` would take (see `contract`).
    """
    folder = Path(folder)
    try:
        check_contract(contract | {"weights_sha256": "0" * 64}, folder / CONTRACT)
    except UserError as error:  # of the program that trained it: no user could mend that
        raise ValueError(str(error)) from None
    (folder / CONTRACT).unlink(missing_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(weights.items())}
    with atomic(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    contract = contract | {"weights_sha256": sha256_file(folder / WEIGHTS)}
    write_json(folder / CONTRACT, contract | {OWN_DIGEST: sha256_json(contract)})


def load_model(folder: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict]:
    """Weights (on the CPU) and contract of the model in `folder`.

    Raises UserError that names the file if one is missing or damaged, if the contract is none (see `contract`), or if the two
    do not belong together.
    """
    folder = Path(folder)
    for name in (CONTRACT, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} holds no trained model: {name} is missing; give a folder with model.json in it")
    contract = read_json(folder / CONTRACT)
    said = contract.pop(OWN_DIGEST, None) if isinstance(contract, dict) else None
    check_contract(contract, folder / CONTRACT)
    if said != sha256_json(contract):
        how = "its digest differs" if said else f"it lacks {OWN_DIGEST}"
        again = "copy the model's folder again, or train the model again"
        raise UserError(f"{folder / CONTRACT} was changed since the model was trained ({how}): {again}")
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


def check_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], source: object) -> None:
    """Raise UserError that names the first difference where `weights` are not all of `module`'s and no other.

    A module on the meta device will do: a contract that asks for more memory than its weights have is told before it is built.
    """
    own = module.state_dict()
    for name in sorted(set(own) ^ set(weights)):
        raise UserError(f"{source}: weight {name} is {'missing' if name in own else 'unknown'}; train the model again")
    for name, value in own.items():
        if value.shape != weights[name].shape:
            raise UserError(f"{source}: weight {name} has shape {tuple(weights[name].shape)}, not {tuple(value.shape)}")


def load_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], source: object) -> None:
    """Load `weights` into `module`, all of them and no other. Raises UserError that names the first difference."""
    check_weights(module, weights, source)
    module.load_state_dict(weights)


def build_for(weights: dict[str, torch.Tensor], build: Callable[[], Module], source: object) -> Module:
    """What `build` makes, with these weights; built without memory first. Raises UserError where the two do not fit."""
    try:
        with torch.device("meta"):
            outline = build()
    except (RuntimeError, OverflowError, ValueError, TypeError, MemoryError) as error:
        raise UserError(f"{source}: the contract describes no network ({str(error)[:200]}): train again") from None
    check_weights(outline, weights, source)
    module = build()
    module.load_state_dict(weights)
    return module
