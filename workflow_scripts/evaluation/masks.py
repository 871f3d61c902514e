"""Masks as they lie on disk, read as nested levels in RAS orientation, to be compared voxel by voxel."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..base.errors import BadCase
from ..cohort.geometry import corner_distance_mm, spacing_of, to_ras
from ..cohort.nifti import UnreadableNifti, read_nifti
from ..cohort.regions import UnknownLabels, labels_to_levels

GRID_TOLERANCE = 0.1  # voxels by which the corners of two masks' grids may differ


def read_levels(path: str | os.PathLike, level_of: Mapping[int, int], case_id: str) -> tuple[np.ndarray, np.ndarray]:
    """Levels (D, H, W) uint8 of a label map, by label -> level, and its affine (voxel (w, h, d) to RAS mm).

    Raises BadCase if the file cannot be read, is not 3D or holds other labels.
    """
    try:
        mask = read_nifti(path)
    except UnreadableNifti as error:
        raise BadCase(case_id, error.path, error.reason, error.remedy, "unreadable") from None
    data = mask.data
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise BadCase(case_id, path, f"the mask has {data.ndim} dimensions, not 3", kind="grid")
    labels, affine = to_ras(data, mask.affine)
    try:
        levels, _ = labels_to_levels(labels, level_of)
    except UnknownLabels as error:
        label = error.values[0] if error.values else f"{error.broken:g}"
        what = f"unknown label {label} in the mask; known are {', '.join(map(str, sorted(level_of)))}"
        raise BadCase(case_id, path, what, kind="labels") from None
    return levels, affine


def read_pair(
    case_id: str,
    reference: str | os.PathLike,
    level_of: Mapping[int, int],
    predicted: str | os.PathLike,
    level_of_predicted: Mapping[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The expert's mask and the predicted one, both levels (D, H, W), by their labels, and spacing_mm (D, H, W).

    Raises BadCase if one of them is bad or they lie on different grids.
    """
    truth, affine = read_levels(reference, level_of, case_id)
    guess, guess_affine = read_levels(predicted, level_of_predicted, case_id)
    spacing_mm = spacing_of(affine)[::-1]
    remedy = "Predict this case again: `snakemake -R predict_segmentation`"
    if truth.shape != guess.shape:
        what = f"the prediction has {guess.shape} voxels, the expert's mask {Path(reference).name} has {truth.shape}"
        raise BadCase(case_id, predicted, what, remedy, "grid")
    distance = corner_distance_mm(truth.shape[::-1], affine, guess_affine)
    if distance > GRID_TOLERANCE * spacing_mm.min():
        what = f"the prediction lies {distance:.3g} mm off the expert's mask"
        raise BadCase(case_id, predicted, what, remedy, "grid")
    return truth, guess, spacing_mm
