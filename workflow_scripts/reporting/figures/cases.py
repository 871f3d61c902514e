"""Figure: real and synthetic cases side by side, three planes through the tumour, with the contours of its regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...base.errors import UserError
from ...base.seeds import numpy_rng
from ...cohort.regions import levels_to_channels
from ..tables.cells import REGION_NAMES
from .style import REGION_COLOURS, STYLE

PLANES = ("axial", "coronal", "sagittal")


class PicturedCase(NamedTuple):
    """One case: its id, one modality (D, H, W) in [-1, 1], its nested levels (D, H, W), spacing_mm of (D, H, W)."""

    case_id: str
    image: np.ndarray
    levels: np.ndarray
    spacing_mm: Sequence[float]


def pick_real(case_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of the training patients, a seeded draw in their own order: none is picked for its looks."""
    order = numpy_rng(seed, "real cases in the figure").permutation(len(case_ids))[:count]
    return [case_ids[index] for index in np.sort(order)]


def view(volume: np.ndarray, plane: str, index: int) -> np.ndarray:
    """One slice of a (D, H, W) volume as radiologists look at it, rows from top to bottom.

    Axial: anterior up, the patient's right on the left. Coronal: superior up, right on the left. Sagittal: superior
    up, anterior on the left. The volume's axes run inferior to superior, posterior to anterior, left to right.
    """
    if plane == "axial":
        return volume[index, ::-1, ::-1]
    if plane == "coronal":
        return volume[::-1, index, ::-1]
    return volume[::-1, ::-1, index]


def largest_slices(levels: np.ndarray) -> dict[str, int]:
    """For each plane the slice with the most tumour; the middle where there is none."""
    tumour = np.asarray(levels) > 0
    found = {}
    for axis, plane in ((0, "axial"), (1, "coronal"), (2, "sagittal")):
        area = tumour.sum(axis=tuple(other for other in range(3) if other != axis))
        found[plane] = int(area.argmax()) if area.any() else levels.shape[axis] // 2
    return found


def extent_mm(plane: str, shape: Sequence[int], spacing_mm: Sequence[float]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a slice of a (D, H, W) volume, in mm."""
    depth, height, width = (n * edge for n, edge in zip(shape, spacing_mm, strict=True))
    across, up = {"axial": (width, height), "coronal": (width, depth), "sagittal": (height, depth)}[plane]
    return (0.0, across, 0.0, up)


def real_and_synthetic(
    real: Sequence[PicturedCase],
    synthetic: Sequence[PicturedCase],
    regions: Sequence[str],
    title: str,
    simulated: bool = False,
) -> Figure:
    """Rows of cases: three planes of a real one on the left, of a synthetic one on the right.

    `title` says the system and the settings. Raises UserError when there is no case to draw.
    """
    if not real or not synthetic:
        raise UserError(f"{len(real)} real and {len(synthetic)} synthetic cases: the figure needs one of each at least")
    rows = max(len(real), len(synthetic))
    widths = [extent_mm(plane, real[0].levels.shape, real[0].spacing_mm)[1] for plane in PLANES]
    tallest = max(extent_mm(plane, real[0].levels.shape, real[0].spacing_mm)[3] for plane in PLANES)
    inch_per_mm = 11.6 / (2 * sum(widths))
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            *(rows, 7),
            figsize=(12.0, 0.7 + rows * (tallest * inch_per_mm + 0.22)),
            width_ratios=[*widths, 0.06 * sum(widths), *widths],
            squeeze=False,
            layout="constrained",
        )
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0.0, hspace=0.0)
        for axes in grid.flat:
            axes.axis("off")
        kind = "simulated" if simulated else "real"
        for first, cases, word in ((0, real, kind), (4, synthetic, "synthetic")):
            for row, case in enumerate(cases):
                _draw_case(grid[row, first : first + 3], case, regions)
                grid[row, first].set_title(f"{word}: {case.case_id}", fontsize=7.5, loc="left", pad=2)
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
        figure.legend(
            handles=[Line2D([], [], color=REGION_COLOURS[name], label=REGION_NAMES[name]) for name in regions],
            loc="outside lower center",
            ncols=len(regions),
        )
    return figure


def _draw_case(row_axes: np.ndarray, case: PicturedCase, regions: Sequence[str]) -> None:
    slices = largest_slices(case.levels)
    for axes, plane in zip(row_axes, PLANES, strict=True):
        draw_plane(axes, case, regions, plane, slices[plane])


def draw_plane(axes: plt.Axes, case: PicturedCase, regions: Sequence[str], plane: str, index: int) -> None:
    """One slice of a case, with the contours of these regions."""
    extent = extent_mm(plane, case.levels.shape, case.spacing_mm)
    picture = view(np.asarray(case.image, dtype=np.float32), plane, index)
    axes.imshow(picture, cmap="gray", vmin=-1, vmax=1, extent=extent, interpolation="nearest")
    for name, mask in zip(regions, levels_to_channels(np.asarray(case.levels), regions), strict=True):
        shown = view(mask, plane, index)
        if shown.any():
            # contours count rows from the bottom: origin="upper" puts them on the picture
            padded = np.pad(shown, 1).astype(float)
            step_x, step_y = extent[1] / shown.shape[1], extent[3] / shown.shape[0]
            x = (np.arange(padded.shape[1]) - 0.5) * step_x
            y = extent[3] - (np.arange(padded.shape[0]) - 0.5) * step_y
            axes.contour(x, y, padded, levels=[0.5], colors=REGION_COLOURS[name], linewidths=0.9)
