"""A folder of real tumour masks without images: a larger reference for the shapes of synthetic ones."""

import os
from collections.abc import Collection, Sequence

import numpy as np

from ..base.errors import BadCase, UserError
from ..cohort.geometry import spacing_of
from ..cohort.layouts import CaseFiles, find_cases
from ..cohort.planes import bounding_box
from ..cohort.preprocess import resample_levels
from ..cohort.tumours import measure
from ..study.conditions import condition_names
from ..study.dataset import Dataset
from ..study.voxels import MASK, Foreground
from .masks import read_levels

WITHOUT_PLACE = ("centroid_x_mm", "centroid_y_mm", "centroid_z_mm")
"""Features that need the foreground, and so the images: the grid of a case is centred on it."""


def reference_features(regions: Sequence[str]) -> list[str]:
    """The features that a mask without images has."""
    return [name for name in condition_names(regions) if name not in WITHOUT_PLACE]


def find_masks(
    root: str | os.PathLike, dataset: Dataset, excluded_patients: Collection[str]
) -> tuple[list[CaseFiles], int]:
    """One mask a patient, the first by case id, below a folder; and how many were left out as `excluded_patients`.

    Raises UserError if the folder is missing or holds no mask, BadCase for a file that belongs to two cases.
    """
    try:
        # no image, and so no given foreground, is asked for
        found, refused, _ = find_cases(root, dataset.model_copy(update={"foreground": Foreground()}), [])
    except UserError as error:  # the sentence is the cohort's
        raise UserError(str(error).replace("data_root", "evaluation.masks.reference_root", 1)) from None
    if not found:
        raise UserError(f"evaluation.masks.reference_root {root} holds no mask that can be used: {refused[0]}")
    first = list({case.patient_id: case for case in reversed(found)}.values())[::-1]  # `found` is sorted by case id
    kept = [case for case in first if case.patient_id not in excluded_patients]
    if not kept:
        raise UserError(
            f"evaluation.masks.reference_root {root} holds masks of training patients alone: give a folder of others"
        )
    return kept, len(first) - len(kept)


def measure_mask(
    case: CaseFiles, dataset: Dataset, spacing_mm: Sequence[float], regions: Sequence[str]
) -> dict[str, float]:
    """Features of a mask on voxels of `spacing_mm` (z, y, x), those of the synthetic masks, by name.

    A voxel is in a region if half of it is, as in preprocessing: surface and sphericity depend on the voxel's size.
    Raises BadCase if the mask cannot be read, is empty, or vanishes on that grid.
    """
    levels, affine = read_levels(case.paths[MASK], dataset.levels_of(case.layout), case.case_id)
    box = bounding_box(levels)
    if box is None:
        raise BadCase(case.case_id, case.paths[MASK], "the mask is empty: no tumour in it", "Leave it out", "empty")
    part = np.pad(levels[box], 1)
    affine = affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array([edge.start - 1 for edge in box[::-1]])
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    target, size = _grid_around(part.shape, affine, spacing)
    coarse = resample_levels(part, len(dataset.regions), affine, target, size)
    if not coarse.any():
        what = f"the tumour vanishes on voxels of {'x'.join(f'{edge:g}' for edge in spacing)} mm"
        raise BadCase(case.case_id, case.paths[MASK], what, "Leave it out", "size")
    found = measure(coarse, spacing, regions)
    return {name: found[name] for name in reference_features(regions)}


def _grid_around(shape: Sequence[int], affine: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """A grid along R, A and S that holds a volume (D, H, W); equal spacings share its voxels."""
    corners = np.array(np.meshgrid(*[[-0.5, edge - 0.5] for edge in shape[::-1]], indexing="ij")).reshape(3, -1)
    points = affine[:3, :3] @ corners + affine[:3, 3:]
    low, high = points.min(axis=1), points.max(axis=1)
    steps = spacing[::-1].copy()
    own = spacing_of(affine)
    equal = np.abs(steps / own - 1) < 1e-4
    steps[equal] = own[equal]
    size = np.ceil((high - low) / steps - 1e-6).astype(int)
    target = np.diag([*steps, 1.0])
    target[:3, 3] = low + steps / 2
    return target, tuple(int(edge) for edge in size[::-1])
