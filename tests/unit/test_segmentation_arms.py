"""Arms: which cases train, in which numbers, and that none of them leaks."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from tiny_segmentation import OTHERS, TEST, TRAIN, VAL, Study

from workflow_scripts.base.errors import UserError
from workflow_scripts.programs.segmentation import train_segmentation
from workflow_scripts.segmentation.arms import choose_cases, link_view
from workflow_scripts.segmentation.draws import Draws, real_fraction
from workflow_scripts.segmentation.nnunet.batches import seed_everything
from workflow_scripts.segmentation.nnunet.library import NnunetPlan, nnunet_home, quiet
from workflow_scripts.segmentation.nnunet.trainer import build_trainer
from workflow_scripts.segmentation.segmenter import load_plan
from workflow_scripts.study.arms import Arm
from workflow_scripts.study.settings.segmentation import Segmentation

ONE_STEP = {"epochs": 1, "iterations_per_epoch": 1, "val_iterations_per_epoch": 0}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("arms"))
    study.make_plan()
    study.pool_real()
    # the later block's table comes first: numbers decide, not the order of the files
    study.tables = [str(study.pool_synthetic(study.synthesize(block, 3))) for block in (1, 0)]
    return study


def arm(study, mix="real", *more):
    return json.loads((study.train("one step", mix, *more, **ONE_STEP) / "arm.json").read_text())


def mix(study, ratio, kind="ratio"):
    return arm(study, f"sys/{kind}~{ratio}", "--synthetic", *study.tables)


def test_a_real_only_arm_has_the_train_subset_and_no_system(study):
    real = arm(study)
    assert (real["real_ids"], real["synthetic_ids"], real["val_ids"]) == (TRAIN, [], VAL)
    assert (real["system"], real["ratio"], real["synthetic_only"]) == ("none", 0.0, False)


def test_a_smaller_ratios_cases_are_the_first_of_a_larger_ones(study):
    half, once, twice = (mix(study, ratio) for ratio in ("0.5", "1", "2"))
    assert twice["synthetic_ids"] == [f"sys_SliceAug-0000{number}-000" for number in range(6)]
    assert once["synthetic_ids"] == twice["synthetic_ids"][:3]
    assert half["synthetic_ids"] == twice["synthetic_ids"][:2]  # 1.5 is rounded up
    assert half["real_ids"] == once["real_ids"] == twice["real_ids"] == TRAIN


def test_arms_make_the_same_steps_and_say_how_often_a_case_is_seen(study):
    real, twice = arm(study), mix(study, "2")
    assert real["patches_seen"] == twice["patches_seen"] == 2
    assert real["mean_patches_per_real_case"] == pytest.approx(2 / 3)
    assert twice["mean_patches_per_real_case"] == pytest.approx(2 / 9)


def test_a_synthetic_only_arm_trains_on_no_real_case(study):
    only = mix(study, "1", "synthetic_only")
    assert (only["real_ids"], len(only["synthetic_ids"]), only["val_ids"]) == ([], 3, VAL)
    assert only["mean_patches_per_real_case"] == 0


def test_no_arm_trains_on_a_validation_or_test_case(study):
    for described in (arm(study), mix(study, "2"), mix(study, "1", "synthetic_only")):
        trained = {*described["real_ids"], *described["synthetic_ids"]}
        assert not trained & {*VAL, *TEST}


def test_the_control_of_augmentation_is_real_only_with_nnunets_augmentation_the_other_way(study):
    real = study.train("own", **ONE_STEP)
    off = study.train("off", "real_no_augmentation", **ONE_STEP)
    on = study.train("on", "real_with_augmentation", **ONE_STEP, augmentation=False)
    real_arm, off_arm, on_arm = (json.loads((folder / "arm.json").read_text()) for folder in (real, off, on))
    assert [arm["training"]["augmentation"] for arm in (real_arm, off_arm, on_arm)] == [True, False, True]
    assert [arm["prediction"]["mirror_axes"] for arm in (off_arm, on_arm)] == [None, [0, 1, 2]]
    assert off_arm["control"] == "no_augmentation" and real_arm["control"] == "none"
    assert off_arm["real_ids"] == real_arm["real_ids"] == TRAIN
    weights = [(folder / "model.safetensors").read_bytes() for folder in (real, off, on)]
    assert weights[0] == weights[2] != weights[1], "the control switched on is the arm that was on"


def test_the_oversampled_control_lists_each_real_case_as_often_as_its_mix_is_long(study):
    twice = arm(study, "real_oversampled~1")
    assert (twice["real_ids"], twice["synthetic_ids"], twice["copies_of_real_cases"]) == (TRAIN, [], 2)
    assert (twice["system"], twice["ratio"], twice["control"]) == ("none", 1.0, "oversampled")
    assert twice["mean_patches_per_real_case"] == arm(study)["mean_patches_per_real_case"]


def test_a_ceiling_trains_on_all_other_patients_and_on_the_train_subset(study):
    table = study.pool_others()
    assert {re.sub("_(seg|locations)$", "", file.name.split(".")[0]) for file in table.parent.iterdir()} == {
        *OTHERS,
        "cases",
    }
    ceiling = arm(study, "ceiling~1", "--others", str(table))
    assert (ceiling["real_ids"], ceiling["others_ids"], ceiling["synthetic_ids"]) == (TRAIN, OTHERS, [])
    assert (ceiling["system"], ceiling["ratio"], ceiling["control"]) == ("none", 1.0, "ceiling")
    assert ceiling["mean_patches_per_real_case"] == pytest.approx(2 / 5)


def test_reconstructions_train_as_synthetic_cases_from_a_pool_of_their_own(study):
    pool = study.folder / "ladder/vae"
    table = study.pool_synthetic(study.synthesize(2, 2), "vae", pool)
    described = arm(study, "vae/reconstructions~1", "--others", str(table))
    made = ["vae_SliceAug-00004-000", "vae_SliceAug-00005-000"]
    assert (described["real_ids"], described["others_ids"], described["synthetic_ids"]) == (TRAIN, [], made)
    assert not list(study.pool.glob("vae_*"))


def test_arms_of_the_ladder_and_no_others_take_other_patients(study):
    table = str(study.pool_others())
    for mix, more in (("real", ["--others", table]), ("ceiling~1", [])):
        with pytest.raises(UserError, match="go with the arms ceiling and reconstructions alone"):
            arm(study, mix, *more)
    with pytest.raises(UserError, match=f"case {TRAIN[0]} is among the arm's own and the other patients"):
        arm(study, "ceiling~1", "--others", str(study.real))


@pytest.mark.parametrize(("way", "share"), [("real_share", 0.25), ("synthetic_first", 0.5)])
def test_a_way_of_mixing_draws_its_share_of_patches_from_real_cases(study, way, share):
    described = arm(study, f"sys/ratio~2_{way}", "--synthetic", *study.tables)
    settings = Segmentation.read({**ONE_STEP, "real_share": 0.25})
    cases = choose_cases(
        Arm(3, "sys", 2.0, mixing=way, seed=0),
        load_plan(study.plan),
        pd.read_csv(study.real, sep="\t"),
        [pd.read_csv(table, sep="\t") for table in study.tables],
    )
    assert described["mixing"] == way and described["synthetic_ids"] == list(cases.synthetic_ids)
    draws, steps = Draws.of(cases, settings, 1000), range(1000)
    counts = np.array([sum(case in TRAIN for case in draws.batch(step, 4)) for step in steps])
    odd = np.array([sum(case in TRAIN for case in draws.batch(step, 2)) for step in steps])
    if way == "real_share":
        assert set(counts) == {1}, "exact where a batch of 4 holds a quarter"
        assert set(odd) == {0, 1} and abs(odd.mean() / 2 - share) < 0.03
    else:
        assert counts.tolist() == [0] * 500 + [4] * 500
    drawn = [case for step in steps for case in draws.batch(step, 2)]
    assert set(drawn) == {*TRAIN, *cases.synthetic_ids} and draws.batch(7, 4) == draws.batch(7, 4)
    first = np.mean([case in TRAIN for case in drawn[::2]])
    assert abs(first - share) < 0.05, "real cases stand in each place of a batch: nnU-Net centres the last on a tumour"
    assert real_fraction(cases, settings) == share


def test_a_repeated_list_gives_nnunet_the_same_distribution_of_cases_with_other_draws(study, tmp_path):
    """Why oversampling is no control of its own kind: with the list three times as long, each case comes as often."""
    plan, counts, orders = load_plan(study.plan), [], []
    with nnunet_home() as home, quiet():
        for copies in (1, 3):
            settings = Segmentation.read(ONE_STEP)
            listed = Arm(3) if copies == 1 else Arm(3, ratio=copies - 1.0, control="oversampled")
            real = pd.read_csv(study.real, sep="\t")
            listed = choose_cases(listed, plan, real, [])
            view = home / f"view{copies}"
            view.mkdir()
            link_view(listed, study.pool, listed.in_pool, view, real.set_index("case_id")["files_digest"])
            trainer = build_trainer(NnunetPlan.of(plan), view, listed.train_ids, VAL, settings, 0, torch.device("cpu"))
            loader = trainer.loaders()[0]
            seed_everything(0, "draws")
            drawn = [case for _ in range(3000) for case in loader.get_indices()]
            assert len(listed.train_ids) == copies * len(TRAIN)
            counts.append([drawn.count(case) for case in TRAIN])
            orders.append(drawn)
    assert stats.chisquare(counts[0]).pvalue > 1e-3 and stats.chisquare(counts[1]).pvalue > 1e-3
    assert stats.chi2_contingency(counts).pvalue > 1e-3
    assert orders[0] != orders[1]


def test_too_few_synthetic_cases_are_an_error_that_counts_them(study):
    with pytest.raises(UserError, match="ratio 4 of 3 real cases asks for 12 synthetic cases, but sys has 6"):
        mix(study, "4")


def test_impossible_mixes_are_refused(study):
    with pytest.raises(UserError, match="no synthetic case at all"):
        mix(study, "0", "synthetic_only")
    with pytest.raises(UserError, match="twice"):
        arm(study, "sys/ratio~1", "--synthetic", study.tables[0], study.tables[0])


def test_cases_other_than_the_plans_are_refused(study, tmp_path):
    table = pd.read_csv(study.real, sep="\t")
    swapped = tmp_path / "real.tsv"
    table.replace({"case_id": {"a1": TEST[0]}}).to_csv(swapped, sep="\t", index=False)
    with pytest.raises(UserError, match="not those the plan was made from"):
        study.train("swapped", "real", "--real", str(swapped), **ONE_STEP)
    leaking = tmp_path / "leak.tsv"
    table.replace({"case_id": {"b1": "a1"}}).to_csv(leaking, sep="\t", index=False)
    with pytest.raises(UserError, match="a1 is both a training and a validation case"):
        study.train("leaking", "real", "--real", str(leaking), **ONE_STEP)


def test_a_missing_pool_file_is_named_with_its_stage(study):
    file = study.pool / "sys_SliceAug-00001-000_seg.b2nd"
    kept = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(UserError, match=r"lacks .*SliceAug-00001-000_seg\.b2nd.*pool_synthetic"):
            mix(study, "1")
    finally:
        file.write_bytes(kept)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"precision": "16"}, "precision is 16, but must be one of auto, bf16, 32"),
        ({"workers": -1}, "workers is -1"),
        ({"initial_learning_rate": 0}, "initial_learning_rate is 0"),
        ({"augmentation": "often"}, "augmentation is 'often'"),
    ],
)
def test_wrong_settings_are_named(study, settings, message):
    with pytest.raises(UserError, match=message):
        study.train("wrong", **settings)


def test_a_plan_for_another_train_size_is_refused(study):
    with pytest.raises(UserError, match="made for n_real 3, not 20"):
        train_segmentation.main(study.train_arguments(study.folder / Arm(20, seed=0).folder, **ONE_STEP))


def test_a_pool_that_lacks_a_file_or_has_another_is_refused_before_any_step(study):
    file = study.pool / f"{TRAIN[0]}_locations.npy"
    kept = file.read_bytes()
    file.write_bytes(kept + b" ")
    with pytest.raises(UserError, match=rf"case {TRAIN[0]}: its files .* have changed .*`snakemake -R pool_real`"):
        study.train("wrong", **ONE_STEP)
    file.unlink()
    with pytest.raises(UserError, match=rf"the pool lacks .*{file.name}: run `snakemake -R pool_real`"):
        study.train("wrong", **ONE_STEP)
    file.write_bytes(kept)
