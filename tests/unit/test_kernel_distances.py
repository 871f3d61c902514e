"""KID and MMD against sums written out, and their intervals over cases."""

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from workflow_scripts.evaluation.kernel_distances import (
    case_weights,
    gaussian_kernel,
    interval_of,
    median_distance,
    pair_mean,
    polynomial_kernel,
    squared_distances,
    squared_mmd,
)


def kernel_matrix(x, y, kernel):
    both = np.concatenate([x, y])
    return np.array([[kernel(a, b) for b in both] for a in both])


def written_out(x, y, kernel):
    """The unbiased estimate as Gretton et al. print it, by loops."""
    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(kernel(x[i], y[j]) for i in range(n) for j in range(m)) / (n * m)
    return within_x + within_y - 2 * across


def measure(kernel, n, samples=200, seed=0):
    return squared_mmd(kernel, n, samples, 0.95, np.random.default_rng(seed))


def test_kid_is_the_sum_over_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5)), rng.normal(size=(9, 5)) + 0.5
    expected = written_out(x, y, lambda a, b: (a @ b / 5 + 1) ** 3)
    both = np.concatenate([x, y])
    assert measure(polynomial_kernel(both @ both.T, 5), 7).value == pytest.approx(expected)


def test_it_is_the_kid_of_torchmetrics_and_of_torch_fidelity():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 16)) * np.arange(1, 2.6, 0.1), rng.normal(size=(240, 16))[:200] + 0.4
    both = np.concatenate([x, y])
    found = measure(polynomial_kernel(both @ both.T, 16), 200, samples=2).value
    assert found == pytest.approx(float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y))), rel=1e-9)
    assert found == pytest.approx(2.3022260872672997, rel=1e-9)  # torch-fidelity 0.4.0 on the same features


def test_mmd_is_the_sum_over_pairs():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(8, 4)) * 2
    expected = written_out(x, y, lambda a, b: np.exp(-((a - b) ** 2).sum() / (2 * 1.7**2)))
    both = np.concatenate([x, y])
    kernel = gaussian_kernel(squared_distances(both @ both.T), 1.7)
    assert measure(kernel, 6).value == pytest.approx(expected)


def test_distances_come_back_from_inner_products():
    x = np.random.default_rng(2).normal(size=(10, 300)) + 5
    expected = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(squared_distances(x @ x.T), expected, rtol=1e-9, atol=1e-8)
    upper = np.sqrt(expected[np.triu_indices(10, 1)])
    assert median_distance(expected) == pytest.approx(np.median(upper))


def test_equal_distributions_have_distance_zero_on_average_and_shifted_ones_do_not():
    """Unbiased: over many draws the mean is 0 within its own error, where a biased estimate would lie far above."""
    values = []
    for seed in range(200):
        both = np.random.default_rng(seed).normal(size=(24, 6))
        values.append(measure(polynomial_kernel(both @ both.T, 6), 12, samples=1).value)
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3.5 * error
    assert min(values) < 0, "an unbiased estimate may be negative"
    both[12:] += 2.0
    assert measure(polynomial_kernel(both @ both.T, 6), 12).interval[0] > 10 * error


def test_the_interval_narrows_with_more_cases_and_holds_the_value():
    rng = np.random.default_rng(3)
    widths = []
    for n in (20, 400):
        both = np.concatenate([rng.normal(size=(n, 4)), rng.normal(size=(n, 4)) + 1])
        found = measure(polynomial_kernel(both @ both.T, 4), n, samples=500)
        low, high = found.interval
        assert low < found.value < high
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_a_case_that_is_drawn_twice_makes_no_pair_with_itself():
    """Two tight, distant pairs: with pairs of a case with itself every replicate would be pulled up."""
    kernel = np.eye(8) * 1000.0
    found = measure(kernel, 4, samples=300)
    assert found.value == 0
    assert found.interval == (0, 0)


def test_too_few_cases_have_no_distance_or_no_interval():
    assert measure(np.ones((3, 3)), 1) is None
    assert measure(np.ones((4, 4)), 2).interval is None
    assert interval_of(np.array([np.nan, np.nan]), 10, 0.95) is None


def test_the_mean_over_pairs_is_resampled_by_case():
    pairs = np.array([[0, 1], [1, 2], [0, 2], [2, 3], [1, 3]])
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    found = pair_mean(values, pairs, 4, 400, 0.9, np.random.default_rng(0))
    assert found.value == pytest.approx(0.3)
    low, high = found.interval
    assert 0.1 <= low < 0.3 < high <= 0.5
    weights = case_weights(4, 400, np.random.default_rng(0))
    assert (weights.sum(axis=1) == 4).all()
    one = weights[7]
    by_hand = sum(one[i] * one[j] * v for (i, j), v in zip(pairs, values, strict=True))
    total = sum(one[i] * one[j] for i, j in pairs)
    assert low <= by_hand / total <= high or total == 0
    with pytest.raises(ValueError, match="no pair"):
        pair_mean(np.array([]), np.zeros((0, 2), int), 4, 10, 0.9, np.random.default_rng(0))
