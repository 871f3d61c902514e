"""The kinds of generators there are. A new one: a module with a `Generator`, and its lines here and in `study.generators`."""

from __future__ import annotations

import os

import torch

from ..base.errors import UserError
from ..cohort.subset import Subset
from ..study import generators
from ..study.settings.synthesis import SynthesisSettings
from ..training.model_files import load_model
from .denoising import Denoising
from .gan import Gan
from .generator import Generator
from .hosts import Hosts

KINDS: dict[str, type[Generator]] = {"diffusion": Denoising, "gan": Gan}


def kind_of(name: object) -> type[Generator]:
    """The kind of that name. Raises UserError that names those there are."""
    if name not in KINDS:
        raise UserError(f"kind is {name!r}: it must be one of {', '.join(KINDS)}")
    return KINDS[name]


def load_generator(
    folder: str | os.PathLike, settings: SynthesisSettings, device: torch.device, train: Subset | None = None
) -> Generator:
    """The generator in `folder`, which draws as `settings` say.

    train : its train subset, in whose patients it puts tumours, if it is of such a kind; others look at none of it

    Raises UserError if there is no generator, if its files are damaged, or if the depth decoder that `settings` ask for
    is missing or another autoencoder's.
    """
    weights, contract = load_model(folder)
    if contract["kind"] != "generator":
        raise UserError(f"{folder} holds a trained {contract['kind']}: give the folder of a generator")
    name = contract["generator"]["kind"]
    kind = kind_of(name)
    hosts = Hosts(train, settings.seed, contract) if train is not None and generators.KINDS[name].hosts else None
    return kind.load(folder, weights, contract, settings, device, hosts)
