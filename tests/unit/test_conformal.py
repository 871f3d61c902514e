"""Thresholds from a few real scores keep their promise, and shares come with the exact interval."""

import numpy as np
import pytest
from scipy.stats import beta

from workflow_scripts.evaluation.statistics.bootstrap import share_interval
from workflow_scripts.memorisation.conformal import conformal_threshold


@pytest.mark.parametrize(
    ("n", "rate", "rank", "promised"),
    [
        (8, 0.05, 1, 1 / 9),
        (19, 0.05, 1, 0.05),
        (20, 0.05, 1, 1 / 21),
        (39, 0.05, 2, 0.05),
        (120, 0.05, 6, 6 / 121),
        (1, 0.9, 1, 0.5),
    ],
)
def test_the_threshold_is_the_score_of_that_rank_and_says_what_it_can_promise(n, rate, rank, promised):
    scores = np.random.default_rng(n).normal(size=n)
    found = conformal_threshold(scores, rate)
    assert found.value == np.sort(scores)[-rank]
    assert found.n == n
    assert found.false_positive_rate == pytest.approx(promised)


@pytest.mark.parametrize("n", [8, 50])
def test_a_further_case_exceeds_it_as_rarely_as_promised(n):
    rng = np.random.default_rng(0)
    draws = rng.gumbel(size=(20000, n + 1))
    promised = conformal_threshold(draws[0, :n], 0.1).false_positive_rate
    above = np.mean([row[n] > conformal_threshold(row[:n], 0.1).value for row in draws])
    assert promised <= max(0.1, 1 / (n + 1))
    assert above == pytest.approx(promised, abs=0.01)


def test_no_score_no_threshold():
    with pytest.raises(ValueError, match="at least one score"):
        conformal_threshold([], 0.05)


@pytest.mark.parametrize(("count", "total"), [(0, 12), (3, 24), (24, 24)])
def test_the_interval_is_that_of_clopper_and_pearson(count, total):
    low, high = share_interval(count, total, 0.95)
    assert low == pytest.approx(beta.ppf(0.025, count, total - count + 1) if count else 0.0, abs=1e-6)
    assert high == pytest.approx(beta.ppf(0.975, count + 1, total - count) if count < total else 1.0, abs=1e-6)
