"""What makes cases: the interface of every generator, whether it has learned from the train subset or only draws on it.

A generator lies in a folder that holds all that it needs. Its kind is a class with this interface, registered in
`study.generators.KINDS` with the blocks that a system's file has for it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..cohort.regions import channels_to_levels
from ..study.settings.synthesis import SynthesisSettings
from .conditions import ConditionTable
from .hosts import Host, Hosts
from .training_set import TrainingFiles


@dataclass(frozen=True)
class Request:
    """One case that is asked for.

    conditions : (F,) float64, of the tumour, in the order and the units of the generator's table
    rng : on the CPU; all that is random about the case comes from it
    host : None: a whole new patient
    """

    conditions: np.ndarray
    rng: torch.Generator
    host: Host | None = None


@dataclass(frozen=True)
class Sample:
    """A case as it is made, before any gate.

    image: float32 (M, D, H, W), about [-1, 1], anything outside of the foreground; masks: float32 (R, D, H, W),
    probabilities, not yet nested; levels: uint8 (D, H, W), nested; foreground: (D, H, W), bool where it is known, else its
    probability, or None: it is where the image is bright; kept: bool (D, H, W), what of the host's own tumour is left in a
    case with another one, which alone was asked for; donor: the training case that this one is of.
    """

    image: np.ndarray
    masks: np.ndarray
    levels: np.ndarray
    foreground: np.ndarray | None = None
    kept: np.ndarray | None = None
    donor: str | None = None

    @classmethod
    def of(cls, image: np.ndarray, masks: np.ndarray, regions: Sequence[str]) -> Sample:
        """The sample whose levels are its `masks`, nested; one mask more than regions, the first, is the foreground."""
        foreground, masks = (masks[0], masks[1:]) if len(masks) > len(regions) else (None, masks)
        return cls(image, masks, channels_to_levels(masks, regions), foreground)

    @property
    def asked_for(self) -> np.ndarray:
        """uint8 (D, H, W): the levels, less what is left of the host's own tumour."""
        return self.levels if self.kept is None else np.where(self.kept, 0, self.levels).astype(np.uint8)


@dataclass(frozen=True)
class Cost:
    """What one case takes, on torch's meta device: the network that makes it, if there is one; the inputs of one call,
    without values; calls for one case; networks that only training needs."""

    network: nn.Module | None = None
    inputs: tuple[torch.Tensor, ...] = ()
    calls: int = 0
    besides: tuple[nn.Module, ...] = ()


class Generator(ABC):
    """A generator, ready on a device.

    contract : its model.json: name, modalities, regions, masks, grid, training_case_ids, foreground_volume_ml, ...
    conditions : of the training tumours
    hosts : the train subset, of a kind that puts tumours into its patients; None where it makes whole patients, and
        where nothing is sampled
    """

    contract: dict
    conditions: ConditionTable
    device: torch.device
    hosts: Hosts | None

    @classmethod
    @abstractmethod
    def train(cls, config: dict, files: TrainingFiles, out: str | os.PathLike, state: str | os.PathLike) -> None:
        """Learn from the train subset, and leave the generator's folder `out`.

        config : system (its name), regions, seed, and the kind's own blocks
        files : of the train subset
        state : folder for what a stopped training resumes from

        Raises UserError for a key, a value or a file that cannot be.
        """

    @classmethod
    @abstractmethod
    def load(
        cls,
        folder: str | os.PathLike,
        weights: dict,
        contract: dict,
        settings: SynthesisSettings,
        device: torch.device,
        hosts: Hosts | None = None,
    ) -> Generator:
        """The generator in `folder`, whose weights and contract have been read. Raises UserError for damaged files."""

    @abstractmethod
    def sample(self, requests: Sequence[Request]) -> Iterator[Sample]:
        """The cases asked for, in their order. Raises UserError for a host where it makes whole patients alone, and for
        none where it puts tumours into patients."""

    @abstractmethod
    def describe(self) -> str:
        """How it draws a case, for logs and tables: a sampler and its steps, for example."""

    @classmethod
    def cost(cls, blocks: dict, shape: Sequence[int], names: Sequence[str]) -> Cost:
        """Of volumes or latents of `shape` (C, D, H, W) under conditions of these names, for a system with these blocks."""
        return Cost()
