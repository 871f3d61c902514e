"""Slices of cases as they are drawn: upright, with the contours of the tumour's regions."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from ...base.errors import UserError
from ...base.seeds import numpy_rng
from ...cohort.nifti import read_synthetic_case
from ...cohort.planes import PLANES, extent_mm
from ...cohort.regions import levels_to_channels
from ...cohort.volumes import VolumeStore
from ..looks import region_colour, region_name


class PicturedCase(NamedTuple):
    """One case: its id, one modality (D, H, W) in [-1, 1], its nested levels (D, H, W), spacing_mm of (D, H, W)."""

    case_id: str
    image: np.ndarray
    levels: np.ndarray
    spacing_mm: Sequence[float]


def modality_of(modalities: Sequence[str], wanted: str) -> int:
    """The channel of the modality that the figures show. Raises UserError where the volumes lack it."""
    if wanted not in modalities:
        raise UserError(f"evaluation: figures: modality {wanted!r} is not in the volumes: {', '.join(modalities)}")
    return list(modalities).index(wanted)


def stored_case(store: VolumeStore, case_id: str, modality: str) -> PicturedCase:
    """A preprocessed case."""
    meta = store.meta(case_id)
    image = np.asarray(store.image(case_id)[modality_of(meta["modalities"], modality)], dtype=np.float32)
    return PicturedCase(case_id, image, np.asarray(store.levels(case_id)), meta["spacing_mm"])


def synthetic_case(folder: Path, case_id: str, modality: str, spacing_mm: Sequence[float]) -> PicturedCase:
    """A case of a folder of synthetic ones."""
    image, levels = read_synthetic_case(folder / case_id, case_id, [modality])
    return PicturedCase(case_id, image[0], levels, spacing_mm)


def pick_real(case_ids: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """`count` of the training patients, a seeded draw in their own order: none is picked for its looks."""
    order = numpy_rng(seed, "real cases in the figure").permutation(len(case_ids))[:count]
    return [case_ids[index] for index in np.sort(order)]


def view(volume: np.ndarray, plane: str, index: int) -> np.ndarray:
    """One slice of a (D, H, W) volume, `upright`."""
    return upright(np.take(volume, index, axis=PLANES[plane]))


def upright(picture: np.ndarray) -> np.ndarray:
    """A slice (rows, columns) of a volume as radiologists look at it, rows from top to bottom.

    Axial: anterior up, the patient's right on the left. Coronal: superior up, right on the left. Sagittal: superior
    up, anterior on the left. The volume's axes run inferior to superior, posterior to anterior, left to right.
    """
    return picture[::-1, ::-1]


def region_handles(regions: Sequence[str]) -> list[Line2D]:
    """Legend entries of regions, from the outside in."""
    colours = [region_colour(name, place) for place, name in enumerate(regions)]
    return [Line2D([], [], color=own, label=region_name(name)) for name, own in zip(regions, colours, strict=True)]


def draw_plane(axes: plt.Axes, case: PicturedCase, regions: Sequence[str], plane: str, index: int) -> None:
    """One slice of a case, with the contours of these regions."""
    extent = extent_mm(plane, case.levels.shape, case.spacing_mm)
    draw_slice(axes, *(view(np.asarray(volume), plane, index) for volume in (case.image, case.levels)), extent, regions)


def draw_slice(
    axes: plt.Axes, image: np.ndarray, levels: np.ndarray, extent: Sequence[float], regions: Sequence[str]
) -> None:
    """An upright slice, image in [-1, 1] and nested levels (rows, columns), with the contours of these regions."""
    picture = np.asarray(image, dtype=np.float32)
    axes.imshow(picture, cmap="gray", vmin=-1, vmax=1, extent=extent, interpolation="nearest")
    for place, (name, shown) in enumerate(zip(regions, levels_to_channels(levels, regions), strict=True)):
        if shown.any():
            # contours count rows from the bottom: origin="upper" puts them on the picture
            padded = np.pad(shown, 1).astype(float)
            step_x, step_y = extent[1] / shown.shape[1], extent[3] / shown.shape[0]
            x = (np.arange(padded.shape[1]) - 0.5) * step_x
            y = extent[3] - (np.arange(padded.shape[0]) - 0.5) * step_y
            axes.contour(x, y, padded, levels=[0.5], colors=region_colour(name, place), linewidths=0.9)
