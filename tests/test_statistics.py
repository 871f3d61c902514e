"""Spread and bootstrap intervals: known values, coverage on simulated studies, and what pairing buys."""

import numpy as np
import pytest

from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.evaluation.statistics import best_coverage, bootstrap_interval, paired_difference, summarise


def test_summary_of_a_small_study_by_hand():
    summary = summarise([[0.8, 0.6], [0.5, 0.5], [0.2, 0.4]])  # 3 cases, 2 seeds; case means 0.7, 0.5, 0.3
    assert summary.mean == pytest.approx(0.5)
    assert summary.sd_cases == pytest.approx(0.2)
    assert summary.sd_seeds == pytest.approx(0.0)
    assert (summary.n_cases, summary.n_seeds) == (3, 2)


def test_a_spread_over_one_value_was_not_measured():
    assert summarise([[0.8], [0.6]]).sd_seeds is None
    assert summarise([[0.8, 0.6]]).sd_cases is None
    with pytest.raises(ValueError, match="finite"):
        summarise([[0.8, np.nan]])


@pytest.mark.parametrize("n_cases", [8, 30])
def test_intervals_cover_the_true_difference_as_often_as_they_say(n_cases):
    simulated = numpy_rng("coverage", n_cases)
    covered = 0
    for study in range(600):
        differences = simulated.normal(0.02, 0.05, size=n_cases)
        low, high = bootstrap_interval(differences, 1000, 0.95, numpy_rng(study))
        covered += low <= 0.02 <= high
    # 600 studies: standard error 0.9 %; the plain percentile interval reaches about 89 % at 8 cases
    assert 0.925 <= covered / 600 <= 0.98


def test_pairing_narrows_the_interval_where_cases_differ_more_than_arms():
    rng = numpy_rng("pairing")
    difficulty = rng.uniform(0.3, 0.95, size=(40, 1))
    baseline = difficulty + rng.normal(0, 0.01, size=(40, 3))
    better = difficulty + 0.02 + rng.normal(0, 0.01, size=(40, 3))
    mean, (low, high) = paired_difference(better, baseline, 2000, 0.95, numpy_rng(0))
    mean_unpaired, (low_unpaired, high_unpaired) = paired_difference(
        better, rng.permutation(baseline, axis=0), 2000, 0.95, numpy_rng(0)
    )
    assert mean == pytest.approx(mean_unpaired)
    assert high - low < 0.1 * (high_unpaired - low_unpaired)
    assert low > 0 > low_unpaired


def test_seeds_are_averaged_within_each_case():
    scores, baseline = np.array([[0.5, 0.7], [0.8, 0.6], [0.9, 0.9]]), np.array([[0.6], [0.7], [0.8]])
    seeds_averaged = scores.mean(axis=1, keepdims=True)
    assert paired_difference(scores, baseline, 500, 0.9, numpy_rng(1)) == paired_difference(
        seeds_averaged, baseline, 500, 0.9, numpy_rng(1)
    )


def test_intervals_depend_on_the_seed_alone_and_hold_the_mean():
    values = numpy_rng("values").normal(size=25)
    again = [bootstrap_interval(values, 2000, 0.95, numpy_rng(7)) for _ in range(2)]
    assert again[0] == again[1] != bootstrap_interval(values, 2000, 0.95, numpy_rng(8))
    assert again[0][0] < values.mean() < again[0][1]


def test_more_confidence_is_a_wider_interval_within_the_data():
    values = numpy_rng("values").normal(size=12)
    (low, high), (wide_low, wide_high) = (bootstrap_interval(values, 4000, c, numpy_rng(0)) for c in (0.8, 0.99))
    assert values.min() <= wide_low < low < high < wide_high <= values.max()


def test_one_case_has_no_interval_and_few_cases_cannot_reach_their_confidence():
    assert bootstrap_interval(np.array([0.1]), 100, 0.95, numpy_rng(0)) is None
    assert best_coverage(3) == pytest.approx(0.75)
    assert best_coverage(5) < 0.95 < best_coverage(6)


def test_unpaired_arrays_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        paired_difference(np.ones((3, 1)), np.ones((4, 1)), 100, 0.95, numpy_rng(0))
