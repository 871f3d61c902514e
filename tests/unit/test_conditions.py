"""Tumour features: their scale, and draws from the joint distribution of the training tumours."""

import numpy as np
import pytest

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.diffusion.conditions import ConditionTable, draw_conditions

NAMES = ("volume_ml", "box_width_mm", "centroid_x_mm", "tumor_core_fraction", "enhancing_tumor_fraction")


def table(count=40, seed=0):
    """Width goes with volume; the centroid goes with nothing; the enhancing part is about half of the core."""
    rng = np.random.default_rng(seed)
    volume = rng.uniform(5, 100, count)
    core = rng.uniform(0.2, 0.9, count)
    columns = [volume, 10 * volume ** (1 / 3), rng.normal(0, 20, count), core, core * rng.uniform(0.3, 0.99, count)]
    return ConditionTable(NAMES, np.stack(columns, axis=1))


def draws(features, count=500, smoothing=0.1, requested=None):
    return np.stack([draw_conditions(features, numpy_rng(0, i), smoothing, requested) for i in range(count)])


def test_normalised_features_have_mean_zero_and_deviation_one():
    features = table()
    normal = features.normalise(features.rows)
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(normal.std(axis=0), 1)


def test_a_feature_that_never_changes_is_zero_not_infinite():
    rows = table().rows
    rows[:, 1] = 30.0
    assert not ConditionTable(NAMES, rows).normalise(rows)[:, 1].any()


def test_the_contract_states_names_scale_and_range():
    features = table()
    block = features.describe()
    assert block["names"] == list(NAMES)
    assert block["min"] == features.rows.min(axis=0).tolist()
    assert block["max"] == features.rows.max(axis=0).tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("count", [1, 2, 6, 40])
def test_draws_stay_inside_what_was_seen_with_fractions_in_order(smoothing, count):
    features = table(count)
    drawn = draws(features, 200, smoothing)
    assert (drawn >= features.rows.min(axis=0)).all()
    assert (drawn <= features.rows.max(axis=0)).all()
    assert (drawn[:, 4] <= drawn[:, 3]).all()


def test_without_smoothing_a_draw_is_a_training_tumour():
    features = table()
    for drawn in draws(features, 50, smoothing=0.0):
        assert np.isclose(features.rows, drawn).all(axis=1).any()


def test_smoothing_moves_a_draw_a_little_away_from_every_training_tumour():
    features = table()
    distance = [
        np.abs(features.normalise(features.rows) - features.normalise(drawn)).max(axis=1).min()
        for drawn in draws(features, 50)
    ]
    assert all(0 < d < 0.6 for d in distance)


def test_draws_keep_the_joint_distribution():
    features = table(200)
    drawn = draws(features, 2000)
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.95
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1]) < 0.15
    np.testing.assert_allclose(drawn.mean(axis=0), features.rows.mean(axis=0), rtol=0.05, atol=1.5)
    np.testing.assert_allclose(drawn.std(axis=0), features.rows.std(axis=0), rtol=0.1)


def test_a_draw_depends_on_its_seed_alone():
    features = table()
    np.testing.assert_array_equal(draws(features, 20), draws(features, 20))
    assert len(np.unique(draws(features, 20), axis=0)) == 20


def test_requested_values_come_out_unchanged_and_the_others_go_along():
    features = table()
    small, large = (draws(features, 100, requested={"volume_ml": volume}) for volume in (10.0, 90.0))
    assert (small[:, 0] == 10.0).all()
    assert (large[:, 0] == 90.0).all()
    assert small[:, 1].mean() == pytest.approx(10 * 10 ** (1 / 3), rel=0.15)
    assert large[:, 1].mean() == pytest.approx(10 * 90 ** (1 / 3), rel=0.15)
    assert np.std(large[:, 2]) > 3  # what has nothing to do with volume stays free


def test_everything_requested_leaves_nothing_to_chance():
    features = table()
    wanted = dict(zip(NAMES, features.rows[3].tolist(), strict=True))
    np.testing.assert_array_equal(draws(features, 5, requested=wanted), np.tile(features.rows[3], (5, 1)))


def test_a_request_far_outside_is_kept_while_the_rest_stays_inside():
    features = table(6)
    drawn = draws(features, 50, requested={"volume_ml": 5000.0})
    assert (drawn[:, 0] == 5000.0).all()
    assert (drawn[:, 1:] <= features.rows.max(axis=0)[1:]).all()
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize(
    ("request_", "column", "value"),
    [({"enhancing_tumor_fraction": 0.8}, 3, 0.8), ({"tumor_core_fraction": 0.2}, 4, 0.2)],
)
def test_a_requested_fraction_stays_and_the_other_gives_way(request_, column, value):
    drawn = draws(table(), 100, requested=request_)
    assert (drawn[:, 4] <= drawn[:, 3]).all()
    assert (drawn[:, 3] >= value).all() if column == 3 else (drawn[:, 4] <= value).all()


def test_one_training_case_is_enough():
    features = table(1)
    np.testing.assert_array_equal(draws(features, 3), np.tile(features.rows, (3, 1)))
    assert draws(features, 3, requested={"volume_ml": 7.0})[0, 0] == 7.0


@pytest.mark.parametrize("rows", [np.zeros((0, 5)), np.zeros((3, 4)), np.full((2, 5), np.nan)])
def test_a_table_that_cannot_be_is_refused(rows):
    with pytest.raises(UserError, match="condition"):
        ConditionTable(NAMES, rows)
