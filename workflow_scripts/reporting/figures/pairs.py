"""Figure: synthetic cases beside their nearest training cases, and the difference of the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ...base.errors import UserError
from ...cohort.regions import REGIONS
from .cases import PicturedCase, draw_plane, extent_mm, largest_slices, view
from .style import STYLE

PLANES = ("axial", "coronal")
PARTS = ("case", "nearest training case", "difference")


class Pair(NamedTuple):
    """A case, its nearest training case in the case's own pose, and a line that says how near they are."""

    case: PicturedCase
    training: PicturedCase
    words: str


def nearest_pairs(pairs: Sequence[Pair], title: str) -> Figure:
    """A row a pair: in two planes, through most of the case's tumour, the case, the training case, their difference.

    The difference is the case minus the training case, from -1 (blue) to 1 (red). Raises UserError without a pair.
    """
    if not pairs:
        raise UserError("there is no pair of a synthetic and a training case to draw")
    shape, spacing_mm = pairs[0].case.levels.shape, pairs[0].case.spacing_mm
    widths = [extent_mm(plane, shape, spacing_mm)[1] for plane in PLANES for _ in PARTS]
    tallest = max(extent_mm(plane, shape, spacing_mm)[3] for plane in PLANES)
    height = tallest * 10.0 / sum(widths) + 0.28
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            *(len(pairs), len(widths)),
            figsize=(10.4, 0.9 + len(pairs) * height),
            width_ratios=widths,
            squeeze=False,
            layout="constrained",
        )
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.11, wspace=0.0, hspace=0.0)
        for axes in grid.flat:
            axes.axis("off")
        for row, pair in zip(grid, pairs, strict=True):
            _draw_pair(row, pair)
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def _draw_pair(row: np.ndarray, pair: Pair) -> None:
    slices = largest_slices(pair.case.levels)
    words = row[0].text(0, 1.03, pair.words, fontsize=7.5, transform=row[0].transAxes, va="bottom")
    words.set_in_layout(False)  # it runs over the whole row and must not widen its first picture
    for first, plane in zip((0, len(PARTS)), PLANES, strict=True):
        for axes, case in zip(row[first : first + 2], (pair.case, pair.training), strict=True):
            draw_plane(axes, case, REGIONS[:1], plane, slices[plane])
        difference = np.asarray(pair.case.image, dtype=np.float32) - np.asarray(pair.training.image, dtype=np.float32)
        extent = extent_mm(plane, difference.shape, pair.case.spacing_mm)
        shown = view(difference, plane, slices[plane])
        row[first + 2].imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, extent=extent, interpolation="nearest")
