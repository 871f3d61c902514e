"""Figure: Dice of real only against patients, and where each arm with synthetic cases stands on that curve."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...evaluation.statistics.exchange import CURVE, WORTH
from ...study.arms import MIXING, NO_CONTROL
from ...study.segmenters import SEGMENTERS
from ..looks import region_name
from ..tables.cells import read_mixed_csv
from .dice_vs_ratio import dice_limits
from .style import FAINT, INK, STYLE, SYSTEM_COLOURS, About

MARKERS = dict(zip(MIXING, ("s", "D", "v"), strict=True))


def _draw_panel(axes: Axes, table: pd.DataFrame, systems: list[str]) -> None:
    """Curve and arms of one region and segmenter; an arm has a line to where the curve reaches its gain."""
    curve = table[table.row == CURVE].sort_values("n_real")
    axes.plot(curve.n_real.astype(float), curve.curve.astype(float), "-", color=INK, linewidth=1.2)
    axes.plot(curve.n_real.astype(float), curve.dice_mean.astype(float), "o", color=INK, markersize=4, clip_on=False)
    for _, row in curve.iterrows():
        if not isinstance(row.dice_low, str):
            axes.plot([row.n_real] * 2, [row.dice_low, row.dice_high], color=INK, linewidth=0.8)
    for _, row in table[(table.row == WORTH) & (table.control == NO_CONTROL)].iterrows():
        colour, reached = SYSTEM_COLOURS[systems.index(row.system) % len(SYSTEM_COLOURS)], row.curve + row.gain
        axes.plot(row.n_real, reached, MARKERS[row.mixing], color=colour, markersize=4, zorder=4, clip_on=False)
        if not isinstance(row.further_patients, str):
            line = [row.n_real, row.n_real + row.further_patients]
            axes.plot(line, [reached] * 2, color=colour, linewidth=0.9, linestyle=(0, (3, 2)))
    axes.set_xscale("log")
    axes.set_xticks(list(curve.n_real), [str(size) for size in curve.n_real])
    axes.minorticks_off()
    axes.grid(axis="y", color=FAINT, linewidth=0.4)


def exchange(table: pd.DataFrame, about: About) -> Figure:
    """The figure, of exchange.csv: a panel a region, a row a segmenter."""
    regions, segmenters = (list(dict.fromkeys(table[name])) for name in ("region", "segmenter"))
    made = table[(table.row == WORTH) & (table.control == NO_CONTROL)]
    systems = sorted(set(made.system))
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            *(len(segmenters), len(regions)),
            figsize=(1 + 2.8 * len(regions), 1.8 + 2.6 * len(segmenters)),
            squeeze=False,
            layout="constrained",
        )
        for row, segmenter in enumerate(segmenters):
            for axes, region in zip(grid[row], regions, strict=True):
                _draw_panel(axes, table[(table.region == region) & (table.segmenter == segmenter)], systems)
                axes.set_ylim(dice_limits(*axes.dataLim.intervaly))
                axes.set_title(region_name(region))
            by = f" of {SEGMENTERS[segmenter]}" * (len(segmenters) > 1)
            grid[row, 0].set_ylabel(f"mean test Dice{by}")
        grid[-1, len(regions) // 2].set_xlabel("real training patients")
        colours = [SYSTEM_COLOURS[number % len(SYSTEM_COLOURS)] for number in range(len(systems))]
        handles = [Line2D([], [], color=INK, marker="o", label="real only, and its curve")]
        handles += [
            Line2D([], [], color=c, marker="s", label=f"N + {name}") for name, c in zip(systems, colours, strict=True)
        ]
        handles += [
            Line2D([], [], color=INK, marker=MARKERS[way], linestyle="", label=way.replace("_", " "))
            for way in MIXING
            if made.mixing.nunique() > 1 and way in set(made.mixing)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
        title = "Dice against patients; a dashed line runs from an arm to where the curve reaches it"
        figure.suptitle(about.titled(title), fontsize=9, x=0.01, ha="left")
    return figure


def draw(files: dict, settings: dict, about: About) -> Figure:
    """The figure of the study."""
    return exchange(read_mixed_csv(files["exchange"][0]), about)
