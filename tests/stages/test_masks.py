"""Synthetic masks against real ones: held-out tumours, a folder of masks, and the tests that compare them."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from brats import ALL_PARTS, CONDITIONS, REGIONS
from scipy import stats
from small_cases import make_case, rewrite
from subsets import manifest_alone, subset_options

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_json, write_tsv
from workflow_scripts.cohort.tumours import measure
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.evaluation.mask_validity import VALIDITY
from workflow_scripts.programs.evaluation import evaluate_masks, measure_held_out, measure_reference_masks


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, preprocessed_cohort):
    folder = preprocessed_cohort(tmp_path_factory.mktemp("masks"), cases=5)
    ids = list(read_tsv(folder / "cases.tsv").case_id)
    write_json(folder / "splits.json", {"seed": 0, "test": ids[:2], "val": ids[2:3], "train": {"2": ids[3:]}})
    return folder


def held_out(cohort, out, regions=REGIONS):
    where = subset_options(cohort, "val", "test")
    measure_held_out.main([*where, "--out", str(out), "--config", json.dumps({"regions": regions})])
    return read_tsv(out)


def test_held_out_tumours_are_those_of_validation_and_test_patients_alone(cohort, tmp_path):
    table = held_out(cohort, tmp_path / "held_out.tsv").set_index("case_id")
    splits = json.loads((cohort / "splits.json").read_text())
    assert set(table.index[table.split == "test"]) == set(splits["test"])
    assert set(table.index[table.split == "val"]) == set(splits["val"])
    store = VolumeStore(cohort / "volumes")
    for case_id, row in table.iterrows():
        levels = store.levels(case_id)
        for name, value in measure(levels, store.meta(case_id)["spacing_mm"], REGIONS).items():
            assert row[name] == pytest.approx(value)
        assert row["pieces"] >= 1 and row["outside_foreground_fraction"] <= 0.05 and row["unnested_fraction"] == 0


def test_fewer_regions_measure_fewer_features(cohort, tmp_path):
    table = held_out(cohort, tmp_path / "held_out.tsv", ["whole_tumor"])
    assert set(CONDITIONS) - set(table.columns) == {"tumor_core_fraction", "enhancing_tumor_fraction"}


def test_a_patient_counts_once_whatever_the_number_of_time_points(cohort, tmp_path):
    store, ids = VolumeStore(cohort / "volumes"), list(read_tsv(cohort / "cases.tsv").case_id)
    second = ids[0].removesuffix("000") + "001"
    meta = store.meta(ids[0]) | {"case_id": second}
    store.save(second, np.array(store.image(ids[0])), np.array(store.levels(ids[0])), meta)
    for name in ("cases.tsv", "splits.json"):
        (tmp_path / name).write_bytes((cohort / name).read_bytes())
    table = read_tsv(tmp_path / "cases.tsv")
    write_tsv(tmp_path / "cases.tsv", pd.concat([table, table.iloc[:1].assign(case_id=second)]))
    splits = json.loads((cohort / "splits.json").read_text())
    write_json(tmp_path / "splits.json", splits | {"test": [second, *splits["test"]]})
    (tmp_path / "volumes").symlink_to(cohort / "volumes")
    assert second not in set(held_out(tmp_path, tmp_path / "held_out.tsv").case_id)


# --- a folder of masks ------------------------------------------------------------------------------------------------
@pytest.fixture
def masks(tmp_path):
    """Six masks without images, at 6 x 6 x 8 mm."""
    for index in range(6):
        files = make_case(tmp_path / "masks", f"BraTS-GLI-{index + 100:05d}-000", seed=index + 20)
        for name in ("t1n", "t1c", "t2w", "t2f"):
            files[name].unlink()
    manifest_alone(tmp_path / "train", ["C", "D"])
    return tmp_path


def reference(folder, spacing_mm=(8.0, 6.0, 6.0), **config):
    config = {
        "dataset": ALL_PARTS,
        "spacing_mm": list(spacing_mm),
        "regions": list(REGIONS),
        "on_bad_case": "reject",
    } | config
    out = ["--out", str(folder / "reference.tsv"), "--rejected", str(folder / "rejected.tsv")]
    where = ["--root", str(folder / "masks"), "--train", str(folder / "train/manifest.json")]
    measure_reference_masks.main([*where, *out, "--config", json.dumps(config)])
    return read_tsv(folder / "reference.tsv").set_index("case_id")


def test_masks_without_images_are_measured_as_they_are_at_their_own_spacing(masks):
    table = reference(masks)
    assert len(table) == 6 and not [name for name in table.columns if name.startswith("centroid")]
    for case_id, row in table.iterrows():
        image = nibabel.load(masks / "masks" / case_id / f"{case_id}-seg.nii.gz")
        levels = np.array([0, 2, 1, 3], np.uint8)[np.asarray(image.dataobj)].transpose(2, 1, 0)
        expected = measure(levels, (8.0, 6.0, 6.0), REGIONS)
        for name in table.columns:
            assert row[name] == pytest.approx(expected[name], rel=1e-5), name


def test_on_another_spacing_the_volume_stays_about_the_same(masks):
    fine, coarse = reference(masks), reference(masks, (8.0, 8.0, 8.0))
    assert (coarse.volume_ml / fine.volume_ml).between(0.8, 1.2).all()
    assert not np.allclose(coarse.surface_mm2, fine.surface_mm2)


def test_training_patients_are_left_out(masks):
    manifest_alone(masks / "train", ["BraTS-GLI-00102-001"])
    assert sorted(reference(masks).index) == [f"BraTS-GLI-{number:05d}-000" for number in (100, 101, 103, 104, 105)]


def test_a_bad_mask_is_listed_or_stops_the_run(masks):
    path = masks / "masks/BraTS-GLI-00103-000/BraTS-GLI-00103-000-seg.nii.gz"
    rewrite(path, lambda voxels: voxels * 0)
    assert len(reference(masks)) == 5
    rejected = read_tsv(masks / "rejected.tsv")
    assert rejected.case_id.tolist() == ["BraTS-GLI-00103-000"] and "the mask is empty" in rejected.reason[0]
    with pytest.raises(UserError, match="BraTS-GLI-00103-000: the mask is empty"):
        reference(masks, on_bad_case="fail")
    path.write_bytes(b"no image")
    assert "not a NIfTI file" in (reference(masks), read_tsv(masks / "rejected.tsv").reason[0])[1]


def test_a_folder_without_masks_is_named(masks):
    manifest_alone(masks / "train", [f"BraTS-GLI-{i + 100:05d}-000" for i in range(6)])
    with pytest.raises(UserError, match="masks of training patients alone"):
        reference(masks)
    (masks / "masks").rename(masks / "elsewhere")
    with pytest.raises(UserError, match=r"evaluation\.masks\.reference_root .* does not exist"):
        reference(masks)


def test_real_masks_are_measured_at_the_volume_of_their_files(real_cases, tmp_path):
    (tmp_path / "masks").symlink_to(real_cases / "masks_only")
    manifest_alone(tmp_path / "train", ["C", "D"])
    table = reference(tmp_path, (3.0, 3.0, 3.0))
    assert len(table) == 42 and read_tsv(tmp_path / "rejected.tsv").empty
    for case_id in table.index[:4]:
        labels = np.asarray(nibabel.load(real_cases / "masks_only" / case_id / f"{case_id}_seg.nii.gz").dataobj)
        assert table.volume_ml[case_id] == pytest.approx((labels > 0).sum() / 1000, rel=0.05)
        core = np.isin(labels, [1, 4]).sum() / (labels > 0).sum()
        assert table.tumor_core_fraction[case_id] == pytest.approx(core, abs=0.05)


# --- the comparison ---------------------------------------------------------------------------------------------------
def tumours(count, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.normal(5 + shift, 1, count) for name in CONDITIONS})


@pytest.fixture
def tables(tmp_path):
    """Held-out, training and synthetic tumours: the synthetic ones are larger."""
    ids = [f"BraTS-GLI-{number:05d}-000" for number in range(60)]
    valid = dict(zip(VALIDITY, (0.0, 1.0, 1.0, 0.0, 0.0), strict=True))
    write_tsv(tmp_path / "held_out.tsv", tumours(15, 0).assign(case_id=ids[:15], split="test", **valid))
    write_tsv(tmp_path / "conditions.tsv", tumours(20, 1).assign(case_id=ids[20:40], foreground_volume_ml=1000.0))
    made = tumours(30, 2, shift=2.0).add_prefix("measured_").assign(number=range(30), case_id="S")
    write_tsv(tmp_path / "0.tsv", made.iloc[::-1])
    write_tsv(
        tmp_path / "control.tsv",
        pd.DataFrame([valid, valid | {"empty": 1.0, "pieces": 0.0, "outside_foreground_fraction": None}]),
    )
    return tmp_path


def compare(folder, *options, **config):
    arguments = ["--held-out", "held_out.tsv", "--conditions", "conditions.tsv", "--control", "control.tsv"]
    train = list(read_tsv(folder / "conditions.tsv").case_id)
    arguments = [str(folder / word) if word.endswith(".tsv") else word for word in arguments]
    arguments += [
        "--tables",
        str(folder / "0.tsv"),
        "--train",
        str(manifest_alone(folder / "train", train)),
        "--system",
        "slice_ldm",
        *map(str, options),
    ]
    config = json.dumps({"permutations": 99} | config)
    evaluate_masks.main([*arguments, "--out", str(folder / "masks.tsv"), "--config", config])
    return read_tsv(folder / "masks.tsv")


def test_every_feature_is_tested_against_held_out_masks_beside_a_floor(tables):
    table = compare(tables).set_index(["comparison", "feature"])
    real, train = (read_tsv(tables / f"{name}.tsv") for name in ("held_out", "conditions"))
    made = read_tsv(tables / "0.tsv").sort_values("number").iloc[:20]
    for name in CONDITIONS:
        for comparison, own in (("synthetic", made[f"measured_{name}"]), ("floor", train[name])):
            expected = stats.ks_2samp(own, real[name])
            row = table.loc[comparison, name]
            assert (row.statistic, row.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
            assert (row["n"], row.n_reference) == (20, 15)
            assert (row["mean"], row["sd"]) == (pytest.approx(own.mean()), pytest.approx(own.std()))
    assert (table.p_holm.dropna() >= table.p[table.p_holm.notna()]).all()
    assert table.loc["synthetic", "all features"].p == pytest.approx(1 / 100), "two standard deviations apart"
    assert table.loc["floor", "all features"].p > 0.05
    assert table.loc["synthetic"].p_holm.dropna().max() < 0.05 < table.loc["floor"].p_holm.dropna().min()


def test_ungated_draws_are_described_and_not_tested(tables):
    table = compare(tables).query("comparison == 'ungated'").set_index("feature")
    assert list(table.index) == list(VALIDITY) and table.p.isna().all()
    assert table["mean"]["empty"] == 0.5 and table.reference_mean["empty"] == 0
    assert table["n"]["outside_foreground_fraction"] == 1, "an empty mask lies nowhere"
    assert table["mean"]["pieces"] == 1 and table["n"]["empty"] == 2


def test_a_folder_of_masks_is_a_reference_without_places(tables):
    places = [name for name in CONDITIONS if name.startswith("centroid")]
    write_tsv(tables / "reference.tsv", tumours(50, 7).drop(columns=places).assign(case_id="M"))
    table = compare(tables, "--reference", tables / "reference.tsv")
    folder = table[table.reference == "mask folder"]
    assert set(folder.comparison) == {"synthetic", "floor"}
    assert set(folder.feature) == {*CONDITIONS, "all features"} - set(places)
    assert set(folder.n_reference) == {50}


def test_the_same_bytes_again(tables):
    compare(tables)
    first = (tables / "masks.tsv").read_bytes()
    compare(tables)
    assert first == (tables / "masks.tsv").read_bytes()


def test_one_mask_is_described_and_not_tested(tables):
    write_tsv(tables / "held_out.tsv", read_tsv(tables / "held_out.tsv").iloc[:1])
    table = compare(tables)
    assert table.p.isna().all() and (table.n_reference == 1).all()


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (
            "conditions",
            lambda t: t.assign(case_id=[f"BraTS-GLI-{i:05d}-000" for i in range(20)]),
            "both held out and trained on",
        ),
        ("0", lambda t: t.drop(columns="measured_sphericity"), "the synthetic tumours have no sphericity"),
        ("control", lambda t: t.drop(columns="pieces"), "lacks pieces"),
    ],
)
def test_tables_that_do_not_fit_are_refused_in_words(tables, file, change, words):
    write_tsv(tables / f"{file}.tsv", change(read_tsv(tables / f"{file}.tsv")))
    with pytest.raises(UserError, match=words):
        compare(tables)
    assert not (tables / "masks.tsv").exists()


def test_too_few_permutations_are_refused(tables):
    with pytest.raises(UserError, match=r"evaluation\.masks\.permutations is 5"):
        compare(tables, permutations=5)
