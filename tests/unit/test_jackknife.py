"""The jackknife over groups of cases: closed forms, a recomputation without each group, and when there is none."""

from statistics import NormalDist

import numpy as np
import pytest

from workflow_scripts.evaluation.frechet import GaussianStatistics, frechet_distance, left_out_distances, merged
from workflow_scripts.evaluation.statistics.jackknife import GROUPS, case_groups, normal_interval, standard_error


def left_out(values, statistic=np.mean):
    """`statistic` of `values` (n, ...) without each group of cases."""
    groups = case_groups(len(values))
    return np.array([statistic(values[groups != group]) for group in range(groups.max() + 1)])


def test_groups_are_ten_or_a_case_each_and_as_equal_as_can_be():
    assert case_groups(4).tolist() == [0, 1, 2, 3]
    for n in (10, 23, 1000):
        sizes = np.bincount(case_groups(n))
        assert len(sizes) == GROUPS and np.ptp(sizes) <= 1 and sizes.sum() == n


def test_of_a_mean_it_is_the_textbook_standard_error():
    values = np.random.default_rng(0).normal(size=7)
    assert standard_error(values.mean(), left_out(values), 7) == pytest.approx(values.std(ddof=1) / np.sqrt(7))


def test_equal_groups_give_the_plain_formula():
    values = np.random.default_rng(1).normal(size=40)
    replicates = left_out(values, np.var)
    expected = np.sqrt(9 / 10 * ((replicates - replicates.mean()) ** 2).sum())
    assert standard_error(np.var(values), replicates, 40) == pytest.approx(expected)


@pytest.mark.parametrize("n", [11, 19, 20, 500])
def test_a_bias_that_falls_with_n_is_no_spread_whatever_the_groups(n):
    replicates = left_out(np.zeros(n), lambda rest: 3.0 + 50.0 / len(rest))
    assert standard_error(3.0 + 50.0 / n, replicates, n) == pytest.approx(0.0, abs=1e-9)


def test_the_interval_is_cut_at_the_lowest_value_and_needs_three_cases():
    reach = NormalDist().inv_cdf(0.975) * 2
    assert normal_interval(5.0, 2.0, 0.95) == pytest.approx((5 - reach, 5 + reach))
    assert normal_interval(1.0, 2.0, 0.95, lowest=0.0) == pytest.approx((0.0, 1 + reach))
    assert standard_error(1.0, np.ones(2), 2) is None and normal_interval(1.0, None, 0.95) is None
    assert standard_error(1.0, np.array([1.0, np.nan, 1.0]), 3) is None


def parts_of(cases):
    parts = [GaussianStatistics(cases[0].shape[1]) for _ in range(case_groups(len(cases)).max() + 1)]
    for case, group in zip(cases, case_groups(len(cases)), strict=True):
        parts[group].update(case)
    return parts


def test_distances_without_a_group_are_those_of_the_other_cases_slices():
    rng = np.random.default_rng(2)
    sets = [[rng.normal(size=(5, 4)) + shift for _ in range(13)] for shift in (0.0, 0.7)]
    replicates = left_out_distances(*map(parts_of, sets))
    groups = case_groups(13)
    for group, found in enumerate(replicates):
        rest = [np.concatenate([case for case, own in zip(s, groups, strict=True) if own != group]) for s in sets]
        assert found == pytest.approx(frechet_distance(*(GaussianStatistics(4).update(x) for x in rest)))
    assert len(replicates) == GROUPS and np.ptp(replicates) > 0


def test_the_spread_of_the_distance_over_fresh_cases_is_about_the_standard_error():
    """Cases whose slices are shifted together: the error is that of cases, many times that of independent slices."""

    def draw(rng, shift):
        return [rng.normal(size=(6, 3)) + rng.normal(size=3) + shift for _ in range(60)]

    values, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        parts = [parts_of(draw(rng, shift)) for shift in (0.0, 1.0)]
        values.append(frechet_distance(*map(merged, parts)))
        errors.append(standard_error(values[-1], left_out_distances(*parts), 60))
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.3)


def test_few_parts_have_no_replicates_and_too_few_slices_are_no_number():
    one = [GaussianStatistics(2).update(np.ones((1, 2)) * number) for number in range(2)]
    assert len(left_out_distances(one, one)) == 0
    three = [*one, GaussianStatistics(2)]
    assert np.isnan(left_out_distances(three, three)).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="as many parts"):
        left_out_distances(one, three)
