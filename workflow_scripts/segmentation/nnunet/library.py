"""nnU-Net v2 as a library: its environment variables, its prints, and its plan as a value.

nnU-Net's commands and its model-folder loader import every trainer it ships (and timm with them), so the project calls
its classes instead. They expect three folders in environment variables; a scratch folder stands in for all of them.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...base.cli import log
from ..segmenter import Plan

if TYPE_CHECKING:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

CONFIGURATION = "3d_fullres"
DATASET = "Dataset001_SliceAug"
# Of the files of a case in the pool: image, labels, and where its regions' voxels are. nnU-Net keeps the last in a pickle, in
# which whoever can write to the results could hide code.
POOL_SUFFIXES = (".b2nd", "_seg.b2nd", "_locations.npy")


@contextlib.contextmanager
def nnunet_home(processes: int = 0) -> Iterator[Path]:
    """Point nnU-Net at a scratch folder that is gone afterwards, and the environment back at what it was.

    `processes` is what nnU-Net takes for its number of augmentation processes; 0: batches in this one.
    """
    with tempfile.TemporaryDirectory(prefix="sliceaug-nnunet-") as scratch:
        settings = {name: str(Path(scratch, name)) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        # no compilation (minutes for each arm) and no experiment tracker
        settings |= {"nnUNet_compile": "f", "nnUNet_wandb_enabled": "0", "nnUNet_n_proc_DA": str(processes)}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield Path(scratch)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


class _ToLog(io.TextIOBase):
    def write(self, text: str) -> int:
        if text.strip():
            log.debug("nnU-Net: %s", text.strip())
        return len(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what nnU-Net prints to the log, at the debug level."""
    with contextlib.redirect_stdout(_ToLog()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class NnunetPlan:
    """nnU-Net's plans and dataset description."""

    plans: dict
    dataset: dict

    @classmethod
    def of(cls, plan: Plan) -> NnunetPlan:
        return cls(plan.own["plans"], plan.own["dataset"])

    @property
    def configuration(self) -> dict:
        """nnU-Net's 3d_fullres configuration: patch_size, batch_size, spacing, architecture, ..."""
        return self.plans["configurations"][CONFIGURATION]

    def managers(self) -> tuple[PlansManager, ConfigurationManager, LabelManager]:
        """nnU-Net's own readers of the plan, each on a copy: they change what they are given."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        plans = PlansManager(copy.deepcopy(self.plans))
        return plans, plans.get_configuration(CONFIGURATION), plans.get_label_manager(self.dataset)


def nnunet_image(image: np.ndarray) -> np.ndarray:
    """A volume (M, D, H, W) in [-1, 1], background -1, as nnU-Net expects it: float32 in [0, 1], background 0."""
    return (np.asarray(image, dtype=np.float32) + 1.0) / 2.0
