"""What a segmenter is to the workflow: four functions, of a module or of the modules of a folder (`study.segmenters`).

``plan(store, case_ids, head, settings, threads) -> dict``
    Whatever it wants to know before it sees a case of an arm, from the real training cases alone; JSON.
``pool(plan, folder, pool_id, image, levels, spacing_mm) -> str``
    Preprocess one case: image (M, D, H, W) in [-1, 1], background -1, levels (D, H, W). Writes the files
    ``<folder>/<pool_id><suffix>`` for the suffixes `POOL_SUFFIXES` of its module ``train``; returns a digest of them.
``train(training) -> Trained``
    Train an arm (`Training`) from its preprocessed cases. It saves its state and stops when it is asked to, and resumes
    to the same bytes on a CPU; every draw is a function of (seed, step), and every arm makes the same number of steps.
    Cases are drawn by ``training.draws``.
``predict(plan, weights_file, mirror_axes, precision, device) -> Predictor``
    The trained network, ready for whole cases.

All arms of one n_real share a plan and a pool of preprocessed cases, and an arm is a list of ids in that pool. Test
cases never enter it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..base.errors import UserError
from ..base.files import read_json, sha256_file, sha256_json, write_json
from ..study.segmenters import SEGMENTERS, module_of
from ..study.settings.segmentation import Segmentation

if TYPE_CHECKING:
    import torch

    from ..training.state import StateFolder
    from .arms import ArmCases
    from .draws import Draws

PACKAGE = __name__.split(".")[0]


@dataclass(frozen=True)
class Plan:
    """What ``plan_segmentation`` writes.

    modalities, regions : channels of images, and of masks from the largest region
    grid_spacing_mm : of the cohort's grid along depth, height, width
    training_case_ids : the cases it is made from
    own : what the segmenter's `plan` returned
    """

    segmenter: str
    n_real: int
    modalities: list[str]
    regions: list[str]
    grid_spacing_mm: list[float]
    training_case_ids: list[str]
    own: dict[str, Any] = field(default_factory=dict)

    def save(self, file: str | os.PathLike) -> None:
        write_json(file, asdict(self))


def load_plan(file: str | os.PathLike) -> Plan:
    """Read a plan. Raises UserError that names the file if it is missing or no plan of this workflow."""
    found = read_json(file)
    if set(found) != {known.name for known in fields(Plan)} or found["segmenter"] not in SEGMENTERS:
        raise UserError(f"{file} holds no plan of this workflow: run `snakemake -R plan_segmentation`")
    return Plan(**found)


@dataclass(frozen=True)
class Training:
    """One arm to be trained. `view` holds the preprocessed files of the arm's own cases, and no others."""

    plan: Plan
    cases: ArmCases
    view: Path
    settings: Segmentation
    device: torch.device
    state: StateFolder

    def draws(self, steps: int) -> Draws | None:
        """Which cases each batch of a training of `steps` steps is cut from; None: uniformly from ``cases.train_ids``."""
        from .draws import Draws

        return Draws.of(self.cases, self.settings, steps)


@dataclass(frozen=True)
class Trained:
    """The end of a training.

    weights : on the CPU, by name
    progress : one row per epoch
    patches : how many it was trained on
    description : for arm.json; under "prediction" mirroring, mirror_axes and precision, as `predict` takes them
    """

    weights: dict[str, torch.Tensor]
    progress: list[dict]
    patches: int
    description: dict[str, Any]


class Predictor(Protocol):
    """An arm's network, ready to predict cases of the cohort; `precision` is what it computes in."""

    precision: str

    def probabilities(self, image: np.ndarray, spacing_mm: list[float]) -> np.ndarray:
        """(R, D, H, W) float32, one channel per region, for an image (M, D, H, W) in [-1, 1]."""


def stage(segmenter: str, name: str) -> Callable:
    """A segmenter's function: plan, pool, train or predict."""
    return getattr(import_module(f"{PACKAGE}.{module_of(segmenter, name)}"), name)


def pool_suffixes(segmenter: str) -> tuple[str, ...]:
    """Ends of the names of a case's files in the pool."""
    return import_module(f"{PACKAGE}.{module_of(segmenter, 'train')}").POOL_SUFFIXES


def files_digest(segmenter: str, pool: Path, pool_id: str) -> str:
    """SHA-256 of a case's files in a pool, those of its suffixes in order. Raises FileNotFoundError."""
    return sha256_json([sha256_file(pool / f"{pool_id}{suffix}") for suffix in pool_suffixes(segmenter)])
