"""Masks of new patients by a trained arm of a study."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def predict(
    arm: str | os.PathLike[str],
    cases: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> pd.DataFrame:
    """Segment new patients and write one NIfTI mask each into `out`, on the patient's own grid.

    Parameters
    ----------
    arm : folder of a trained arm, .../segmentation/<segmenter>/<arm>/seed~<k>, within its study
    cases : folder of images named as those of the study's data set, or a table: case_id, patient_id, a column for each channel.
        Masks are not needed, and not read
    settings : mirroring, precision, layout and on_bad_case in place of the study's
    device : "cpu", "cuda", ...; None: a GPU where there is one

    Returns a row a mask: case_id, patient_id, file (in `out`), note, the volume of each region in ml. It is in out/predictions.tsv
    too; patients that cannot be read are in out/rejected.tsv, with file and reason.

    Raises UserError where there is no such arm, or no patient that could be read.
    """
    import torch

    from workflow_scripts.segmentation.new_patients import TrainedArm, predict_patients
    from workflow_scripts.training.devices import default_device

    place = torch.device(device) if device is not None else default_device()
    return predict_patients(TrainedArm.load(arm, settings or {}, place), cases, Path(out))
