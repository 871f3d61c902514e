"""The plan of nnU-Net: from the training cases alone, with the configuration's overrides worked in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_segmentation import MODALITIES, TEST, TRAIN, VAL, Study, brain_and_tumour, save

from workflow_scripts.base.errors import BadCase, UserError


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def configuration(study, **overrides):
    return study.make_plan(**overrides)["plans"]["configurations"]["3d_fullres"]


def test_plan_reads_the_training_cases_alone(study):
    study.make_plan()
    before = study.plan.read_bytes()
    study.volumes.joinpath(f"{VAL[0]}.image.npy").write_bytes(b"no volume at all")
    for case_id in TEST:
        for file in study.volumes.glob(f"{case_id}.*"):
            file.unlink()
    study.make_plan()
    assert study.plan.read_bytes() == before
    assert json.loads(before)["training_case_ids"] == TRAIN


def test_another_training_case_changes_the_fingerprint(study):
    before = study.make_plan()["dataset_fingerprint"]
    save(study.volumes, TRAIN[0], *brain_and_tumour(77))
    assert study.make_plan()["dataset_fingerprint"] != before


def test_without_overrides_the_plan_is_nnunets_own(study):
    chosen = configuration(study, patch_size=None, batch_size=None, features_per_stage=None)
    assert chosen["architecture"]["arch_kwargs"]["features_per_stage"][0] == 32
    assert chosen["batch_size"] == 2
    assert all(edge <= size + 3 for edge, size in zip(chosen["patch_size"], (24, 32, 32), strict=True))


def test_overrides_carry_through_to_the_whole_network(study):
    chosen = configuration(study, patch_size=[16, 24, 32], batch_size=3, features_per_stage=[4, 6, 8])
    network = chosen["architecture"]["arch_kwargs"]
    assert (chosen["patch_size"], chosen["batch_size"]) == ([16, 24, 32], 3)
    assert network["features_per_stage"] == [4, 6, 8]
    assert network["n_stages"] == len(network["strides"]) == len(network["kernel_sizes"]) == 3
    assert len(network["n_conv_per_stage"]) == len(network["n_conv_per_stage_decoder"]) + 1 == 3


def test_brain_is_normalised_by_itself_where_it_fills_little_of_the_given_image(study):
    wide = {"affine": np.diag([1.0, 1.0, 1.0, 1.0]).tolist(), "shape": [240, 240, 155]}
    for number, case_id in enumerate(TRAIN):
        save(study.volumes, case_id, *brain_and_tumour(number), source=wide)
    assert configuration(study)["use_mask_for_norm"] == [True, True]
    tight = {"affine": np.diag([3.0, 3.0, 3.0, 1.0]).tolist(), "shape": [28, 28, 20]}
    for number, case_id in enumerate(TRAIN):
        save(study.volumes, case_id, *brain_and_tumour(number), source=tight)
    assert configuration(study)["use_mask_for_norm"] == [False, False]


def test_fewer_regions_give_fewer_outputs(study):
    dataset = study.make_plan(regions=["whole_tumor"])["dataset"]
    assert dataset["labels"] == {"background": 0, "whole_tumor": [1, 2]}, "a region, never a class"
    assert dataset["regions_class_order"] == [1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"patch_size": [15, 16, 16]}, r"does not divide by \[2, 2, 2\].*patch_size: \[16, 16, 16\]"),
        ({"features_per_stage": [8] * 6}, r"6 entries.*allows 2 to 3"),
        ({"patch_size": [16, 16]}, r"patch_size is \[16, 16\], but must be"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"regions": None}, "regions is empty"),
    ],
)
def test_impossible_settings_say_what_to_write(study, override, message):
    with pytest.raises(UserError, match=message):
        study.make_plan(**override)


def test_a_case_that_does_not_fit_is_named(study):
    image, levels = brain_and_tumour(0)
    save(study.volumes, "a2", image[:1], levels)
    with pytest.raises(BadCase, match=f"case a2: holds the modalities t1c, not {', '.join(MODALITIES)}"):
        study.make_plan()
    save(study.volumes, "a2", np.full_like(image, -1), levels)
    with pytest.raises(BadCase, match="case a2: the image is background alone"):
        study.make_plan()
    study.volumes.joinpath("a2.image.npy").unlink()
    with pytest.raises(UserError, match="a2"):
        study.make_plan()
