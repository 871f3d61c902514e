"""Data sets that a dataset.json describes: channels and regions by its labels, through to volumes; and what is wrong in it."""

import json

import numpy as np
import pytest
import yaml
from raw_folders import CT, MR, SHAPE, SPACING_MM, raw_folder, scan
from small_cases import prepare, rewrite

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.nifti import write_nifti
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.study.dataset import read_dataset

GRID = {"spacing_mm": [6.0, 6.0, 6.0], "size": [16, 32, 32]}
VOXEL_ML = float(np.prod(SPACING_MM)) / 1000


def described(root, content, regions=None, name="nnunet"):
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return read_dataset(name, str(root), regions)


def cohort_of(root, out, regions=None, **config):
    dataset = read_dataset("nnunet", str(root), regions)
    own = {"dataset": dataset.model_dump(mode="json"), "modalities": dataset.modalities, **GRID} | config
    return prepare(root, out, own), dataset


# --- labels become nested regions -----------------------------------------------------------------------------------
KIDNEY = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}
APART = {"background": 0, "kidney": [1, 2, 3], "tumor": 2, "cyst": 3}
MANY = {"background": 0, **{f"organ{number}": number for number in range(1, 14)}}


@pytest.mark.parametrize(
    ("labels", "regions", "expected", "levels"),
    [
        (CT["labels"], None, ["liver_and_cancer", "cancer"], {1: 1, 2: 2}),
        (MR["labels"], None, ["PZ_and_TZ", "TZ"], {1: 1, 2: 2}),
        ({"background": 0, "a b": 1, "c": 2, "d": 3}, None, ["a_b_to_d", "c_and_d", "d"], {1: 1, 2: 2, 3: 3}),
        (CT["labels"], ["liver_and_cancer"], ["liver_and_cancer", "cancer"], {1: 1, 2: 2}),  # the study takes the first
        (CT["labels"], ["liver", "cancer"], ["liver", "cancer"], {1: 1, 2: 2}),
        (CT["labels"], ["cancer"], ["cancer"], {1: 0, 2: 1}),
        (MANY, ["organ6"], ["organ6"], {number: int(number == 6) for number in range(1, 14)}),
        (KIDNEY, None, ["kidney", "masses", "tumor"], {1: 1, 2: 3, 3: 2}),
        (APART, ["kidney", "tumor"], ["kidney", "tumor"], {1: 1, 2: 2, 3: 1}),
        ({"background": 0, "organ": 1, "lesion": 3, "ignore": 4}, None, ["organ_and_lesion", "lesion"], {1: 1, 3: 2}),
    ],
    ids=["organ and lesion", "two organs", "three", "a whole", "named so", "one label", "one of many", "regions", "not nested", "gap"],
)  # fmt: skip
def test_labels_become_nested_regions(tmp_path, labels, regions, expected, levels):
    dataset = described(tmp_path, CT | {"labels": labels}, regions)
    assert dataset.regions == expected
    for layout in dataset.layouts:
        assert dataset.levels_of(layout) == levels
    again = described(tmp_path, CT | {"labels": labels}, dataset.regions)  # a study's settings are read more than once
    assert again.levels_of("nnunet_raw") == levels and again.written == dataset.written
    assert [levels[label] for label in dataset.written.labels[1:]] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize(
    ("content", "regions", "words"),
    [
        ("{", None, "is no JSON file"),
        ([1], None, "must hold a mapping"),
        ({"labels": CT["labels"]}, None, 'names no channels. Write, for example, "channel_names": {"0": "CT"}'),
        (CT | {"channel_names": {"1": "CT"}}, None, "numbers its channels 1, not 0 to 0"),
        (CT | {"labels": {}}, None, "names no labels"),
        (CT | {"labels": {"background": 0}}, None, "no label but the background"),
        (CT | {"labels": {"background": 0, "liver": 1.5}}, None, "label 'liver' is 1.5"),
        (CT | {"labels": {"background": 0, "liver": 300}}, None, "whole numbers from 0 to 255"),
        (CT | {"labels": {"background": 0, "liver": 1, "cancer": 1}}, None, "liver hold the same labels, 1"),
        (CT | {"labels": {"background": 0, "liver": [0, 1]}}, None, "holds 0, the background"),
        (CT | {"file_ending": ".png"}, None, "has file_ending '.png': only .nii and .nii.gz are read"),
        (CT | {"labels": APART}, None, "cyst (3) does not lie in tumor (2). Write which are studied, from the outside in, "
         "for example `regions: [kidney, tumor]`"),
        (CT | {"labels": MANY}, None, "has 13 labels, and masks here are nested regions"),
        (CT, ["lung"], "regions names 'lung', which is not in"),
        (CT | {"labels": {"background": 0, "a": [1, 2], "b": [2, 3]}}, ["a", "b"], "b (2, 3) does not lie in a (1, 2)"),
        (CT | {"labels": KIDNEY}, ["tumor", "kidney"], "kidney (1, 2, 3) does not lie in tumor (2)"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_a_sentence(tmp_path, content, regions, words):
    with pytest.raises(UserError) as caught:
        described(tmp_path, content, regions)
    assert words in str(caught.value) and "dataset.json" in str(caught.value)


def test_a_missing_file_names_the_folder_that_has_one(tmp_path):
    described(tmp_path / "Dataset7_Liver", CT)
    with pytest.raises(UserError, match=r"has none; Dataset7_Liver in it has one: name that folder"):
        read_dataset("nnunet", str(tmp_path))


def test_channels_of_one_name_are_numbered_and_ct_alone_has_a_fixed_window(tmp_path):
    dataset = described(tmp_path, CT | {"channel_names": {"0": "ct", "1": "PET", "2": "PET", "3": "seg"}})
    assert dataset.modalities == ["ct", "PET_1", "PET_2", "seg_3"]
    assert dataset.intensity.fixed("ct") == [-160, 240] and dataset.intensity.fixed("PET_1") is None
    own = {"like": "nnunet", "foreground": {"rule": "threshold", "above": -500}, "regions": ["cancer"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(own))
    dataset = described(tmp_path, CT, name=str(tmp_path / "mine.yaml"))
    assert (dataset.foreground.rule, dataset.regions, dataset.written.background) == ("threshold", ["cancer"], True)


# --- through to volumes ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("numbered", [True, False])
def test_an_organ_with_its_lesion_in_ct(tmp_path, numbered):
    out, dataset = cohort_of(raw_folder(tmp_path / "data", CT, 2, numbered), tmp_path / "out")
    cases, store = read_tsv(out / "cases.tsv").set_index("case_id"), VolumeStore(out / "volumes")
    (image,), labels = scan(1, ["CT"], False)
    assert cases.liver_and_cancer_ml["case_001"] == pytest.approx(np.count_nonzero(labels) * VOXEL_ML)
    assert cases.cancer_ml["case_001"] == pytest.approx(np.count_nonzero(labels == 2) * VOXEL_ML)
    assert store.meta("case_001")["intensity_window"] == {"CT": [-160, 240]}
    levels, volume = np.asarray(store.levels("case_001")), np.asarray(store.image("case_001"), np.float64)
    assert volume[0][levels == 2].mean() == pytest.approx((image[labels == 2].mean() + 160) / 200 - 1, abs=0.1)
    (remark,) = read_tsv(out / "remarks.tsv").note
    assert "(liver_and_cancer: 1, 2; cancer: 2). liver alone has no score: `regions: [liver]`" in remark
    assert dataset.region_names["liver_and_cancer"] == "liver + cancer"


def test_two_organs_and_two_channels_in_one_file(tmp_path):
    root = raw_folder(tmp_path / "data", MR, 2, numbered=False, apart=True)
    out, _ = cohort_of(root, tmp_path / "out")
    store, cases = VolumeStore(out / "volumes"), read_tsv(out / "cases.tsv").set_index("case_id")
    _, labels = scan(0, ["T2", "ADC"], True)
    levels, volume = np.asarray(store.levels("case_000")), np.asarray(store.image("case_000"), np.float64)
    assert cases.PZ_and_TZ_ml["case_000"] == pytest.approx(np.count_nonzero(labels) * VOXEL_ML)
    assert volume[0][levels == 2].mean() > volume[0][levels == 1].mean(), "T2 of the second organ is brighter"
    assert volume[1][levels == 2].mean() < volume[1][levels == 1].mean(), "and its ADC darker"
    out, _ = cohort_of(root, tmp_path / "one", ["PZ"])
    (case, _) = read_tsv(out / "cases.tsv").itertuples()
    assert case.PZ_ml == pytest.approx(np.count_nonzero(labels == 1) * VOXEL_ML)
    assert "label 2 (TZ) is kept out of the tumour" in case.note and not len(read_tsv(out / "remarks.tsv"))


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda root: (root / "imagesTr/case_000_0001.nii.gz").unlink(), "missing ADC"),
        (lambda root: (root / "labelsTr/case_000.nii.gz").unlink(), "missing the tumour mask"),
        (lambda root: rewrite(root / "labelsTr/case_000.nii.gz", lambda data: data * 2), "unknown label 4 in the mask"),
    ],
)
def test_a_case_that_does_not_fit_the_file_is_refused(tmp_path, break_it, words):
    root = raw_folder(tmp_path / "data", MR, 2, numbered=True)
    break_it(root)
    out, _ = cohort_of(root, tmp_path / "out")
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert row.case_id == "case_000" and words in row.reason


@pytest.mark.parametrize(
    ("content", "change"),
    [(MR, lambda data: data[..., :1]), (MR, lambda data: data[..., [0, 1, 1]]), (CT, lambda data: np.stack([data, data + 1], -1))],
    ids=["too few", "too many", "several for one"],
)  # fmt: skip
def test_an_image_of_other_channels_than_the_file_names_is_refused(tmp_path, content, change):
    root = raw_folder(tmp_path / "data", content, 2, numbered=False)
    rewrite(root / "imagesTr/case_000.nii.gz", change)
    out, dataset = cohort_of(root, tmp_path / "out")
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert f"where 4D with {len(dataset.modalities)} channels belongs" in row.reason


def test_test_images_without_masks_are_no_cases(tmp_path):
    root = raw_folder(tmp_path / "data", CT, 2, numbered=True)
    write_nifti(root / "imagesTs/case_900_0000.nii.gz", np.zeros(SHAPE, np.int16), np.diag([*SPACING_MM, 1.0]))
    out, _ = cohort_of(root, tmp_path / "out")
    assert list(read_tsv(out / "cases.tsv").case_id) == ["case_000", "case_001"]
