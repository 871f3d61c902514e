"""Whether a training had got past its onset: a Dice that still rises says how long was trained, not on what.

A segmenter first finds no tumour at all, then more with every step, and then levels off. Two arms that end on the steep
part differ by their speed there, and more or other cases change nothing else. The rule looks at the Dice of validation
patches over the last third of the epochs, at least `FEWEST` of them. That Dice is

- ``zero`` where it never passes `NOTHING`, which a network reaches that marks every voxel, of a region that fills one in
  twenty; and where, whatever validation said, no test case that has the region got a voxel of it right;
- ``rising`` where a straight line through it rises, over that third, by more than `RISE`, and by more than its noise, in
  which the slope's standard error is held against Student's t, one-sided at 97.5 %;
- else ``past``.

A learning rate that falls to zero makes every Dice rise a little to its end, so significance alone would mark everything
that was watched closely: `RISE` is what training again with another seed moves a Dice by where cases are few. Where
fewer than `FEWEST` epochs hold a Dice, it is ``not watched``, and nothing is said.
"""

import math

import numpy as np
import pandas as pd

FEWEST = 4  # epochs
RISE, NOTHING = 0.02, 0.1  # Dice
LEVEL = 0.975
PAST, RISING, ZERO, NOT_WATCHED = "past", "rising", "zero", "not watched"
PREFIX = "pseudo_dice_"  # of the columns of progress.csv


def onset_of(values: np.ndarray) -> str:
    """One of the four words above, for the validation Dice (epochs,) of a region; NaN where an epoch measured none."""
    from scipy.stats import linregress, t

    values = np.asarray(values, dtype=np.float64)
    n = max(FEWEST, math.ceil(len(values) / 3))
    epochs = np.arange(len(values))[-n:][np.isfinite(values[-n:])]
    last = values[epochs]
    if len(last) < FEWEST:
        return NOT_WATCHED
    if last.max() <= NOTHING:
        return ZERO
    line = linregress(epochs, last)
    rise = line.slope * (epochs[-1] - epochs[0])
    noise = t.ppf(LEVEL, len(last) - 2) * line.stderr
    return RISING if rise > RISE and line.slope > noise else PAST


def onsets(progress: pd.DataFrame, regions: list[str]) -> dict[str, str]:
    """Region -> its word, for the table that a training leaves (a row an epoch)."""
    nothing = np.full(len(progress), np.nan)
    return {region: onset_of(progress.get(f"{PREFIX}{region}", nothing)) for region in regions}


def found_nowhere(scores: pd.DataFrame) -> set[str]:
    """Regions that no test case with the region got a voxel of right, by the scores of a training (``region``, ``dice``,
    ``reference_ml``): a Dice on validation patches, often of two or three patients, may hide that."""
    held = scores[scores.reference_ml > 0].groupby("region").dice.max()
    return set(held.index[held == 0])


def of_seeds(words: pd.Series) -> str:
    """An arm's word over its seeds: the worst, and in how many of them, such as ``rising in 2 of 3 seeds``."""
    for word in (ZERO, RISING):
        if count := int((words == word).sum()):
            return f"{word} in {count} of {len(words)} seeds"
    return NOT_WATCHED if (words == NOT_WATCHED).any() else PAST


def is_early(word: object) -> bool:
    """Whether an arm, by the text of `of_seeds`, is to be marked."""
    return str(word).startswith((ZERO, RISING))
