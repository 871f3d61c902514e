"""Masks as they lie on disk, read as nested levels in RAS orientation, to be compared voxel by voxel."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..base.errors import BadCase
from ..cohort.geometry import corner_distance_mm, spacing_of, to_ras
from ..cohort.layouts import LAYOUTS
from ..cohort.nifti import UnreadableNifti, read_nifti

GRID_TOLERANCE = 0.1  # voxels by which the corners of two masks' grids may differ


def read_levels(path: str | os.PathLike, layout: str, case_id: str) -> tuple[np.ndarray, np.ndarray]:
    """Levels (D, H, W) uint8 of a label map in the numbers of `layout`, and its affine (voxel (w, h, d) to RAS mm).

    Raises BadCase if the file cannot be read, is not 3D or holds other labels than the layout's.
    """
    try:
        mask = read_nifti(path)
    except UnreadableNifti as error:
        raise BadCase(case_id, error.path, error.reason, error.remedy) from None
    data = mask.data
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise BadCase(case_id, path, f"the mask has {data.ndim} dimensions, not 3")
    labels, affine = to_ras(data, mask.affine)
    levels = np.zeros(labels.shape, dtype=np.uint8)
    known = labels == 0
    for label, level in LAYOUTS[layout].levels.items():
        here = labels == label
        levels[here] = level
        known |= here
    if not known.all():
        label = float(labels[~known].flat[0])
        raise BadCase(
            case_id, path, f"unknown label {label:g} in the mask; {layout} has {sorted(LAYOUTS[layout].levels)}"
        )
    return levels, affine


def read_pair(
    case_id: str, reference: str | os.PathLike, layout: str, predicted: str | os.PathLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The expert's mask, the predicted one (labels as in BraTS 2023), both levels (D, H, W), and spacing_mm (D, H, W).

    Raises BadCase if one of them is bad or they lie on different grids.
    """
    truth, affine = read_levels(reference, layout, case_id)
    guess, guess_affine = read_levels(predicted, "brats2023", case_id)
    spacing_mm = spacing_of(affine)[::-1]
    remedy = "Predict this case again: `snakemake -R predict_segmentation`"
    if truth.shape != guess.shape:
        what = f"the prediction has {guess.shape} voxels, the expert's mask {Path(reference).name} has {truth.shape}"
        raise BadCase(case_id, predicted, what, remedy)
    distance = corner_distance_mm(truth.shape[::-1], affine, guess_affine)
    if distance > GRID_TOLERANCE * spacing_mm.min():
        raise BadCase(case_id, predicted, f"the prediction lies {distance:.3g} mm off the expert's mask", remedy)
    return truth, guess, spacing_mm
