"""Two-sample tests of mask shapes: against scipy, by hand, and right as often as they say."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.evaluation.statistics.two_sample import energy_test, kolmogorov_smirnov


def samples(seed, n=12, m=9, features=3, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, features)), rng.normal(size=(m, features)) + shift


def energy(one, other):
    return 2 * cdist(one, other).mean() - cdist(one, one).mean() - cdist(other, other).mean()


def test_energy_distance_in_one_dimension_is_scipys_squared():
    one, other = samples(0, features=1, shift=0.7)
    scale = np.concatenate([one, other]).std()
    expected = stats.energy_distance(one[:, 0] / scale, other[:, 0] / scale) ** 2
    assert energy_test(one, other, 19, numpy_rng("p"))[0] == pytest.approx(expected)


def test_energy_distance_of_two_points_and_of_a_sample_to_itself_by_hand():
    one, other = np.array([[0.0]]), np.array([[3.0], [0.0]])  # pooled standard deviation sqrt(2)
    assert energy_test(one, other, 19, numpy_rng("p"))[0] == pytest.approx((2 * 1.5 - 0 - 1.5) / np.sqrt(2))
    assert energy_test(other, other, 19, numpy_rng("p"))[0] == pytest.approx(0.0)


def test_the_permutation_test_is_scipys():
    one, other = samples(1, n=5, m=4, shift=0.9)
    scale = np.concatenate([one, other]).std(axis=0)

    numbers = np.concatenate([one, other]) / scale
    found = stats.permutation_test(
        (np.arange(5), np.arange(5, 9)),
        lambda x, y: energy(numbers[x.astype(int)], numbers[y.astype(int)]),
        vectorized=False, alternative="greater", n_resamples=np.inf,
    )  # fmt: skip
    distance, p = energy_test(one, other, 4000, numpy_rng("permutations"))
    assert distance == pytest.approx(found.statistic)
    assert p == pytest.approx(found.pvalue, abs=0.02), "126 divisions of nine, all of them or 4000 draws"


def test_a_feature_counts_the_same_in_whatever_unit_and_a_constant_one_counts_nothing():
    one, other = samples(2, shift=0.5)
    plain = energy_test(one, other, 99, numpy_rng("p"))
    scaled = [np.column_stack([x * [1.0, 1e4, 1e-3], np.full(len(x), 7.0)]) for x in (one, other)]
    assert energy_test(*scaled, 99, numpy_rng("p")) == pytest.approx(plain)


def test_it_rejects_as_often_as_it_says_where_nothing_differs_and_more_where_something_does():
    null = [energy_test(*samples(seed, n=8, m=8), 99, numpy_rng(seed))[1] for seed in range(300)]
    assert 0.02 <= np.mean(np.array(null) <= 0.05) <= 0.09  # standard error 1.3 %
    shifted = [energy_test(*samples(seed, n=8, m=8, shift=1.2), 99, numpy_rng(seed))[1] for seed in range(60)]
    assert np.mean(np.array(shifted) <= 0.05) > 0.8


def test_the_smallest_p_is_one_in_permutations_plus_one():
    one, other = samples(3, n=20, m=20, shift=10)
    assert energy_test(one, other, 299, numpy_rng("p"))[1] == pytest.approx(1 / 300)


def test_kolmogorov_smirnov_is_scipys_and_the_largest_step_by_hand():
    one, other = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 3.5, 10.0, 11.0])
    statistic, p = kolmogorov_smirnov(one, other)
    assert statistic == 0.5
    assert p == pytest.approx(stats.ks_2samp(one, other, method="exact").pvalue)
