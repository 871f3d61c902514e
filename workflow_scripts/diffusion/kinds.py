"""From the name of a kind of generator, as `study.generators` lists them, to the `Generator` itself."""

import os
from importlib import import_module

import torch

from ..base.errors import UserError
from ..cohort.subset import Subset
from ..study.generators import KINDS
from ..study.settings.synthesis import SynthesisSettings
from ..training.model_files import load_model
from .generator import Generator
from .hosts import Hosts

PACKAGE = __name__.split(".")[0]


def kind_of(name: object) -> type[Generator]:
    """The kind of that name. Raises UserError that names those there are."""
    known = [kind for kind, what in KINDS.items() if not what.external]
    if name not in known:
        raise UserError(f"kind is {name!r}: it must be one of {', '.join(known)}")
    kind = KINDS[str(name)]
    return getattr(import_module(f"{PACKAGE}.{kind.module}"), kind.name)


def load_generator(
    folder: str | os.PathLike, settings: SynthesisSettings, device: torch.device, train: Subset | None = None
) -> Generator:
    """The generator in `folder`, which draws as `settings` say.

    train : its train subset, in whose patients it puts tumours, if it is of such a kind; others look at none of it

    Raises UserError if there is no generator, or if its files are damaged.
    """
    weights, contract = load_model(folder)
    if contract["kind"] != "generator":
        raise UserError(f"{folder} holds a trained {contract['kind']}: give the folder of a generator")
    name = contract["generator"]["kind"]
    kind = kind_of(name)
    hosts = Hosts(train, settings.seed, contract) if train is not None and KINDS[name].hosts else None
    return kind.load(folder, weights, contract, settings, device, hosts)
