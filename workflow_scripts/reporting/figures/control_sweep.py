"""Figure: one synthetic patient whose tumour grows and moves, a row a feature, requested and measured values on top."""

import textwrap
from collections.abc import Mapping, Sequence
from math import isnan
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...base.files import read_tsv
from ...evaluation.control_slices import SWEPT, read_slices
from ...study.settings.evaluation import Figures
from .slices import draw_slice, modality_of, region_handles, upright
from .style import STYLE, About

ROWS = {
    "volume_ml": ("volume", "ml"),
    "centroid_x_mm": ("centre x, right +", "mm"),
    "centroid_y_mm": ("centre y, anterior +", "mm"),
    "centroid_z_mm": ("centre z, superior +", "mm"),
}
"""Feature -> its words and its unit."""


class SweepCell(NamedTuple):
    """One picture: a slice (rows, columns) of the image and of the levels, upright; requested and measured conditions by
    name, NaN where nothing was measured; whether a request is out of range."""

    image: np.ndarray
    levels: np.ndarray
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


def control_sweep(
    rows: Mapping[str, Sequence[SweepCell]],
    extents: Mapping[str, tuple[float, float, float, float]],
    regions: Sequence[str],
    title: str,
) -> Figure:
    """The figure: feature of `ROWS` -> its pictures, all rows with the same number of them, and their extent in mm.

    Each picture is the slice with the most tumour; a cross marks the requested centre.
    """
    steps = len(next(iter(rows.values())))
    inches = 2.0 / max(extent[1] for extent in extents.values())  # an mm on paper
    heights = [extents[name][3] * inches for name in rows]
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
            (words, unit), plane = ROWS[name], SWEPT[name]
            for axes, cell in zip(line, cells, strict=True):
                draw_slice(axes, cell.image, cell.levels, extents[name], regions)
                across, up = centre_in_view(plane, extents[name], cell.requested)
                axes.plot(across, up, "+", color="#56B4E9", markersize=7, markeredgewidth=1.2)
                axes.set(xticks=[], yticks=[], xlim=extents[name][:2], ylim=extents[name][2:])
                axes.spines[:].set_visible(False)
                made = cell.measured.get(name)
                found = "no tumour" if made is None or isnan(made) else f"measured {_shown(name, made)} {unit}"
                wanted = f"requested {_shown(name, cell.requested[name])}{'*' * cell.outside}"
                axes.set_title(f"{wanted}\n{found}", fontsize=7, pad=2)
            line[0].set_ylabel(f"{words}\n({plane})", fontsize=8)
        figure.suptitle(_wrapped(title, steps), fontsize=8, x=0.01, ha="left")
        handles = region_handles(regions)
        handles.append(Line2D([], [], linestyle="", marker="+", color="#56B4E9", label="requested centre"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _shown(name: str, value: float) -> str:
    return f"{value:.1f}" if name == "volume_ml" else f"{value:+.0f}"


def _wrapped(title: str, steps: int) -> str:
    """The title in lines that fit a figure of so many columns."""
    width = int(max(0.5 + 2.0 * steps, 8.0) * 17)
    return "\n".join(part for line in title.splitlines() for part in textwrap.wrap(line, width))


def draw(files: dict, settings: dict, about: About) -> Figure:
    """The figure of a system and n_real, from what sample_control_sweep wrote; settings: figures {modality}."""
    modality = Figures.read(settings["figures"], "evaluation.figures").modality
    table = read_tsv(files["sweep"][0])
    slices, made = read_slices(files["slices"][0])
    channel = modality_of(made["modalities"], modality)
    conditions = [name.removeprefix("requested_") for name in table.columns if name.startswith("requested_")]
    rows = {
        feature: [
            SweepCell(
                *(
                    upright(array)
                    for array in (
                        slices[f"{feature}/{row['step']}/image"][channel],
                        slices[f"{feature}/{row['step']}/levels"],
                    )
                ),
                *({name: row[f"{kind}_{name}"] for name in conditions} for kind in ("requested", "measured")),
                bool(row["out_of_range_note"]),
            )
            for row in part.to_dict("records")
        ]
        for feature, part in table.groupby("swept", sort=False)
    }
    title = (
        f"{modality}; system {about.system}, n_real = {about.n_real}. The same noise in every picture; requested is the "
        "training tumour nearest the mean, of which a row takes one feature through its training range.\nThe volume "
        "grows at fixed sphericity: surface by its power 2/3, box by 1/3. No draw was refused or picked. *: a requested "
        "feature lies outside of the training range."
    )
    return control_sweep(rows, made["extents_mm"], made["regions"], about.titled(title))
