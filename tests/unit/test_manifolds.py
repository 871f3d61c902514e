"""Precision, recall, density and coverage: against loops over balls, and on sets whose answer is known."""

import numpy as np
import pytest

from workflow_scripts.evaluation.manifolds import manifold_interval, manifold_scores


def distances(a, b):
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1))


def measured(real, synthetic, neighbours):
    scores = manifold_scores(
        distances(real, real), distances(synthetic, synthetic), distances(real, synthetic), neighbours
    )
    return {name: float(values.mean()) for name, values in scores.items()}


def by_loops(real, synthetic, neighbours):
    def radius(point, others):
        return sorted(np.linalg.norm(point - other) for other in others)[neighbours]

    real_balls = [(point, radius(point, real)) for point in real]
    synthetic_balls = [(point, radius(point, synthetic)) for point in synthetic]
    inside = [[np.linalg.norm(point - centre) < r for centre, r in real_balls] for point in synthetic]
    return {
        "precision": np.mean([any(row) for row in inside]),
        "recall": np.mean([any(np.linalg.norm(p - c) < r for c, r in synthetic_balls) for p in real]),
        "density": np.mean([sum(row) / neighbours for row in inside]),
        "coverage": np.mean([any(row[index] for row in inside) for index in range(len(real))]),
    }


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_scores_are_those_of_balls_one_by_one(neighbours):
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(size=(20, 3)), rng.normal(size=(15, 3)) * 0.7 + 0.4
    assert measured(real, synthetic, neighbours) == pytest.approx(by_loops(real, synthetic, neighbours))


def test_a_set_lies_wholly_within_itself():
    x = np.random.default_rng(1).normal(size=(30, 4))
    assert measured(x, x, 5) == pytest.approx({"precision": 1, "recall": 1, "density": 1, "coverage": 1})


def test_sets_far_apart_share_nothing():
    rng = np.random.default_rng(2)
    real, synthetic = rng.normal(size=(20, 4)), rng.normal(size=(20, 4)) + 100
    assert measured(real, synthetic, 5) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_a_collapsed_generator_is_precise_and_covers_little():
    rng = np.random.default_rng(3)
    real = rng.normal(size=(100, 2))
    collapsed = rng.normal(size=(100, 2)) * 0.02
    found = measured(real, collapsed, 5)
    assert found["precision"] > 0.95
    assert found["recall"] < 0.2 and found["coverage"] < 0.4


def test_intervals_of_shares_and_counts():
    rng = np.random.default_rng(4)
    low, high = manifold_interval("precision", np.ones(5), 100, 0.95, rng)
    assert low == pytest.approx(5 / (5 + 1.959964**2)) and high == 1, "Wilson's closed form for 5 of 5"
    low, high = manifold_interval("density", np.array([0.0, 1.0, 2.0, 1.0]), 500, 0.95, rng)
    assert 0 <= low < 1 < high <= 2
    assert manifold_interval("recall", np.ones(1), 100, 0.95, rng) is None
    assert manifold_interval("density", np.zeros(5), 100, 0.95, rng) is None, "no spread was seen"


@pytest.mark.parametrize("neighbours", [0, 4])
def test_neighbours_that_are_not_there_are_refused(neighbours):
    four = np.zeros((4, 4))
    with pytest.raises(ValueError, match="neighbours among 4 and 4 cases"):
        manifold_scores(four, four, four, neighbours)
