"""Onset: which trainings ended while their validation Dice was still rising, or at zero."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.evaluation.statistics.onset import is_early, of_seeds, onset_of, onsets


def noisy(values, sd=0.01):
    return np.asarray(values) + np.random.default_rng(0).normal(0, sd, len(values))


EPOCHS = np.arange(30)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.zeros(30), "zero"),
        (noisy(np.full(30, 0.05)), "zero"),  # marks everything
        (np.r_[np.zeros(29), 0.2], "past"),  # one lucky epoch is no slope above its noise
        (noisy(EPOCHS / 40), "rising"),
        (noisy(0.8 - 0.8 * np.exp(-EPOCHS / 4)), "past"),
        (noisy(np.full(30, 0.8), 0.05), "past"),
        (noisy(0.8 + 0.0005 * EPOCHS, 0.0001), "past"),  # rises for certain, and by nothing
        (noisy(0.8 - 0.01 * EPOCHS), "past"),  # falls
        (np.array([0.0, 0.2, 0.4, 0.6]), "rising"),  # all of a short training
        (np.array([0.0, 0.3, 0.6]), "not watched"),
        (np.full(30, np.nan), "not watched"),
        (np.where(EPOCHS % 2, np.nan, EPOCHS / 40), "rising"),
    ],
)
def test_the_word_of_a_curve(values, word):
    assert onset_of(values) == word


def test_chance_alone_marks_few_trainings():
    rng = np.random.default_rng(1)
    flat = [onset_of(0.7 + rng.normal(0, 0.05, 30)) for _ in range(1000)]
    assert flat.count("rising") < 0.04 * len(flat)


def test_a_training_without_validation_dice_is_not_watched():
    progress = pd.DataFrame({"epoch": range(9), "train_loss": 0.5, "pseudo_dice_core": np.arange(9) / 10})
    assert onsets(progress, ["whole", "core"]) == {"whole": "not watched", "core": "rising"}


def test_an_arm_is_marked_by_its_worst_seed():
    words = [["past"] * 3, ["past", "rising", "rising"], ["zero", "rising", "past"], ["past", "not watched", "past"]]
    found = [of_seeds(pd.Series(seeds)) for seeds in words]
    assert found == ["past", "rising in 2 of 3 seeds", "zero in 1 of 3 seeds", "not watched"]
    assert [is_early(word) for word in found] == [False, True, True, False]
