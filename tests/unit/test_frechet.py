"""The Fréchet distance against closed forms, and its streamed statistics against the textbook ones."""

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from workflow_scripts.base.errors import UserError
from workflow_scripts.evaluation.frechet import GaussianStatistics, frechet_distance


def gaussian(samples):
    return GaussianStatistics(samples.shape[1]).update(samples)


def exactly(mean, covariance):
    """Statistics of 2F + ... samples whose sample mean and covariance are exactly the given ones."""
    dimension = len(mean)
    root = np.linalg.cholesky(covariance)
    points = np.concatenate([root.T, -root.T]) * np.sqrt((2 * dimension - 1) / 2)
    return gaussian(points + mean)


def test_distance_of_gaussians_along_common_axes_is_the_textbook_sum():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    shift = np.array([0.5, -1.0, 2.0])
    expected = shift @ shift + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(exactly(np.zeros(3), np.diag(a)), exactly(shift, np.diag(b))) == pytest.approx(expected)


def test_distance_of_two_dimensional_gaussians_is_the_closed_form():
    # tr sqrt(M) of a 2 x 2 matrix with positive eigenvalues is sqrt(tr M + 2 sqrt(det M))
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    product = a @ b
    trace_of_root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(a) + np.trace(b) - 2 * trace_of_root
    assert frechet_distance(exactly(np.zeros(2), a), exactly(np.zeros(2), b)) == pytest.approx(expected, rel=1e-9)


def test_it_is_the_fid_of_torchmetrics_and_of_torch_fidelity():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 16)) * np.arange(1, 2.6, 0.1), rng.normal(size=(240, 16)) + 0.4
    theirs = FrechetInceptionDistance(feature=torch.nn.Flatten(), input_img_size=(16, 1, 1)).set_dtype(torch.float64)
    for samples, real in ((x, True), (y, False)):
        theirs.update(torch.from_numpy(samples)[:, :, None, None], real=real)
    found = frechet_distance(gaussian(x), gaussian(y))
    assert found == pytest.approx(float(theirs.compute()), rel=1e-9)
    assert found == pytest.approx(17.994333477500874, rel=1e-9)  # torch-fidelity 0.4.0 on the same features


def test_distance_does_not_change_under_rotation_shift_and_exchange():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)) * [1, 2, 3, 1, 0.2], rng.normal(size=(70, 5)) + 0.5
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    plain = frechet_distance(gaussian(x), gaussian(y))
    assert frechet_distance(gaussian(x @ rotation + 3), gaussian(y @ rotation + 3)) == pytest.approx(plain)
    assert frechet_distance(gaussian(y), gaussian(x)) == pytest.approx(plain)
    assert frechet_distance(gaussian(2 * x), gaussian(2 * y)) == pytest.approx(4 * plain)


@pytest.mark.parametrize("count", [20, 200])  # below and above the number of features: singular and full covariance
def test_a_set_has_distance_zero_to_itself(count):
    x = np.random.default_rng(1).normal(size=(count, 50)) * np.logspace(-3, 3, 50)
    scale = np.trace(gaussian(x).covariance())
    assert frechet_distance(gaussian(x), gaussian(x)) <= 1e-9 * scale


def test_singular_covariances_give_the_same_as_their_own_subspace():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) * 2 + 1
    embedding, _ = np.linalg.qr(rng.normal(size=(30, 3)))
    small = frechet_distance(gaussian(x), gaussian(y))
    assert frechet_distance(gaussian(x @ embedding.T), gaussian(y @ embedding.T)) == pytest.approx(small)


def test_streaming_and_merging_equal_the_batch():
    x = np.random.default_rng(3).normal(size=(1000, 8)) * 5 + 1e4  # far from zero: naive sums of squares lose digits
    streamed, first, second = (GaussianStatistics(8) for _ in range(3))
    for start in range(0, 1000, 7):
        streamed.update(x[start : start + 7].astype(np.float64))
    merged = first.update(x[:300]).merge(second.update(x[300:])).merge(GaussianStatistics(8))
    for statistics in (streamed, merged, gaussian(x)):
        assert statistics.count == 1000
        np.testing.assert_allclose(statistics.mean, x.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(statistics.covariance(), np.cov(x.T), rtol=1e-9, atol=1e-9)


def test_memory_does_not_grow_with_the_number_of_samples():
    statistics = GaussianStatistics(16)
    before = statistics.mean.nbytes + statistics.scatter.nbytes
    for step in range(50):
        statistics.update(np.random.default_rng(step).normal(size=(100, 16)))
    assert statistics.mean.nbytes + statistics.scatter.nbytes == before


def test_samples_of_one_distribution_lie_nearer_than_shifted_ones():
    rng = np.random.default_rng(4)
    reference, again = rng.normal(size=(400, 20)), rng.normal(size=(400, 20))
    shifted, widened = rng.normal(size=(400, 20)) + 0.5, rng.normal(size=(400, 20)) * 1.6
    floor = frechet_distance(gaussian(again), gaussian(reference))
    assert floor < 0.3 * frechet_distance(gaussian(shifted), gaussian(reference))
    assert floor < 0.3 * frechet_distance(gaussian(widened), gaussian(reference))


def test_few_samples_bias_the_floor_upward():
    rng = np.random.default_rng(5)
    floors = [
        frechet_distance(gaussian(rng.normal(size=(n, 30))), gaussian(rng.normal(size=(n, 30)))) for n in (20, 80, 320)
    ]
    assert floors[0] > floors[1] > floors[2]


def test_what_cannot_be_measured_is_refused_in_words():
    one = GaussianStatistics(3).update(np.ones((1, 3)))
    with pytest.raises(UserError, match="at least 2 slices, there are 1"):
        frechet_distance(one, one)
    with pytest.raises(UserError, match="NaN or infinity"):
        GaussianStatistics(2).update(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match=r"\(n, 3\) expected"):
        GaussianStatistics(3).update(np.ones((4, 2)))
