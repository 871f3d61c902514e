"""What a trained arm says of a case: labels on the grid that the case came on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..cohort.geometry import to_source_grid
from ..cohort.regions import channels_to_levels
from ..study.settings.segmentation import Segmentation
from .segmenter import Plan, Predictor, stage

WEIGHTS, ARM = "model.safetensors", "arm.json"  # of an arm, in its folder


def load_predictor(
    plan: Plan, folder: Path, arm: Mapping[str, Any], settings: Mapping[str, Any], device: torch.device
) -> Predictor:
    """The network of the arm in `folder`, ready for whole cases.

    arm : the content of its arm.json
    settings : mirroring and precision, in place of the arm's own
    """
    own = {key: arm["prediction"][key] for key in ("mirroring", "precision")}
    read = Segmentation.read(own | dict(settings), "segmentation")
    axes = arm["prediction"]["mirror_axes"] if read.mirroring else None
    predictor: Predictor = stage(plan.segmenter, "predict")(plan, folder / WEIGHTS, axes, read.precision, device)
    return predictor


def predicted_levels(predictor: Predictor, plan: Plan, image: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """uint8 (X, Y, Z), nested, on the grid that the case came on.

    image : (M, D, H, W) in [-1, 1], preprocessed; meta : its sidecar

    Probabilities are resampled, not labels; a region is where its own is above 0.5, within the region around it.
    """
    found = to_source_grid(predictor.probabilities(image, meta["spacing_mm"]), dict(meta))  # (R, X, Y, Z)
    return channels_to_levels(found, plan.regions)
