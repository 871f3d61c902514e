"""Weights of networks that others have trained, from a file that the user names."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..base.errors import UserError
from ..base.files import sha256_file

WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which training programs put the weights


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def read_weights(path: str | os.PathLike, sha256: str | None, what: str) -> tuple[dict[str, Tensor], str]:
    """The state_dict in a file of torch, and the file's SHA-256.

    A dictionary that holds the weights under "state_dict" or the like is opened, and "module." (of DataParallel) is
    taken off the names. Only tensors and plain values are read: no code in the file runs.

    Raises UserError: a missing file, another digest than `sha256`, or a file that holds no weights. `what` names the
    network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"feature network: no weights file {path}; write `weights: package`, or the path of a file")
    digest = sha256_file(path)
    if sha256 is not None and digest != sha256.lower():
        raise UserError(f"feature network: {path} has SHA-256 {digest}, but {sha256} was asked for; check the file")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        for key in WRAPPERS:
            found = found[key] if isinstance(found.get(key), Mapping) else found
        weights = {name.removeprefix("module."): value for name, value in found.items()}
        if not all(isinstance(value, Tensor) for value in weights.values()):
            raise ValueError("not all of its values are tensors")
    except Exception as error:  # torch's reader ends foreign bytes in errors of any type
        raise UserError(f"feature network: {path} holds no weights of {what} ({_reason(error)})") from None
    return weights, digest


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: str | os.PathLike, what: str) -> nn.Module:
    """`network` with exactly these weights, fixed and in inference mode. Raises UserError where they do not fit."""
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]] or [_reason(error)]
        raise UserError(f"feature network: {path} holds no weights of {what} ({lines[0][:200]})") from None
    return network.requires_grad_(False).eval()
