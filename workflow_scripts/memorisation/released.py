"""A generator's folder as its study released its cases: the same sampler and gates, and no copies, wherever it is used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..base.cli import log
from ..base.errors import UserError
from ..cohort.subset import Subset
from ..diffusion.generator import Generator
from ..diffusion.kinds import load_generator
from ..diffusion.requests import Wanted
from ..diffusion.synthesis import Case, Refusal, synthesise
from ..study.dataset import Written, parse_written
from ..study.generators import AUGMENTATION_ONLY, KINDS, USE, Kind
from ..study.settings.files import merge
from ..study.settings.synthesis import SynthesisSettings
from ..training.devices import default_device
from .copy_gate import CopyGate
from .reference import load_reference
from .release import read_release

FALSE_POSITIVE_RATE = 0.05  # where the release says nothing of it
NO_RELEASE = "the model's folder has no release.json, which a study leaves there; --refuse-copies names a training set"
NONE_REFUSED = "its study refused none (memorisation.action was not refuse); --refuse-copies names a training set"


@dataclass(frozen=True)
class Copies:
    """What is known of copies of training cases.

    reference : folder of memorisation_reference; None: that of the model's release, if there is one
    allowed : they are not refused, whatever the release says
    false_positive_rate : share of real patients taken for copies; None: the release's, or `FALSE_POSITIVE_RATE`
    """

    reference: str | os.PathLike | None = None
    allowed: bool = False
    false_positive_rate: float | None = None


@dataclass(frozen=True)
class Released:
    """A generator with its gates.

    gate : refuses copies; None: they are not refused
    false_positive_rate : of the gate; None without one
    """

    generator: Generator
    settings: SynthesisSettings
    written: Written
    gate: CopyGate | None
    false_positive_rate: float | None

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        settings: Mapping[str, Any],
        train: str | os.PathLike | None = None,
        copies: Copies = Copies(),
        device: torch.device | None = None,
        in_study: bool = False,
    ) -> Released:
        """The generator in `folder`.

        settings : of `SynthesisSettings`, over those of its release
        train : manifest.json of its train subset, for one that puts tumours into training patients
        device : the machine's default where it is None
        in_study : the study releases its cases by `settings` and `copies` alone: the folder's release is not looked at

        Raises UserError where the folder holds no generator, is damaged, needs `train`, or the settings cannot be.
        """
        if copies.allowed and copies.reference is not None:
            raise UserError("--allow-copies and --refuse-copies contradict each other: give one of them")
        released, reference, rate = ({}, None, None) if in_study else read_release(folder, not copies.allowed)
        if copies.reference is not None:
            reference, rate = Path(copies.reference), None
        read = SynthesisSettings.read(merge(released, dict(settings)), "synthesis")
        subset = Subset.open(train, "train") if train is not None else None
        generator = load_generator(folder, read, device or default_device(), subset)
        contract = generator.contract
        kind = KINDS[contract["generator"]["kind"]]
        if kind.hosts and generator.hosts is None:
            what = "puts tumours into training patients: give --train, their manifest.json"
            raise UserError(f"{contract['name']} {what}")
        gate, rate = None, copies.false_positive_rate or rate or FALSE_POSITIVE_RATE
        if reference is not None:
            gate = CopyGate(load_reference(reference), rate, contract)
        elif not in_study and not kind.hosts:
            why = "--allow-copies" if copies.allowed else NONE_REFUSED if released else NO_RELEASE
            log.warning("copies of training cases are not refused: %s", why)
        return cls(generator, read, parse_written(contract["written"], folder), gate, rate if gate else None)

    @property
    def kind(self) -> Kind:
        """What is known of generators of its kind."""
        return KINDS[self.generator.contract["generator"]["kind"]]

    @property
    def hosts(self) -> list[str] | None:
        """Ids of the training patients that a request may name; None: it makes whole patients."""
        return self.generator.hosts.case_ids if self.generator.hosts else None

    def draws(
        self, numbers: Iterable[int], requests: Mapping[int, Wanted] | None = None, extrapolate: bool = False
    ) -> Iterator[Case | Refusal]:
        """The cases of these numbers, and the draws that a gate refused; as `diffusion.synthesis.synthesise`."""
        return synthesise(self.generator, numbers, self.settings, requests, extrapolate, self.gate)

    def case_id(self, number: int) -> str:
        """What the case of a number is called."""
        return f"{self.settings.case_prefix}-{number:05d}-000"

    def origins(self, made: Case) -> dict[str, Any]:
        """What is said of a case that is made of training cases: which, and what it is for."""
        return {name: getattr(made, name) for name in self.kind.origins} | (
            {USE: AUGMENTATION_ONLY} if self.kind.hosts else {}
        )
