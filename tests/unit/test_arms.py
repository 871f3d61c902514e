"""The arms of a study: their folders and back, their names, and which make no sense."""

from __future__ import annotations

import re

import pytest

from workflow_scripts.base.errors import UserError
from workflow_scripts.study.arm_labels import LABELS, label_of
from workflow_scripts.study.arms import (
    ARM_PATTERN,
    KINDS,
    MIXING,
    Arm,
    arms_of_study,
    blocks_for,
    others_of,
    synthetic_count,
)
from workflow_scripts.study.segmenters import SEGMENTERS

CONTROLS = {"switch_augmentation": True, "oversampled_ratios": [1, 2]}
SEGMENTATION = {"ratios": [0, 0.5, 2], "synthetic_only_ratios": [1], "controls": CONTROLS, "seeds": [0, 3]}
SEGMENTATION |= {"mixing": list(MIXING), "ladder": {"ratio": None, "reconstructions": True}, "learning_curve": [6, 20]}


@pytest.mark.parametrize(
    ("augmentation", "switched"), [(True, "real_no_augmentation"), (False, "real_with_augmentation")]
)
def test_every_arm_has_a_folder_that_names_it(augmentation, switched):
    block = SEGMENTATION | {"augmentation": augmentation, "segmenters": list(SEGMENTERS)}
    arms = arms_of_study(block, ["gan", "real"], [4, 20], ["vae"])
    mixes = ["real", switched, "real_oversampled~1", "real_oversampled~2"]
    for system in ("gan", "real"):
        ways = [f"{system}/ratio~{ratio}{way}" for way in ("", "_real_share", "_synthetic_first") for ratio in (0.5, 2)]
        mixes += [*ways, f"{system}/synthetic_only~1"]
    ladder = ["ceiling~0.5", "vae/reconstructions~0.5"]  # of 20 patients there are no 10 others
    assert [arm.folder for arm in arms] == [
        f"n_real~{n_real}/segmentation/{segmenter}/{mix}/seed~{seed}"
        for n_real, folders in ((4, mixes + ladder), (6, ["real"]), (20, mixes))
        for segmenter in SEGMENTERS
        for mix in folders
        for seed in (0, 3)
    ]
    assert [Arm.of_folder(f"results/a/{arm.folder}") for arm in arms] == arms
    assert all(re.fullmatch(ARM_PATTERN, arm.mix) for arm in arms)
    assert {arm.kind for arm in arms} | {"no_augmentation", "with_augmentation"} == set(KINDS) == set(LABELS)
    assert len({arm.folder for arm in arms}) == len(arms)


@pytest.mark.parametrize(
    ("block", "n_real", "others"),
    [
        ({}, [3, 6, 12, 24], {3: 3, 6: 6, 12: 12}),
        ({"learning_curve": [40]}, [3, 6, 12, 24], {3: 3, 6: 6, 12: 12}),
        ({"learning_curve": [48]}, [24], {24: 24}),
        ({"ratios": [0, 0.5, 2]}, [10, 20], {10: 5}),
        ({"ladder": {"ratio": 2, "reconstructions": True}}, [10, 20, 29], {}),
        ({"ladder": None}, [10, 20], {}),
    ],
)
def test_a_ladder_takes_the_next_patients_where_the_largest_subset_has_them(block, n_real, others):
    given = {"ratios": [0, 1, 2], "ladder": {"ratio": None, "reconstructions": True}, "learning_curve": []} | block
    assert others_of(given, n_real) == others


def test_an_arm_is_called_by_what_it_trains_on():
    assert [
        label_of(Arm(20, *what)).label
        for what in [(), ("gan", 0.5), ("gan", 1.0, True), ("none", 2.0, False, "oversampled")]
    ] == [
        "real only",
        "real + 0.5x synthetic",
        "1x synthetic only",
        "real only, each case listed 3x",
    ]
    assert label_of(Arm(20, control="no_augmentation")).label == "real only, without nnU-Net's augmentation"
    assert Arm(4, "gan", 2.0, seed=1).title == "training nnU-Net on 4 (gan, ratio 2, seed 1)"
    assert Arm(20, "gan", 2.0).reference == Arm(20)


@pytest.mark.parametrize(
    "folder", ["results/tiny", "n_real~3/segmentation/nnunet/gan/ratio~1x/seed~0", "n_real~3/real"]
)
def test_a_folder_that_names_no_arm_is_refused(folder):
    with pytest.raises(UserError, match="names no arm: write n_real~20/segmentation"):
        Arm.of_folder(folder)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"ratio": 0.0, "control": "oversampled"}, "no whole number from 1"),
        ({"ratio": 1.5, "control": "oversampled"}, "no whole number from 1"),
        ({"ratio": 1.0, "control": "oversampled", "system": "sys"}, "an arm of real cases alone"),
        ({"ratio": 1.0, "control": "no_augmentation"}, "its ratio is 0, not 1"),
        ({"control": "other"}, "is none of none, no_augmentation"),
        ({"system": "sys", "ratio": -1.0}, "below 0"),
        ({"ratio": 1.0, "control": "reconstructions"}, "needs an autoencoder"),
        ({"ratio": 1.0, "control": "ceiling", "system": "sys"}, "an arm of real cases alone"),
        ({"control": "ceiling"}, "has a ratio above 0"),
        ({"mixing": "other"}, "is none of replace, real_share, synthetic_first"),
        ({"mixing": "real_share"}, "give it a system and its ratio"),
        ({"segmenter": "other"}, "segmenter 'other' is none of nnunet"),
    ],
)
def test_impossible_arms_are_refused(arm, message):
    with pytest.raises(UserError, match=message):
        Arm(4, **arm)


def test_halves_round_up_and_blocks_cover_the_count():
    assert [synthetic_count(5, ratio) for ratio in (0, 0.5, 1, 2)] == [0, 3, 5, 10]
    assert [len(blocks_for(count, 10)) for count in (0, 1, 10, 11)] == [0, 1, 1, 2]
