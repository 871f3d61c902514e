"""Lesion-wise scores: closed forms on hand-made lesions, a second implementation, and the challenge's own package."""

from itertools import product

import cc3d
import nibabel
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, generate_binary_structure

from workflow_scripts.evaluation.case_scores import case_scores
from workflow_scripts.evaluation.lesions import lesion_scores
from workflow_scripts.evaluation.segmentation_scores import mask_scores
from workflow_scripts.study.voxels import Lesions

MM = (1.0, 1.0, 1.0)
SHAPE = (60, 60, 60)
FAR = (40, 40, 40)  # beyond any dilation of a lesion at the other end


def cubes(*corners_and_edges):
    """A mask with cubes, each given by its first corner and its edge (a number, or three)."""
    mask = np.zeros(SHAPE, dtype=bool)
    for corner, edge in corners_and_edges:
        edges = (edge, edge, edge) if np.isscalar(edge) else edge
        mask[tuple(slice(low, low + size) for low, size in zip(corner, edges, strict=True))] = True
    return mask


def scores(truth, guess, spacing_mm=MM, **settings):
    return lesion_scores(truth, guess, spacing_mm, Lesions(**settings))


def test_a_missed_lesion_counts_with_dice_0_and_the_penalty():
    found = scores(cubes(((5, 5, 5), 6), (FAR, 6)), cubes(((5, 5, 5), 6)))
    assert found["lesion_dice"] == pytest.approx(0.5)
    assert found["lesion_hd95_mm"] == pytest.approx(374 / 2)
    assert (found["lesions"], found["lesions_missed"], found["lesions_false"]) == (2, 1, 0)


def test_a_false_lesion_counts_with_dice_0_and_the_penalty_however_small():
    found = scores(cubes(((5, 5, 5), 6)), cubes(((5, 5, 5), 6), (FAR, 1)))
    assert found["lesion_dice"] == pytest.approx(0.5)
    assert found["lesion_hd95_mm"] == pytest.approx(374 / 2)
    assert (found["lesions"], found["lesions_missed"], found["lesions_false"]) == (1, 0, 1)


def test_a_large_lesion_hides_no_small_one():
    truth, guess = cubes(((5, 5, 5), 20), (FAR, 4)), cubes(((5, 5, 5), 20))
    assert mask_scores(truth, guess, MM)[0] > 0.99
    assert scores(truth, guess)["lesion_dice"] == pytest.approx(0.5)


@pytest.mark.parametrize(("gap", "lesions"), [(6, 1), (7, 2)])
def test_parts_that_a_dilation_of_three_voxels_joins_are_one_lesion(gap, lesions):
    truth = cubes(((5, 5, 5), 6), ((11 + gap, 5, 5), 6))
    assert scores(truth, truth)["lesions"] == lesions
    assert scores(truth, truth, dilation_voxels=0)["lesions"] == 2
    half = scores(truth, cubes(((5, 5, 5), 6)))
    # one lesion, half of it found: 2 * 216 / (432 + 216); or two, one of them found
    assert half["lesion_dice"] == pytest.approx(2 / 3 if lesions == 1 else 0.5)


def test_parts_that_touch_at_a_corner_are_connected():
    truth = cubes(((5, 5, 5), 6), ((11, 11, 11), 6))
    assert scores(truth, truth, dilation_voxels=0)["lesions"] == 1
    assert scores(cubes(((5, 5, 5), 6)), cubes(((40, 5, 5), 3), ((43, 8, 8), 3)))["lesions_false"] == 1


def test_the_dilation_reaches_edges_and_no_corners_at_once():
    # three steps along faces and edges: (3, 3, 0) is reached, (3, 3, 3) takes five
    truth = cubes(((20, 20, 20), 6))
    near, diagonal = cubes(((28, 28, 20), 6)), cubes(((28, 28, 28), 6))
    assert scores(truth, near)["lesions_missed"] == 0
    assert scores(truth, diagonal)["lesions_missed"] == 1


def test_a_prediction_beside_its_lesion_is_matched_and_measured():
    truth, guess = cubes(((5, 5, 5), 6)), cubes(((13, 5, 5), 6))  # two voxels between them
    found = scores(truth, guess, spacing_mm=(1.0, 2.0, 1.0))
    assert found["lesion_dice"] == 0
    assert found["lesion_hd95_mm"] == pytest.approx(mask_scores(truth, guess, (1.0, 2.0, 1.0))[1])
    assert (found["lesions_missed"], found["lesions_false"]) == (0, 0)


def test_one_part_over_two_lesions_is_matched_with_both():
    truth = cubes(((5, 5, 5), 6), ((25, 5, 5), 6))
    found = scores(truth, cubes(((5, 5, 5), (26, 6, 6))))
    assert found["lesion_dice"] == pytest.approx(2 * 216 / (216 + 26 * 36))
    assert (found["lesions"], found["lesions_missed"], found["lesions_false"]) == (2, 0, 0)


def test_all_parts_near_a_lesion_are_taken_together():
    truth = cubes(((5, 5, 5), (20, 6, 6)))
    found = scores(truth, cubes(((5, 5, 5), (8, 6, 6)), ((17, 5, 5), (8, 6, 6))))
    assert found["lesion_dice"] == pytest.approx(2 * 16 / (20 + 16))


@pytest.mark.parametrize(
    ("edges", "spacing_mm", "counted"),
    [((5, 5, 2), MM, False), ((17, 3, 1), MM, True), ((3, 2, 1), (2, 2, 2), False), ((7, 1, 1), (2, 2, 2), True)],
)
def test_lesions_of_50_mm3_or_less_are_left_out_hit_or_missed(edges, spacing_mm, counted):
    tiny = cubes(((5, 5, 5), edges))
    missed, hit = scores(tiny, np.zeros(SHAPE), spacing_mm), scores(tiny, tiny, spacing_mm)
    assert missed["lesions"] == hit["lesions"] == counted
    assert missed["lesion_dice"] == (0 if counted else 1)
    assert hit["lesion_dice"] == 1 and hit["lesions_false"] == 0, "a part on it is not false either"


def test_small_lesions_are_those_between_the_two_limits():
    truth = cubes(((5, 5, 5), 3), ((5, 40, 5), 6), ((40, 5, 5), 6), (FAR, 12))  # 27, 216, 216 and 1728 mm3
    found = scores(truth, cubes(((5, 5, 5), 3), ((5, 40, 5), 6)))
    assert (found["lesions"], found["small_lesions"], found["small_lesions_hit"]) == (3, 2, 1)
    assert scores(truth, truth, small_volume_ml=0.2)["small_lesions"] == 0


def test_empty_masks_follow_the_convention_of_the_challenge():
    nothing, some = np.zeros(SHAPE, bool), cubes(((5, 5, 5), 6))
    assert [scores(nothing, nothing)[key] for key in ("lesion_dice", "lesion_hd95_mm")] == [1, 0]
    assert [scores(nothing, some)[key] for key in ("lesion_dice", "lesion_hd95_mm")] == [0, 374]
    assert [scores(some, nothing)[key] for key in ("lesion_dice", "lesion_hd95_mm")] == [0, 374]


def test_each_region_has_its_own_lesions():
    truth, guess = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    truth[5:30, 5:20, 5:20] = guess[5:30, 5:20, 5:20] = 1
    truth[6:10, 6:10, 6:10], truth[24:28, 6:10, 6:10] = 3, 3  # two enhancing parts in one whole tumour
    guess[6:10, 6:10, 6:10] = 3
    rows = {
        row["region"]: row for row in case_scores(truth, guess, MM, ["whole_tumor", "tumor_core", "enhancing_tumor"])
    }
    assert [rows[name]["lesions"] for name in rows] == [1, 2, 2]
    assert [rows[name]["lesion_dice"] for name in rows] == pytest.approx([1.0, 0.5, 0.5])


def connected(voxels, steps):
    """Connected parts of a set of voxels, by flooding."""
    left, parts = set(voxels), []
    while left:
        front = [left.pop()]
        parts.append(set(front))
        while front:
            here = front.pop()
            near = {tuple(np.add(here, step)) for step in steps} & left
            left -= near
            front += near
            parts[-1] |= near
    return parts


def by_hand(truth, guess, dilation, min_voxels):
    """Lesion Dice, lesions, missed, false; with sets of voxels in place of arrays."""
    steps = [step for step in product((-1, 0, 1), repeat=3) if any(step)]
    edges = [step for step in steps if np.abs(step).sum() <= 2]
    inside = set(np.ndindex(truth.shape))
    lesion_voxels, extent = set(map(tuple, np.argwhere(truth).tolist())), set(map(tuple, np.argwhere(truth).tolist()))
    for _ in range(dilation):
        extent |= {tuple(map(int, np.add(voxel, step))) for voxel in extent for step in edges} & inside
    parts = connected(map(tuple, np.argwhere(guess).tolist()), steps)
    dice, missed, matched = [], 0, set()
    for reach in connected(extent, steps):
        lesion = lesion_voxels & reach
        own = [index for index, part in enumerate(parts) if part & reach]
        matched |= set(own)
        if len(lesion) <= min_voxels:
            continue
        found = set().union(*(parts[index] for index in own))
        dice.append(2 * len(lesion & found) / (len(lesion) + len(found)))
        missed += not own
    false = len(parts) - len(matched)
    return (sum(dice) / (len(dice) + false) if dice or false else 1.0), len(dice), missed, false


def blobs(rng, count, shape=(22, 20, 24)):
    """A mask of `count` balls of random place and size."""
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"))
    mask = np.zeros(shape, dtype=bool)
    for _ in range(count):
        centre = rng.uniform(0, shape)[:, None, None, None]
        mask |= ((grid - centre) ** 2).sum(axis=0) < rng.uniform(0.5, 3.2) ** 2
    return mask


@pytest.mark.parametrize("dilation", [1, 2])
def test_scores_agree_with_a_second_implementation_on_random_lesions(dilation):
    rng = np.random.default_rng(dilation)
    seen = np.zeros(3, dtype=int)
    for _ in range(8):
        truth, guess = blobs(rng, 5), blobs(rng, 2)
        guess |= np.roll(truth, 1, axis=0) & (rng.random() < 0.5)
        found = scores(truth, guess, dilation_voxels=dilation, min_volume_mm3=12.0)
        counts = tuple(found[key] for key in ("lesions", "lesions_missed", "lesions_false"))
        assert (pytest.approx(found["lesion_dice"]), *counts) == by_hand(truth, guess, dilation, 12)
        seen += counts
    assert (seen > 0).all(), "the cases have lesions, missed ones and false ones"


def step_by_step(truth, guess):
    """Lesion Dice, lesions, missed, false: the published steps on the whole grid, with another library's labels."""
    near = generate_binary_structure(3, 2)
    parts = cc3d.connected_components(guess, connectivity=26)
    reached = cc3d.connected_components(binary_dilation(truth, near, iterations=3), connectivity=26)
    dice, missed, matched = [], 0, set()
    for index in range(1, reached.max() + 1):
        lesion = truth & (reached == index)
        own = set(np.unique(parts[binary_dilation(lesion, near, iterations=3)]).tolist()) - {0}
        matched |= own
        if lesion.sum() > 50:
            found = np.isin(parts, list(own))
            dice.append(2 * (lesion & found).sum() / (lesion.sum() + found.sum()))
            missed += not own
    false = parts.max() - len(matched)
    return (sum(dice) / (len(dice) + false) if dice or false else 1.0), len(dice), missed, false


@pytest.mark.parametrize("number", ["00006", "01480"])
def test_real_masks_agree_with_the_published_steps(real_cases, number):
    labels = np.asarray(nibabel.load(next(real_cases.glob(f"brats2021/*{number}/*seg.nii.gz"))).dataobj)
    rng = np.random.default_rng(0)
    for truth in (labels > 0, np.isin(labels, [1, 4]), labels == 2):  # oedema alone: many parts
        guess = np.roll(truth, 2, axis=1) & (rng.random(truth.shape) < 0.97)
        guess[:, : truth.shape[1] // 2] = False
        guess[100:104, 20:24, 60:64] = True
        found = scores(truth, guess)
        counts = tuple(found[key] for key in ("lesions", "lesions_missed", "lesions_false"))
        assert (pytest.approx(found["lesion_dice"], abs=1e-6), *counts) == step_by_step(truth, guess)
