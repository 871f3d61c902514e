"""Spread, bootstrap intervals and tests: known values, coverage on simulated studies, and what pairing buys."""

from itertools import chain, combinations, product

import numpy as np
import pytest
from scipy import stats

from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.evaluation.statistics.bootstrap import (
    best_coverage,
    bootstrap_interval,
    paired_differences,
    patient_means,
    summarise,
)
from workflow_scripts.evaluation.statistics.significance import (
    detectable_difference,
    holm,
    smallest_wilcoxon_p,
    wilcoxon_p,
)


def interval(values, samples=2000, confidence=0.95, rng=None, patients=None):
    """Of values a case, or a case and seed; each case is a patient of its own unless said otherwise."""
    values = np.asarray(values, dtype=float).reshape(len(values), -1)
    patients = np.arange(len(values)) if patients is None else patients
    return bootstrap_interval(values, patients, samples, confidence, rng or numpy_rng(0))


def test_summary_of_a_small_study_by_hand():
    summary = summarise([[0.8, 0.6], [0.5, 0.5], [0.2, 0.4]])  # 3 cases, 2 seeds; case means 0.7, 0.5, 0.3
    assert summary == pytest.approx({"mean": 0.5, "sd_cases": 0.2, "sd_seeds": 0.0})


def test_a_spread_over_one_value_was_not_measured():
    assert summarise([[0.8], [0.6]])["sd_seeds"] is None
    assert summarise([[0.8, 0.6]])["sd_cases"] is None
    with pytest.raises(ValueError, match="finite"):
        summarise([[0.8, np.nan]])


@pytest.mark.parametrize("n_cases", [8, 30])
def test_intervals_cover_the_true_difference_as_often_as_they_say(n_cases):
    simulated = numpy_rng("coverage", n_cases)
    covered = 0
    for study in range(600):
        low, high = interval(simulated.normal(0.02, 0.05, size=n_cases), 1000, rng=numpy_rng(study))
        covered += low <= 0.02 <= high
    # 600 studies: standard error 0.9 %; the plain percentile interval reaches about 89 % at 8 cases
    assert 0.925 <= covered / 600 <= 0.98


def simulated_study(rng, n_patients, time_points, n_seeds):
    """Differences (cases, seeds) around 0.02: patients differ most, then trainings, then single predictions."""
    effect = 0.02 + rng.normal(0, 0.05, size=(n_patients, 1)).repeat(time_points, axis=0)
    return effect + rng.normal(0, 0.01, n_seeds) + rng.normal(0, 0.01, size=(n_patients * time_points, n_seeds))


def test_time_points_of_a_patient_stay_together_and_seeds_are_resampled():
    simulated, patients = numpy_rng("several time points"), np.arange(15).repeat(3)
    covered = {"patients": 0, "cases": 0}
    for study in range(500):
        values = simulated_study(simulated, 15, 3, 3)
        for unit, labels in (("patients", patients), ("cases", None)):
            low, high = interval(values, 600, rng=numpy_rng(study), patients=labels)
            covered[unit] += low <= 0.02 <= high
    assert 0.92 <= covered["patients"] / 500 <= 0.985
    assert covered["cases"] / 500 < 0.8, "45 cases of 15 patients are no 45 patients"


def test_the_spread_over_trainings_widens_the_interval_without_bias():
    # all patients alike: what is left is the mean over seeds, whose variance is that of the seeds over their number
    values = np.tile([0.01, 0.02, 0.06], (10, 1))
    low, high = interval(values, 20000, confidence=0.6)
    assert (low, high) == (pytest.approx(0.015, abs=1e-3), pytest.approx(0.04, abs=1e-3)), "means of two of three seeds"
    assert np.ptp(interval(values[:, :1])) == pytest.approx(0), "one seed is no sample of seeds"


def test_a_patient_weighs_as_many_cases_as_there_are():
    values, patients = np.array([[0.0], [0.0], [0.0], [0.4]]), np.array(["a", "a", "a", "b"])
    low, high = interval(values, 4000, confidence=0.9, patients=patients)
    assert (low, high) == (0.0, 0.4), "with two patients a resample may hold one of them alone"
    assert patient_means(values, patients).tolist() == [0.0, 0.4]


def test_pairing_narrows_the_interval_where_cases_differ_more_than_arms():
    rng = numpy_rng("pairing")
    difficulty = rng.uniform(0.3, 0.95, size=(40, 1))
    baseline = difficulty + rng.normal(0, 0.01, size=(40, 3))
    better = difficulty + 0.02 + rng.normal(0, 0.01, size=(40, 3))
    paired, unpaired = (paired_differences(better, other) for other in (baseline, rng.permutation(baseline, axis=0)))
    (low, high), (low_unpaired, high_unpaired) = interval(paired), interval(unpaired)
    assert paired.mean() == pytest.approx(unpaired.mean())
    assert high - low < 0.15 * (high_unpaired - low_unpaired)
    assert low > 0 > low_unpaired


def test_intervals_depend_on_the_seed_alone_and_hold_the_mean():
    values = numpy_rng("values").normal(size=25)
    again = [interval(values, rng=numpy_rng(7)) for _ in range(2)]
    assert again[0] == again[1] != interval(values, rng=numpy_rng(8))
    assert again[0][0] < values.mean() < again[0][1]


def test_more_confidence_is_a_wider_interval_within_the_data():
    values = numpy_rng("values").normal(size=12)
    (low, high), (wide_low, wide_high) = (interval(values, 4000, confidence) for confidence in (0.8, 0.99))
    assert values.min() <= wide_low < low < high < wide_high <= values.max()


def test_one_patient_has_no_interval_and_few_patients_cannot_reach_their_confidence():
    assert interval([0.1]) is None
    assert interval([0.1, 0.2, 0.3], patients=np.zeros(3)) is None, "three time points of one patient"
    assert best_coverage(3) == pytest.approx(0.75)
    assert best_coverage(5) < 0.95 < best_coverage(6)


def test_unpaired_arrays_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        paired_differences(np.ones((3, 1)), np.ones((4, 1)))


def signed_rank_p(values):
    """Two-sided p by writing out every pattern of signs."""
    values = np.asarray([value for value in values if value])
    ranks = stats.rankdata(np.abs(values))
    sums = np.array([np.dot(signs, ranks) for signs in product((0, 1), repeat=len(values))])
    seen = ranks[values > 0].sum()
    return min(1.0, 2 * min((sums >= seen).mean(), (sums <= seen).mean()))


@pytest.mark.parametrize(
    "values",
    [
        [0.03, 0.01, 0.05, -0.02, 0.04, 0.06, 0.07, -0.015],
        [0.02, 0.02, -0.02, 0.05, 0.01, 0.03],
        [0.1, 0.1 + 1e-17, -0.3 + 0.2, 0.4, 0.5, 0.6],  # ties but for rounding
    ],
)
def test_wilcoxon_is_exact_for_few_patients(values):
    assert wilcoxon_p(np.array(values)) == pytest.approx(signed_rank_p(np.round(values, 12)))


def test_wilcoxon_leaves_zeros_out_and_is_the_normal_approximation_for_many_patients():
    values = numpy_rng("many").normal(0.1, 1, size=120)
    ranks = stats.rankdata(np.abs(values))
    sd = np.sqrt((ranks**2).sum() / 4)
    z = (abs(ranks[values > 0].sum() - ranks.sum() / 2) - 0.5) / sd
    assert wilcoxon_p(values) == pytest.approx(2 * stats.norm.sf(z))
    assert wilcoxon_p(np.zeros(5)) == 1.0
    few = np.array([0.0, 0.0, 0.1, 0.2, 0.3, -0.05])
    assert wilcoxon_p(few) == pytest.approx(signed_rank_p(few))
    assert wilcoxon_p(np.array([0.1])) is None


@pytest.mark.parametrize("n", [2, 3, 5, 6, 10])
def test_no_gain_however_large_gives_less_than_the_smallest_p(n):
    assert wilcoxon_p(np.arange(1, n + 1) * 10.0) == pytest.approx(smallest_wilcoxon_p(n))
    assert (smallest_wilcoxon_p(n) < 0.05) == (n >= 6)


def closed_testing(p_values):
    """Holm by its definition: the largest Bonferroni p over all intersections that hold the hypothesis."""
    indices = range(len(p_values))
    subsets = list(chain.from_iterable(combinations(indices, size) for size in range(1, len(p_values) + 1)))
    bonferroni = {subset: min(1.0, len(subset) * min(p_values[i] for i in subset)) for subset in subsets}
    return [max(value for subset, value in bonferroni.items() if index in subset) for index in indices]


def test_holm_is_the_closed_test_of_bonferroni():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.04]) == [0.04] and holm([]) == []
    rng = numpy_rng("p values")
    for size in (2, 5, 8):
        p_values = rng.uniform(0, 0.3, size=size).tolist()
        assert holm(p_values) == pytest.approx(closed_testing(p_values))


def with_sd_one(n):
    values = numpy_rng("any", n).normal(size=n)
    return (values - values.mean()) / values.std(ddof=1)


def test_detectable_difference_is_that_of_the_textbooks():
    # a standardised difference of 0.5 needs 34 pairs for 80 % power at 0.05, two-sided; 0.8 needs 15
    assert detectable_difference(with_sd_one(34), 0.05, 0.8) < 0.5 < detectable_difference(with_sd_one(33), 0.05, 0.8)
    assert detectable_difference(with_sd_one(15), 0.05, 0.8) < 0.8 < detectable_difference(with_sd_one(14), 0.05, 0.8)
    many = detectable_difference(0.1 * with_sd_one(4000), 0.05, 0.8)
    assert many == pytest.approx(0.1 * (1.95996 + 0.84162) / np.sqrt(4000), rel=1e-3)


@pytest.mark.parametrize("n", [3, 10])
def test_a_difference_of_that_size_is_found_as_often_as_the_power_says(n):
    size = detectable_difference(with_sd_one(n), 0.05, 0.8)
    studies = numpy_rng("power", n).normal(size, 1.0, size=(4000, n))
    assert (stats.ttest_1samp(studies, 0.0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.02)
    assert detectable_difference(np.array([0.1]), 0.05, 0.8) is None
    assert detectable_difference(np.array([0.0, 0.4]), 0.05, 0.8) > 1, "two patients can show next to nothing"
