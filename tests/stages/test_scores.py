"""Segmentation scores: known overlaps and distances, empty regions, and the program that scores an arm."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from brats import ALL_PARTS
from monai.metrics import compute_dice, compute_hausdorff_distance
from scipy import ndimage
from small_cases import lps_affine, make_case, prepare
from subsets import manifest_alone

from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import read_json, read_tsv, write_json, write_tsv
from workflow_scripts.cohort.nifti import read_nifti, write_nifti
from workflow_scripts.evaluation.case_scores import case_scores
from workflow_scripts.evaluation.segmentation_scores import image_diagonal_mm, mask_scores
from workflow_scripts.programs.evaluation.score_segmentation import ARM_KEYS, main

REGIONS = ["whole_tumor", "tumor_core", "enhancing_tumor"]


def box(shape, *corners):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(low, high) for low, high in corners)] = True
    return mask


def test_dice_of_boxes_that_share_half():
    a = box((20, 20, 20), (4, 8), (4, 8), (4, 8))
    b = box((20, 20, 20), (6, 10), (4, 8), (4, 8))
    assert mask_scores(a, b, (1, 1, 1))[0] == pytest.approx(0.5)
    assert mask_scores(a, a, (1, 1, 1)) == (pytest.approx(1.0), 0.0)


@pytest.mark.parametrize(("axis", "spacing_mm"), [(0, (3.0, 1.0, 0.5)), (1, (3.0, 1.0, 0.5)), (2, (3.0, 1.0, 0.5))])
def test_distance_of_a_shifted_slab_is_the_shift_in_mm(axis, spacing_mm):
    # slabs that fill the other two axes: every surface voxel of a face is exactly the shift away from the other's
    corners = [(0, 24)] * 3
    a, b = list(corners), list(corners)
    a[axis], b[axis] = (6, 7), (10, 11)
    _, distance = mask_scores(box((24, 24, 24), *a), box((24, 24, 24), *b), spacing_mm)
    assert distance == pytest.approx(4 * spacing_mm[axis], rel=1e-5)


def test_distance_is_the_percentile_of_the_worse_direction():
    # one stray voxel of 101 lies 30 mm off: within the 5 % that HD95 forgives, not within HD100
    truth, guess = np.zeros((3, 3, 200), bool), np.zeros((3, 3, 200), bool)
    truth[1, 1, :100] = guess[1, 1, :100] = True
    guess[1, 1, 129] = True
    assert mask_scores(truth, guess, (1, 1, 1))[1] == pytest.approx(0.0)
    assert mask_scores(truth, guess, (1, 1, 1), percentile=100)[1] == pytest.approx(30.0)
    assert mask_scores(guess, truth, (1, 1, 1), percentile=100)[1] == pytest.approx(30.0)


def brute_force(truth, guess, spacing_mm, percentile):
    def surface(mask):
        padded = np.pad(mask, 1)
        neighbours = [np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for step in (1, -1)]
        return np.argwhere(mask & ~np.logical_and.reduce(neighbours)) * spacing_mm

    a, b = surface(truth), surface(guess)
    distances = np.linalg.norm(a[:, None] - b[None], axis=2)
    return max(np.percentile(distances.min(axis=axis), percentile) for axis in (0, 1))


def test_scores_agree_with_brute_force_on_irregular_masks_that_touch_the_border():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (14, 18, 11)], indexing="ij"))
    spacing_mm = np.array([2.0, 0.8, 1.3])
    for _ in range(5):
        truth, guess = (
            ((grid - rng.uniform(1, 9, size=(3, 1, 1, 1))) ** 2).sum(0) < rng.uniform(6, 25) for _ in range(2)
        )
        dice, distance = mask_scores(truth, guess, spacing_mm)
        assert dice == pytest.approx(2 * (truth & guess).sum() / (truth.sum() + guess.sum()), rel=1e-5)
        assert distance == pytest.approx(brute_force(truth, guess, spacing_mm, 95), rel=1e-4)


def test_empty_regions_follow_the_stated_convention():
    shape, spacing_mm = (240, 240, 155), (1.0, 1.0, 1.0)
    empty, some = np.zeros(shape, bool), box(shape, (5, 9), (5, 9), (5, 9))
    diagonal = image_diagonal_mm(shape, spacing_mm)
    assert diagonal == pytest.approx(373.13, abs=0.005), "the penalty of the BraTS challenge"
    assert mask_scores(empty, empty, spacing_mm) == (1.0, 0.0)
    assert mask_scores(empty, some, spacing_mm) == (0.0, diagonal)
    assert mask_scores(some, empty, spacing_mm) == (0.0, diagonal)


def test_regions_are_nested_levels_and_volumes_are_in_ml():
    truth, guess = np.zeros((30, 30, 30), np.uint8), np.zeros((30, 30, 30), np.uint8)
    truth[5:25, 5:25, 5:25], truth[10:20, 10:20, 10:20], truth[12:16, 12:16, 12:16] = 1, 2, 3
    guess[5:25, 5:25, 5:25], guess[10:20, 10:20, 10:15] = 1, 3  # half of the core, all of it called enhancing
    rows = {row["region"]: row for row in case_scores(truth, guess, (2.0, 1.0, 1.0), REGIONS)}
    assert rows["whole_tumor"]["dice"] == pytest.approx(1.0)
    assert rows["tumor_core"]["dice"] == pytest.approx(2 * 500 / 1500)
    assert rows["enhancing_tumor"]["dice"] == pytest.approx(2 * 48 / (64 + 500))
    assert [rows[name]["reference_ml"] for name in REGIONS] == pytest.approx([16.0, 2.0, 0.128])
    assert rows["tumor_core"]["predicted_ml"] == pytest.approx(1.0)
    assert "hd95_mm" in rows["tumor_core"]


@pytest.fixture
def arm(tmp_path):
    """A case in two layouts, predictions that equal the expert's masks, and the arm that made them."""
    rows, predictions = [], []
    for case_id, layout, seed in (("BraTS-GLI-00001-000", "brats2023", 1), ("BraTS2021_00002", "brats2021", 2)):
        seg = make_case(tmp_path / "data", case_id, layout=layout, seed=seed)["seg"]
        rows.append({"case_id": case_id, "patient_id": case_id[:15], "layout": layout, "seg_path": str(seg)})
        mask = read_nifti(seg)
        labels = np.where(mask.data == 4, 3, mask.data).astype(np.uint8)  # predictions are in BraTS-2023 labels
        write_nifti(tmp_path / f"arm/predictions/{case_id}.nii.gz", labels, mask.affine)
        predictions.append({"case_id": case_id, "file": f"predictions/{case_id}.nii.gz"})
    write_tsv(tmp_path / "cases.tsv", pd.DataFrame(rows))
    write_tsv(tmp_path / "arm/predictions.tsv", pd.DataFrame(predictions))
    settings = {"n_real": 20, "system": "slice_ldm", "ratio": 0.5, "synthetic_only": False}
    settings |= {"control": "none", "mixing": "replace", "segmenter": "nnunet", "seed": 1}
    write_json(tmp_path / "arm/arm.json", settings)
    progress = {"epoch": range(9), "pseudo_dice_whole_tumor": 0.8, "pseudo_dice_tumor_core": np.arange(9) / 10}
    pd.DataFrame(progress | {"pseudo_dice_enhancing_tumor": 0.0}).to_csv(tmp_path / "arm/progress.csv", index=False)
    return tmp_path


def test_manifest(folder):
    """The test subset that holds the cases of cases.tsv, without volumes."""
    manifest = manifest_alone(folder / "test", list(read_tsv(folder / "cases.tsv").case_id), "test")
    write_json(manifest, read_json(manifest) | {"cases": read_tsv(folder / "cases.tsv").to_dict("records")})
    return manifest


test_manifest.__test__ = False


def score(folder, lesions=None, **config):
    config = {"dataset": ALL_PARTS | ({"lesions": lesions} if lesions else {}), "regions": REGIONS} | config
    main(
        [
            *("--predictions", str(folder / "arm/predictions.tsv"), "--arm", str(folder / "arm/arm.json")),
            *("--progress", str(folder / "arm/progress.csv")),
            *("--test", str(test_manifest(folder)), "--out", str(folder / "arm/dice.tsv")),
            *("--config", json.dumps(config), "--threads", "1"),
        ]
    )
    return read_tsv(folder / "arm/dice.tsv")


def test_a_perfect_prediction_of_any_layout_scores_one(arm):
    table = score(arm, regions=REGIONS, hd_percentile=95)
    assert len(table) == 6
    assert (table.dice == 1).all()
    assert table.groupby("region").onset.unique().map(list).to_dict() == {
        "whole_tumor": ["past"],
        "tumor_core": ["rising"],
        "enhancing_tumor": ["zero"],
    }
    assert (table.hd95_mm == 0).all()
    assert (table.reference_ml == table.predicted_ml).all()
    assert (table.reference_ml > 0).all()
    assert (table.lesion_dice == 1).all() and (table.lesion_hd95_mm == 0).all()
    assert (table.lesions_missed + table.lesions_false == 0).all()
    assert table.patient_id.tolist() == ["BraTS-GLI-00001"] * 3 + ["BraTS2021_00002"] * 3
    assert table[["n_real", "system", "ratio", "seed"]].drop_duplicates().to_numpy().tolist() == [
        [20, "slice_ldm", 0.5, 1]
    ]


@pytest.mark.parametrize("change", ["smaller", "mirrored", "moved"])
def test_a_mask_that_was_replaced_under_a_finished_study_is_not_scored(arm, change):
    """Neither one of another tumour, nor the same one on the other side or beside its place."""
    where = prepare(arm / "data", arm / "cohort")
    cases = read_tsv(where / "cases.tsv")[["case_id", "patient_id", "layout", "seg_path", "levels_digest"]]
    write_tsv(arm / "cases.tsv", cases)
    assert (score(arm).dice == 1).all()
    path = cases.seg_path[1]
    mask = read_nifti(path)
    smaller, moved = np.where(mask.data == 1, 0, mask.data), np.roll(mask.data, 1, 0)
    other = {"smaller": smaller, "mirrored": mask.data[::-1], "moved": moved}
    write_nifti(path, other[change].astype(np.uint8), mask.affine)
    (arm / "arm/dice.tsv").unlink()
    with pytest.raises(
        UserError, match=f"mask of case {cases.case_id[1]} has changed since the cohort was made"
    ) as error:
        score(arm)
    assert path in str(error.value) and not (arm / "arm/dice.tsv").exists()


def test_a_region_found_in_no_test_case_was_not_learned_whatever_validation_says(arm):
    for path in (arm / "arm/predictions").iterdir():
        mask = read_nifti(path)
        write_nifti(path, np.where(mask.data == 3, 2, mask.data).astype(np.uint8), mask.affine)
    pd.DataFrame({f"pseudo_dice_{region}": [0.8] * 9 for region in REGIONS}).to_csv(arm / "arm/progress.csv")
    onset = score(arm).groupby("region").onset.unique().map(list).to_dict()
    assert onset["enhancing_tumor"] == ["zero"] and onset["whole_tumor"] == ["past"]


def test_a_prediction_stored_in_another_orientation_is_the_same_prediction(arm):
    path = arm / "arm/predictions/BraTS-GLI-00001-000.nii.gz"
    mask = read_nifti(path)
    flipped = mask.affine @ np.diag([-1.0, 1, 1, 1])
    flipped[:3, 3] = (mask.affine @ [mask.data.shape[0] - 1, 0, 0, 1])[:3]
    write_nifti(path, mask.data[::-1].copy(), flipped)
    assert (score(arm).dice == 1).all()


def test_a_shifted_prediction_is_measured_in_mm_of_the_case(arm):
    path = arm / "arm/predictions/BraTS-GLI-00001-000.nii.gz"
    mask = read_nifti(path)
    write_nifti(path, np.roll(mask.data, 1, axis=2), mask.affine)  # one slice of 8 mm
    table = score(arm).set_index(["case_id", "region"])
    shifted = table.loc[("BraTS-GLI-00001-000", "whole_tumor")]
    assert 0 < shifted.dice < 1
    assert shifted.hd95_mm == pytest.approx(8.0)
    assert table.loc[("BraTS2021_00002", "whole_tumor")].dice == 1


def test_one_region_and_another_percentile_name_themselves(arm):
    table = score(arm, regions=["whole_tumor"], hd_percentile=90)
    assert set(table.region) == {"whole_tumor"}
    assert "hd90_mm" in table and "hd95_mm" not in table
    assert "lesion_hd90_mm" in table and "lesion_hd95_mm" not in table


def test_what_a_lesion_is_comes_from_the_config_and_stands_in_the_table(arm):
    own = {"dilation_voxels": 1, "min_volume_mm3": 1e6, "small_volume_ml": 0.2}
    table = score(arm, lesions=own)
    assert (table.lesions == 0).all(), "every tumour is smaller than a litre"
    assert (table.lesion_dice == 1).all()
    constants = table[["lesion_dilation_voxels", "lesion_min_mm3", "small_lesion_ml"]].drop_duplicates()
    assert constants.to_numpy().tolist() == [[1, 1e6, 0.2]]


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda f: f.unlink(), BadCase, "BraTS-GLI-00001-000.*the file is not there"),
        (lambda f: f.write_bytes(f.read_bytes()[:-40]), BadCase, "cut off|damaged"),
        (lambda f: write_nifti(f, np.full((32, 32, 16), 7, np.uint8), lps_affine()), BadCase, "unknown label 7"),
        (lambda f: write_nifti(f, np.zeros((32, 32, 15), np.uint8), lps_affine()), BadCase, "expert's mask .* has"),
        (lambda f: write_nifti(f, np.zeros((32, 32, 16), np.uint8), np.eye(4)), BadCase, "mm off the expert's mask"),
    ],
)
def test_a_broken_prediction_is_named_and_nothing_is_written(arm, damage, error, words):
    damage(arm / "arm/predictions/BraTS-GLI-00001-000.nii.gz")
    with pytest.raises(error, match=words):
        score(arm)
    assert not (arm / "arm/dice.tsv").exists()


def test_all_seeds_of_an_arm_are_scored_together_each_into_its_own_table(arm):
    alone = score(arm)
    settings = json.loads((arm / "arm/arm.json").read_text())
    write_json(arm / "other/arm.json", settings | {"seed": 2})
    shutil.copy(arm / "arm/progress.csv", arm / "other")
    path = arm / "arm/predictions/BraTS-GLI-00001-000.nii.gz"
    mask = read_nifti(path)
    write_nifti(arm / "other/predictions" / path.name, np.roll(mask.data, 1, axis=2), mask.affine)
    write_tsv(arm / "other/predictions.tsv", read_tsv(arm / "arm/predictions.tsv").head(1))
    seeds = [arm / "arm", arm / "other"]
    files = {
        "--predictions": "predictions.tsv",
        "--arm": "arm.json",
        "--progress": "progress.csv",
        "--out": "together.tsv",
    }
    options = [part for option, name in files.items() for part in (option, *(str(seed / name) for seed in seeds))]
    main(
        [
            *options,
            "--test",
            str(test_manifest(arm)),
            "--config",
            json.dumps({"dataset": ALL_PARTS, "regions": REGIONS}),
            "--threads",
            "1",
        ]
    )
    first, second = (read_tsv(seed / "together.tsv") for seed in seeds)
    pd.testing.assert_frame_equal(first, alone)
    assert set(second.seed) == {2} and set(second.case_id) == {"BraTS-GLI-00001-000"} and second.dice.max() < 1
    with pytest.raises(UserError, match="as many files of each"):
        main(
            [
                *options[:2],
                *options[3:],
                "--test",
                str(test_manifest(arm)),
                "--config",
                json.dumps({"dataset": ALL_PARTS, "regions": REGIONS}),
                "--threads",
                "1",
            ]
        )


def test_tables_that_do_not_fit_are_refused(arm):
    with pytest.raises(UserError, match="must be nested"):
        score(arm, regions=["tumor_core"])
    write_json(arm / "arm/arm.json", {"n_real": 20})
    with pytest.raises(UserError, match="lacks system, ratio, synthetic_only, control, mixing, segmenter, seed"):
        score(arm)
    write_json(arm / "arm/arm.json", dict.fromkeys(ARM_KEYS, 0))
    write_tsv(arm / "arm/predictions.tsv", pd.DataFrame([{"case_id": "other", "file": "x.nii.gz"}]))
    with pytest.raises(UserError, match="has case other, which is not in"):
        score(arm)


def test_dice_and_distance_are_monais():
    """Masks of blobs, up to the border of the image, at any spacing."""
    rng = np.random.default_rng(0)
    for percentile in (50.0, 95.0, 100.0):
        spacing_mm, shape = rng.uniform(0.5, 4, 3), rng.integers(6, 22, 3)
        blobs = [ndimage.gaussian_filter(rng.normal(size=shape), 1.0) for _ in range(2)]
        masks = [blob > np.quantile(blob, share) for blob, share in zip(blobs, (0.7, 0.9), strict=True)]
        y, y_pred = (torch.from_numpy(mask)[None, None].float() for mask in masks)
        dice = compute_dice(y_pred, y, ignore_empty=False)
        options = {"include_background": True, "percentile": percentile, "spacing": list(map(float, spacing_mm))}
        distance = compute_hausdorff_distance(y_pred, y, **options)
        assert mask_scores(*masks, spacing_mm, percentile) == pytest.approx((float(dice), float(distance)), rel=1e-5)
