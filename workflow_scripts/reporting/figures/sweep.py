"""Figure: one synthetic patient whose tumour grows and moves, a row a feature, requested and measured values on top."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..tables.cells import REGION_NAMES
from .cases import PicturedCase, draw_plane, extent_mm, largest_slices
from .style import REGION_COLOURS, STYLE

ROWS = {
    "volume_ml": ("volume", "ml", "axial"),
    "centroid_x_mm": ("centre x, right +", "mm", "axial"),
    "centroid_y_mm": ("centre y, anterior +", "mm", "sagittal"),
    "centroid_z_mm": ("centre z, superior +", "mm", "coronal"),
}
"""Feature -> its words, its unit, and the plane in which it is seen to change."""


class SweepCell(NamedTuple):
    """One picture: the case; requested and measured features by name; whether a request is out of range."""

    case: PicturedCase
    requested: Mapping[str, float]
    measured: Mapping[str, float]
    outside: bool


def centre_in_view(plane: str, extent: Sequence[float], place_mm: Mapping[str, float]) -> tuple[float, float]:
    """Where the requested centre lies on a slice drawn by `draw_plane`, in its mm from the lower left corner.

    `place_mm` holds centroid_x_mm, centroid_y_mm and centroid_z_mm, relative to the centre of the grid.
    """
    x, y, z = (place_mm[f"centroid_{axis}_mm"] for axis in "xyz")
    across, up = {"axial": (x, y), "coronal": (x, z), "sagittal": (y, z)}[plane]
    return extent[1] / 2 - across, extent[3] / 2 + up  # right and anterior are drawn on the left


def control_sweep(rows: Mapping[str, Sequence[SweepCell]], regions: Sequence[str], title: str) -> Figure:
    """The figure: feature of `ROWS` -> its pictures, all rows with the same number of them.

    Each picture is the slice with the most tumour; a cross marks the requested centre.
    """
    steps = len(next(iter(rows.values())))
    first = next(iter(rows.values()))[0].case
    shapes = {name: extent_mm(ROWS[name][2], first.levels.shape, first.spacing_mm) for name in rows}
    inches = 2.0 / max(shape[1] for shape in shapes.values())  # an mm on paper
    heights = [shapes[name][3] * inches for name in rows]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            *(len(rows), steps),
            figsize=(max(0.5 + 2.0 * steps, 8.0), 1.2 + sum(heights) + 0.4 * len(rows)),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0.0, hspace=0.0)
        for line, (name, cells) in zip(grid, rows.items(), strict=True):
            words, unit, plane = ROWS[name]
            for axes, cell in zip(line, cells, strict=True):
                draw_plane(axes, cell.case, regions, plane, largest_slices(cell.case.levels)[plane])
                across, up = centre_in_view(plane, shapes[name], cell.requested)
                axes.plot(across, up, "+", color="#56B4E9", markersize=7, markeredgewidth=1.2)
                axes.set(xticks=[], yticks=[], xlim=shapes[name][:2], ylim=shapes[name][2:])
                axes.spines[:].set_visible(False)
                made = cell.measured.get(name)
                found = "no tumour" if made is None else f"measured {_shown(name, made)} {unit}"
                wanted = f"requested {_shown(name, cell.requested[name])}{'*' * cell.outside}"
                axes.set_title(f"{wanted}\n{found}", fontsize=7, pad=2)
            line[0].set_ylabel(f"{words}\n({plane})", fontsize=8)
        figure.suptitle(_wrapped(title, steps), fontsize=8, x=0.01, ha="left")
        handles = [Line2D([], [], color=REGION_COLOURS[name], label=REGION_NAMES[name]) for name in regions]
        handles.append(Line2D([], [], linestyle="", marker="+", color="#56B4E9", label="requested centre"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _shown(name: str, value: float) -> str:
    return f"{value:.1f}" if name == "volume_ml" else f"{value:+.0f}"


def _wrapped(title: str, steps: int) -> str:
    """The title in lines that fit a figure of so many columns."""
    width = int(max(0.5 + 2.0 * steps, 8.0) * 17)
    return "\n".join(part for line in title.splitlines() for part in textwrap.wrap(line, width))
