"""Figure: the ladder, gains over real only by rung, one panel per region, one row per number of real patients and segmenter."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...evaluation.statistics.ladder import REAL, SYSTEM
from ...study.arms import CEILING
from ...study.segmenters import SEGMENTERS
from ..looks import region_name
from ..tables.cells import EARLY, count_of, marked, read_mixed_csv
from ..tables.ladder import rung_name
from .style import FAINT, INK, STYLE, SYSTEM_COLOURS, About

ROW_INCHES, PANEL_INCHES = 0.32, 2.5


def ladder(table: pd.DataFrame, about: About) -> Figure:
    """The figure, of ladder.csv. All panels of a region share their scale."""
    rungs = table[table.rung != REAL]
    groups = list(table.groupby(["n_real", "segmenter"], sort=True))
    regions = list(dict.fromkeys(table.region))
    systems = sorted(set(rungs.system[rungs.rung == SYSTEM]))
    heights = [max(1, len(own[(own.rung != REAL) & (own.region == regions[0])])) for _, own in groups]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            *(len(groups), len(regions)),
            figsize=(2.2 + PANEL_INCHES * len(regions), 1.4 + sum(ROW_INCHES * n + 0.7 for n in heights)),
            height_ratios=heights,
            sharex="col",
            squeeze=False,
            layout="constrained",
        )
        for row, ((n_real, segmenter), own) in enumerate(groups):
            by = f", {SEGMENTERS[segmenter]}" * (table.segmenter.nunique() > 1)
            for column, region in enumerate(regions):
                axes, shown = grid[row, column], own[(own.rung != REAL) & (own.region == region)]
                axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (5, 3)))
                names = []
                for place, (_, rung) in enumerate(shown.iterrows()):
                    colour = (
                        SYSTEM_COLOURS[systems.index(rung.system) % len(SYSTEM_COLOURS)] if rung.rung == SYSTEM else INK
                    )
                    if not isinstance(rung.gain_low, str):
                        axes.plot([rung.gain_low, rung.gain_high], [place] * 2, "|-", color=colour, linewidth=1.2)
                    axes.plot(rung.gain, place, "^" if rung.rung == CEILING else "s", color=colour, markersize=5)
                    names.append(marked(rung_name(rung).partition(":")[0], rung.onset))
                axes.set_yticks(range(len(names)), names if column == 0 else [""] * len(names))
                axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
                axes.grid(axis="x", color=FAINT, linewidth=0.4)
                axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))  # "0.025" beside "0.050" would touch
                if row == 0:
                    axes.set_title(region_name(region))
            grid[row, 0].set_ylabel(f"n_real = {n_real}{by}")
        grid[-1, len(regions) // 2].set_xlabel("Dice minus real only")
        first = table.iloc[0]
        title = f"Gain over real only, {first.confidence:.0%} intervals over {first.n_patients} patients and {count_of(first.n_seeds, 'seed')}"
        title += f"; {EARLY}: trained too short" * bool(table.onset.map(lambda word: marked("", word)).any())
        figure.suptitle(about.titled(title), fontsize=9, x=0.01, ha="left")
    return figure


def draw(files: dict, settings: dict, about: About) -> Figure:
    """The figure of the study."""
    return ladder(read_mixed_csv(files["ladder"][0]), about)
