"""Figure: real and synthetic cases side by side, three planes through the tumour, with the contours of its regions.

The synthetic cases are the first ones by number, the real ones a seeded draw from the training patients of the generator:
none is picked for its looks.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ...base.errors import UserError
from ...cohort.planes import PLANES, extent_mm, largest_slices
from ...cohort.subset import Subset
from ...study.settings.evaluation import Figures
from ..tables.text import read_together
from .slices import PicturedCase, draw_plane, pick_real, region_handles, stored_case, synthetic_case
from .style import STYLE, About


def draw(files: dict, settings: dict, about: About) -> Figure:
    """The figure of a system and n_real; settings: figures {cases, modality} and regions."""
    shown = Figures.read(settings["figures"], "evaluation.figures")
    count, modality = shown.cases, shown.modality
    regions = settings["regions"]
    train, folder = Subset.open(files["train"][0], "train"), files["blocks"][0].parents[1]
    made = read_together(files["blocks"]).sort_values("number")
    real = [stored_case(train.store, case_id, modality) for case_id in pick_real(train.case_ids, count)]
    spacing_mm = real[0].spacing_mm if real else (1, 1, 1)
    synthetic = [synthetic_case(folder, case_id, modality, spacing_mm) for case_id in made.case_id.iloc[:count]]
    title = (
        f"{modality}, slices with the most tumour. Right: system {about.system}, trained on n_real = {train.n_patients} "
        f"patients; its first {len(synthetic)} cases by number, not picked. Left: a seeded draw from those patients."
    )
    return real_and_synthetic(real, synthetic, regions, about.titled(title), about.simulated)


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
        figure.legend(handles=region_handles(regions), loc="outside lower center", ncols=len(regions))
    return figure


def _draw_case(row_axes: np.ndarray, case: PicturedCase, regions: Sequence[str]) -> None:
    slices = largest_slices(case.levels)
    for axes, plane in zip(row_axes, PLANES, strict=True):
        draw_plane(axes, case, regions, plane, slices[plane])
