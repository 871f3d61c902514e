"""Figure: Dice against augmentation ratio, one panel per region, one row per number of real training cases and segmenter."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...base.errors import UserError
from ...evaluation.scores import arms_of, read_scores, regions_of, rows_of, score_array
from ...study.arm_labels import label_of
from ...study.arms import MIXING, REAL_ONLY, REPLACE, Arm
from ...study.segmenters import SEGMENTERS
from ..looks import region_name
from ..tables.cells import read_ratio_table
from .style import FAINT, INK, STYLE, SYSTEM_COLOURS, About

SEED_SHIFT = 0.13  # seeds stand left of their mean, so that neither hides the other
SMALLEST_SPAN = 0.1  # of a Dice axis: a shorter one magnifies noise, and has no length where all values are equal
MOST_LEVEL_NAMES = 6  # arms of a panel whose names stand beside each other
SPREAD = 0.66  # of the systems at one ratio: they stay clear of the next
ONE_SEED = {"marker": "o", "linestyle": "", "markersize": 3, "markerfacecolor": "none", "markeredgewidth": 0.8}


def _position_key(arm: Arm) -> tuple:
    """Group, then the place within it."""
    autoencoder = arm.system if arm.is_control else ""
    return (label_of(arm).group, arm.control, autoencoder, list(MIXING).index(arm.mixing), arm.ratio)


def _systems(arms: list[Arm]) -> list[str]:
    return sorted({arm.system for arm in arms if not arm.is_control} - {REAL_ONLY})


def _row_of(table: pd.DataFrame, arm: Arm, region: str) -> pd.Series:
    for _, row in table[table.region == region].iterrows():
        if Arm.of_row(row) == arm:
            return row
    raise UserError(f"the table has no row of the arm {arm.name}, region {region}: make it from the same dice.tsv")


def _interval(row: pd.Series, baseline: float) -> tuple[float, float] | None:
    """Ends of the bar: the interval of the paired difference, put on the real-only mean."""
    try:
        return baseline + float(row.dice_difference_low), baseline + float(row.dice_difference_high)
    except ValueError:  # "not measured"
        return None


def _draw_panel(
    axes: Axes, scores: pd.DataFrame, table: pd.DataFrame, arms: list[Arm], region: str, places: dict[tuple, int]
) -> None:
    real = next(arm for arm in arms if arm.is_real_only)
    real_seeds = score_array(rows_of(scores, real, region), "dice").mean(axis=0)
    axes.axhline(real_seeds.mean(), color=INK, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    axes.plot(np.full(len(real_seeds), -SEED_SHIFT), real_seeds, **ONE_SEED, color=INK, clip_on=False)

    systems = _systems(arms)
    step = min(0.3, SPREAD / max(1, len(systems) - 1))

    def draw(arm: Arm, x: float, colour: str, marker: str) -> float:
        """The arm's seeds, interval and mean at `x`; returns the mean."""
        seeds = score_array(rows_of(scores, arm, region), "dice").mean(axis=0)
        interval = _interval(_row_of(table, arm, region), real_seeds.mean())
        if interval:
            axes.plot([x, x], interval, marker="_", markersize=7, linewidth=1.2, color=colour, zorder=3)
        axes.plot(np.full(len(seeds), x - min(SEED_SHIFT, step / 2)), seeds, **ONE_SEED, color=colour, clip_on=False)
        axes.plot(x, seeds.mean(), marker, color=colour, markersize=4, zorder=5, clip_on=False)
        return seeds.mean()

    for arm in (arm for arm in arms if arm.is_control):
        draw(arm, places[_position_key(arm)], INK, "^")
    for number, system in enumerate(systems):
        colour = SYSTEM_COLOURS[number % len(SYSTEM_COLOURS)]
        shift = (number - (len(systems) - 1) / 2) * step
        lines = {}
        for arm in (arm for arm in arms if arm.system == system and not arm.is_control):
            x = places[_position_key(arm)] + shift
            mean = draw(arm, x, colour, "D" if arm.synthetic_only else "s")
            if arm.is_mix:
                lines.setdefault(arm.mixing, [(0.0, real_seeds.mean())] if arm.mixing == REPLACE else []).append(
                    (x, mean)
                )
        for line in lines.values():
            axes.plot(*zip(*line, strict=True), "-", color=colour, linewidth=1.5, zorder=4)


def dice_limits(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis that shows Dice from `low` to `high`: at least `SMALLEST_SPAN` long, and never beyond 0 and 1.

    Bars that leave 0 to 1 (an interval of a difference, put on a mean) are cut there.
    """
    low, high = max(low, 0.0), min(high, 1.0)
    span = max(high - low, SMALLEST_SPAN)
    bottom = min(max((low + high - span) / 2, 0.0), 1.0 - span)
    return max(0.0, bottom - 0.05 * span), min(1.0, bottom + 1.05 * span)


def dice_vs_ratio(scores: pd.DataFrame, table: pd.DataFrame, simulated: bool = False) -> Figure:
    """The figure. `scores` as of ``read_scores``, `table` as of ``ratio_table`` (also read back from its CSV).

    Ratios stand at equal distances; all rows of a region share one scale. Raises UserError where the table lacks an arm of the scores.
    """
    arms, regions = arms_of(scores), regions_of(scores)
    references = [arm for arm in arms if arm.is_real_only]
    several = len({arm.segmenter for arm in arms}) > 1
    keys = sorted({_position_key(arm) for arm in arms})
    # gaps before the arms without real cases and before the controls: the line does not reach them
    places = {key: index + 0.4 * max(key[0] - 1, 0) for index, key in enumerate(keys)}
    ticks = {places[_position_key(arm)]: label_of(arm).tick for arm in arms}
    # many arms of few systems stand close, under upright names: in the report a wider figure would be too small to read
    upright = len(keys) > MOST_LEVEL_NAMES and len(_systems(arms)) <= 3
    if upright:
        ticks = {place: name.replace("\n", " ") for place, name in ticks.items()}
    arm_inches, name_inches = (0.28, 0.5) if upright else (0.5, 0.0)
    first = table.iloc[0]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            *(len(references), len(regions)),
            figsize=(
                max(5.0, 0.6 + (0.9 + arm_inches * len(keys)) * len(regions)),
                1.5 + name_inches + 2.6 * len(references),
            ),
            sharex=True,
            sharey="col",
            squeeze=False,
            layout="constrained",
        )
        for row, reference in enumerate(references):
            beside = [arm for arm in arms if arm.reference == reference]
            for column, region in enumerate(regions):
                axes = grid[row, column]
                _draw_panel(axes, scores, table, beside, region, places)
                axes.set_xticks(list(ticks), list(ticks.values()), rotation=90 * upright)
                axes.set_xlim(-0.5, max(ticks) + 0.5)
                axes.grid(axis="y", color=FAINT, linewidth=0.4)
                if row == 0:
                    axes.set_title(region_name(region))
            by = f" of {SEGMENTERS[reference.segmenter]}" * several
            grid[row, 0].set_ylabel(f"mean test Dice{by}, n_real = {reference.n_real}")
        for panels in grid.T:  # of one region: they share their scale
            ends = [end for axes in panels for end in axes.dataLim.intervaly]
            panels[0].set_ylim(dice_limits(min(ends), max(ends)))
        grid[-1, len(regions) // 2].set_xlabel("synthetic cases for each real training patient")
        colour = "#B00020" if simulated else INK
        figure.suptitle(_title(first, simulated), fontsize=9, x=0.01, ha="left", color=colour)
        handles = _legend(arms, float(first.confidence))
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _title(row: pd.Series, simulated: bool) -> str:
    text = f"{int(row.n_cases)} test cases, {int(row.n_seeds)} training seed{'s' * (int(row.n_seeds) != 1)}"
    return f"SIMULATED COHORT, says nothing about patients. {text}" if simulated else text


def _legend(arms: list[Arm], confidence: float) -> list[Line2D]:
    systems = _systems(arms)
    colours = [SYSTEM_COLOURS[number % len(SYSTEM_COLOURS)] for number in range(len(systems))]
    handles = [
        Line2D([], [], color=colour, marker="s", label=f"{system}: mean over seeds")
        for system, colour in zip(systems, colours, strict=True)
    ]
    handles.append(Line2D([], [], color=INK, linestyle=(0, (5, 3)), label="real only: mean over seeds"))
    if any(arm.is_control for arm in arms):
        label = "control, no synthetic case: mean over seeds"
        handles.append(Line2D([], [], color=INK, marker="^", markersize=4, linestyle="", label=label))
    handles.append(Line2D([], [], **ONE_SEED, color=INK, label="one seed"))
    label = f"{confidence:.0%} interval of the paired difference, on the real-only mean"
    handles.append(Line2D([], [], color=INK, marker="|", markersize=7, linewidth=1.2, label=label))
    return handles


def draw(files: dict, settings: dict, about: About) -> Figure:
    """The figure of the study."""
    return dice_vs_ratio(read_scores(files["scores"]), read_ratio_table(files["ratios"][0]), about.simulated)
