"""The quality gate: a sound case passes, each fault is refused for its own reason."""

import numpy as np
import pytest
from brats import CONDITIONS, REGIONS

from workflow_scripts.cohort.tumours import measure
from workflow_scripts.diffusion.conditions import ConditionTable, Seen
from workflow_scripts.diffusion.gate import foreground_mask, judge
from workflow_scripts.study.settings.synthesis import Gate

SPACING = (4.0, 4.0, 4.0)
SIZE = (24, 28, 26)


def ball(centre, radius):
    """Boolean (D, H, W); centre and radius in voxels."""
    grid = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"))
    return ((grid - np.array(centre)[:, None, None, None]) ** 2).sum(axis=0) <= radius**2


BRAIN = ball((12, 14, 13), 9)
BRAIN_ML = [BRAIN.sum() * 0.064] * 2
SEEN = Seen(BRAIN_ML, 1.0)


def tumour(centre=(12, 14, 10), radius=3.5):
    levels = np.zeros(SIZE, np.uint8)
    for level, share in ((1, 1.0), (2, 0.7), (3, 0.5)):
        levels[ball(centre, radius * share)] = level
    return levels


def table():
    rows = [
        list(measure(tumour((12, 14, x), radius), SPACING, REGIONS).values())
        for x, radius in ((8, 3), (16, 3), (12, 4), (13, 3.5))
    ]
    return ConditionTable(CONDITIONS, np.array(rows))


def reasons(levels, brain=BRAIN, seen=SEEN, **gate):
    return judge(levels, brain, SPACING, table(), seen, Gate(**gate), REGIONS).reasons


def test_a_tumour_like_those_of_training_passes_and_is_measured():
    verdict = judge(tumour(), BRAIN, SPACING, table(), SEEN, Gate.read({"feature_tolerance": 1.0}), REGIONS)
    assert verdict.reasons == ()
    assert verdict.measured == measure(tumour(), SPACING, REGIONS)
    assert verdict.foreground_volume_ml == pytest.approx(BRAIN_ML[0])


def test_an_empty_tumour_is_refused():
    verdict = judge(np.zeros(SIZE, np.uint8), BRAIN, SPACING, table(), SEEN, Gate(), REGIONS)
    assert verdict.reasons == ("the tumour is empty",)
    assert verdict.measured is None


def test_a_tumour_that_leaves_the_brain_is_refused():
    (reason, *_) = reasons(tumour((12, 14, 4)))
    assert "of the tumour lies outside the foreground; max_outside_foreground_fraction allows 5.0%" in reason
    assert not any(
        "outside the foreground" in reason for reason in reasons(tumour((12, 14, 4)), max_outside_foreground_fraction=1)
    )


def test_a_tumour_all_outside_is_refused_without_a_measurement():
    verdict = judge(tumour((3, 3, 3), 2), BRAIN, SPACING, table(), SEEN, Gate(), REGIONS)
    assert "100.0% of the tumour lies outside" in verdict.reasons[1]
    assert verdict.measured is None


def test_no_limit_lets_a_tumour_pass_of_which_nothing_is_left_inside_the_brain():
    gate = Gate.read(
        {"max_outside_foreground_fraction": 1.0, "foreground_volume_tolerance": 1000.0, "feature_tolerance": 1000.0}
    )
    verdict = judge(tumour((2, 2, 2), 1.5), BRAIN, SPACING, table(), SEEN, gate, REGIONS)
    assert verdict.measured is None
    assert verdict.reasons == ("no part of the tumour lies inside the foreground",)


def test_fragments_are_refused():
    levels = np.maximum(tumour((12, 14, 8), 2.5), tumour((12, 14, 17), 2.5))
    assert any("the tumour is in 2 pieces, the largest with 50.0% of it" in reason for reason in reasons(levels))
    assert not any("pieces" in reason for reason in reasons(levels, min_largest_component_fraction=0.4))


def test_as_many_pieces_as_in_training_pass_and_no_more():
    levels = np.maximum(tumour((12, 14, 8), 2.5), tumour((12, 14, 17), 2.5))
    for seen, passes in ((0.52, True), (0.56, False), (1.0, False)):
        found = reasons(levels, seen=Seen(BRAIN_ML, seen))
        assert passes != any("pieces" in reason for reason in found)
    assert any(
        "training tumours have 56.0% or more, and 5% less passes" in reason
        for reason in reasons(levels, seen=Seen(BRAIN_ML, 0.56))
    )
    assert not any("pieces" in reason for reason in reasons(tumour(), seen=Seen(BRAIN_ML, 0.3)))


def test_a_speck_is_refused():
    assert any("min_volume_ml asks for 0.5" in reason for reason in reasons(tumour(radius=1.0)))
    assert not any("min_volume_ml" in reason for reason in reasons(tumour(radius=1.0), min_volume_ml=0.01))


def test_features_out_of_the_training_range_are_refused_up_to_the_tolerance():
    large = tumour((12, 14, 13), 4.6)
    assert any(reason.startswith("volume_ml is") and "training tumours have" in reason for reason in reasons(large))
    assert not any(reason.startswith("volume_ml") for reason in reasons(large, feature_tolerance=2.0))


def test_a_brain_of_another_size_is_refused():
    assert any("the foreground has" in reason for reason in reasons(tumour(), seen=Seen([1000.0, 1500.0], 1.0)))
    assert not any("the foreground has" in reason for reason in reasons(tumour(), seen=Seen([150.0, 250.0], 1.0)))


def test_a_brainless_image_is_refused():
    nothing = np.zeros(SIZE, bool)
    assert any("the foreground has 0 ml" in reason for reason in reasons(tumour(), brain=nothing))


def test_the_brain_is_the_largest_bright_piece_with_its_holes():
    image = np.full((2, *SIZE), -0.99, np.float32)
    image[:, BRAIN] = 0.2
    image[:, ball((12, 14, 13), 3)] = -1  # dark ventricles
    image[:, 0, 0, 0] = 0.5  # a speck
    image[0, 23, 27, 25] = -0.85  # noise in one modality alone
    np.testing.assert_array_equal(foreground_mask(image), BRAIN)


def test_ventricles_that_open_to_the_outside_are_filled_slice_by_slice():
    image = np.full((1, *SIZE), -1, np.float32)
    image[:, BRAIN] = 0.2
    image[:, :, 14, 13] = -1  # a canal through all slices
    np.testing.assert_array_equal(foreground_mask(image)[4:20], BRAIN[4:20])


def test_an_empty_image_has_no_brain():
    assert not foreground_mask(np.full((4, *SIZE), -1, np.float32)).any()
