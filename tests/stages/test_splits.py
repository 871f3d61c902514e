"""Splits: by patient, nested, stratified by volume, seeded, and a helpful error where sizes cannot be met."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from contracts import CONTRACT

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, write_tsv
from workflow_scripts.cohort.subset import patient_digest
from workflow_scripts.programs.cohort import split_cohort


def cohort(n_patients, time_points=1, seed=0):
    """A case table with log-normal tumour volumes; every third patient has `time_points` scans."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n_patients):
        volume_ml = float(np.exp(rng.normal(4, 0.8)))
        for point in range(time_points if number % 3 == 0 else 1):
            rows.append((f"P-{number:05d}-{point:03d}", f"P-{number:05d}", volume_ml * (1 + 0.1 * point)))
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "whole_tumor_ml"])


def options(folder, config, table=None, starts=()) -> list[str]:
    manifests = [f"n_real~{size}/train/manifest.json" for size in config.get("train", config["n_real"])]
    others = [f"n_real~{size}/others/manifest.json" for size in config.get("others", ())]
    named = {"--cases": ["cases.tsv"], "--volumes": ["volumes"], "--out": ["splits.json"], "--train": manifests}
    named |= {"--others": others, "--starts": starts}
    named |= {f"--{name}": [f"cohort/{name}/manifest.json"] for name in ("val", "test")}
    given = [text for name, files in named.items() for text in (name, *(str(folder / file) for file in files))]
    return ["--config", json.dumps(config), *given, *(["--file", str(table)] if table else [])]


@pytest.fixture
def split(tmp_path):
    def run(cases, table=None, starts=(), **config):
        config = {"region": "whole_tumor", "n_real": [20, 50, 100], "val": 10, "test": 30, "seed": 0} | config
        write_tsv(tmp_path / "cases.tsv", cases)
        (tmp_path / "volumes").mkdir(exist_ok=True)
        for case_id in cases.case_id:
            (tmp_path / f"volumes/{case_id}.json").write_text('{"sha256": {"image": "0", "levels": "0"}}')
            for name in ("image", "levels"):
                (tmp_path / f"volumes/{case_id}.{name}.npy").touch()
        split_cohort.main(options(tmp_path, config, table, starts))
        return read_json(tmp_path / "splits.json")

    return run


def test_sets_have_their_sizes_and_cover_the_cohort_once(split):
    cases = cohort(160)
    splits = split(cases)
    assert len(splits["test"]) == 30
    assert len(splits["val"]) == 10
    assert [len(case_ids) for case_ids in splits["train"].values()] == [20, 50, 100]
    everything = splits["test"] + splits["val"] + splits["train"]["100"] + splits["unused"]
    assert sorted(everything) == sorted(cases.case_id)


def test_the_others_of_a_subset_are_the_next_patients_and_a_learning_curve_moves_nobody(split, tmp_path):
    cases = cohort(160, time_points=2)
    before = split(cases)
    after = split(cases, train=[20, 30, 50, 100], others={"20": 30, "50": 50})
    assert {key: after["train"][key] for key in before["train"]} == before["train"]
    assert (after["test"], after["val"], after["unused"]) == tuple(before[key] for key in ("test", "val", "unused"))
    assert set(after["train"]["20"]) < set(after["train"]["30"]) < set(after["train"]["50"])
    assert set(after["others"]["20"]) == set(after["train"]["50"]) - set(after["train"]["20"])
    assert set(after["others"]["50"]) == set(after["train"]["100"]) - set(after["train"]["50"])
    for size in (20, 50):
        manifest = read_json(tmp_path / f"n_real~{size}/others/manifest.json")
        assert manifest["subset"] == "others" and sorted(manifest["sha256"]) == after["others"][str(size)]


def test_train_subsets_are_nested(split):
    train = split(cohort(160))["train"]
    assert set(train["20"]) < set(train["50"]) < set(train["100"])


@pytest.mark.parametrize("seed", range(5))
def test_every_set_holds_each_fifth_of_the_volume_range_in_proportion(split, seed):
    cases = cohort(160, seed=seed)
    fifth = pd.qcut(cases.set_index("case_id").whole_tumor_ml, 5, labels=False)
    splits = split(cases, seed=seed)
    for ids in (splits["test"], splits["val"], *splits["train"].values()):
        counts = fifth[ids].value_counts().reindex(range(5), fill_value=0)
        assert (abs(counts - len(ids) / 5) <= 1).all(), counts


def test_time_points_of_a_patient_share_a_set_and_count_as_one(split):
    cases = cohort(160, time_points=3)
    splits = split(cases)
    patient = cases.set_index("case_id").patient_id
    sets = [set(patient[ids]) for ids in (splits["test"], splits["val"], splits["train"]["100"], splits["unused"])]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 160
    small = splits["train"]["20"]
    assert patient[small].nunique() == 20 < len(small)
    everyone = cases[cases.patient_id.isin(patient[small])]
    assert sorted(everyone.case_id) == small


def test_the_seed_decides(split):
    cases = cohort(160)
    assert split(cases) == split(cases.sample(frac=1, random_state=1))
    assert split(cases)["test"] != split(cases, seed=1)["test"]


def test_a_rejected_patient_moves_few_others(split):
    cases = cohort(160)
    before = split(cases)
    for gone in (before["test"][3], before["train"]["20"][5], before["unused"][0]):
        after = split(cases[cases.case_id != gone])
        assert len(set(before["test"]) ^ set(after["test"])) <= 6
        assert len(set(before["train"]["100"]) ^ set(after["train"]["100"])) <= 12


def test_a_handful_of_patients_can_be_split(split):
    splits = split(cohort(11), n_real=[6], val=1, test=3)
    assert [len(splits[key]) for key in ("test", "val", "unused")] == [3, 1, 1]
    assert len(splits["train"]["6"]) == 6


@pytest.mark.parametrize(
    ("n_patients", "sizes"),
    [
        *((n_patients, {"n_real": [20]}) for n_patients in (4, 5, 8)),
        (5, {"n_real": [2], "test": 1000}),
        (5, {"n_real": [2], "val": 1000}),
        (11, {"n_real": [20, 50]}),
        (60, {}),
        (139, {"n_real": [100]}),
    ],
)
def test_impossible_sizes_are_answered_with_lines_that_work(split, n_patients, sizes):
    with pytest.raises(UserError, match=f"has {n_patients} usable patients") as error:
        split(cohort(n_patients), **sizes)
    lines = str(error.value).split("for example:\n")[1]
    splits = split(cohort(n_patients), **yaml.safe_load(lines)["splits"])
    assert splits["n_patients"]["unused"] == 0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"val": 0}, "splits.val is 0"),
        ({"test": -3}, "splits.test is -3"),
        ({"test": 2.5}, "splits.test is 2.5"),
        ({"n_real": [20, 20]}, "none twice"),
        ({"n_real": []}, "none twice"),
        ({"n_real": [True]}, "each a whole number from 2"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(split, config, words):
    with pytest.raises(UserError, match=words):
        split(cohort(160), **config)


def test_fewer_than_four_patients_cannot_be_split(split):
    with pytest.raises(UserError, match="at least 4 are needed, 2 to train"):
        split(cohort(3), n_real=[2], val=1, test=1)


def test_an_empty_case_table_points_to_the_rejected_cases(split):
    with pytest.raises(UserError, match=r"rejected\.tsv"):
        split(cohort(5).iloc[:0])


def test_a_config_without_a_key_names_it(tmp_path):
    write_tsv(tmp_path / "cases.tsv", cohort(5))
    with pytest.raises(UserError, match="region is missing"):
        split_cohort.main(options(tmp_path, {"n_real": [2], "seed": 0}))


# --- the user's own sets ----------------------------------------------------------------------------------------------
def table_of(tmp_path, rows, head="case_id,set"):
    path = tmp_path / "own.csv"
    path.write_text("\n".join([head, *rows]))
    return path


def test_a_table_of_patients_is_taken_as_it_is(split, tmp_path):
    cases = cohort(40, time_points=2)
    patients = sorted(set(cases.patient_id))
    sets = ["test"] * 9 + ["val"] * 4 + ["train"] * 20 + ["unused"] * 2  # and five that the table leaves out
    table = table_of(tmp_path, map(",".join, zip(patients, sets, strict=False)), "patient_id,set")
    splits = split(cases, table, n_real=[5, 15], others={"5": 10}, val=1, test=1)
    of = lambda ids: set(cases.set_index("case_id").patient_id[ids])  # noqa: E731
    assert (of(splits["test"]), of(splits["val"])) == (set(patients[:9]), set(patients[9:13]))
    assert len(splits["test"]) == 9 + 3, "every third patient has two scans"
    small, large = (of(splits["train"][size]) for size in ("5", "15"))
    assert len(small) == 5 and len(large) == 15 and small < large < set(patients[13:33])
    assert of(splits["others"]["5"]) == large - small
    assert splits["n_patients"] == {"test": 9, "val": 4, "train": [5, 15], "unused": 5 + 7}
    assert read_json(tmp_path / "cohort/test/manifest.json")["sha256"].keys() == set(splits["test"])


def test_a_table_of_cases_may_leave_out_a_scan(split, tmp_path):
    cases = cohort(6, time_points=2)
    sets = dict(zip(sorted(set(cases.patient_id)), ("test", "val", "train", "train", "train", "test"), strict=True))
    rows = [f"{row.case_id},{sets[row.patient_id]}" for row in cases.itertuples() if not row.case_id.endswith("001")]
    splits = split(cases, table_of(tmp_path, rows), n_real=[3])
    assert splits["unused"] == ["P-00000-001", "P-00003-001"] and len(splits["train"]["3"]) == 3


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["P-00000-000,test", "P-00000-001,train", "P-00001-000,val"], r"parts patient P-00000: P-00000-000 in test, P-00000-001"),
        (["P-00000-000,test", "P-99999-000,train", "P-88888-000,val"], r"case_id P-88888-000 and 1 more is no case of the cohort"),
        (["P-00000-000,test", "P-00001-000,val"], "leaves train empty"),
        (["P-00000-000,test", "P-00001-000,val", "P-00001-000,train"], "P-00001-000 is in val and in train"),
        (["P-00000-000,tests"], "has the set 'tests': write train, val, test or unused"),
        (["P-00000-000,"], "line 2: set is empty"),
        ([",val"], "a line of the set val has no case_id"),
        ([], "has no line, or no column case_id or patient_id"),
        (["P-00000-000,test", "P-00001-000,val", "P-00002-000,train", "P-00004-000,train"], r"has 2 patients, but n_real asks for 3"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_taken_is_a_sentence(split, tmp_path, rows, words):
    with pytest.raises(UserError, match=f"splits.file.*{words}"):
        split(cohort(6, time_points=2), table_of(tmp_path, rows), n_real=[3])


@pytest.mark.parametrize("earlier", [False, True], ids=["the model itself", "what it started from"])
@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("case_id", "training_case_ids"),
        ("case_id", "step_chosen_by"),
        ("patient_digest", "training_patient_digests"),
        ("mask_digest", "training_mask_digests"),
    ],
)
def test_no_training_starts_from_a_model_that_has_seen_the_cohorts_patients(split, tmp_path, column, key, earlier):
    cases = cohort(150)
    cases["mask_digest"] = [f"{number:032x}" for number in range(len(cases))]
    digests = cases.assign(patient_digest=cases.patient_id.map(patient_digest))
    file, seen = tmp_path / "model.json", {key: ["SIM-1", digests[column][3], digests[column][7]]}
    start = {"kind": "autoencoder", "name": "first", "weights_sha256": "0" * 64, "training_case_ids": ["SIM-1"]}
    contract = CONTRACT | {"weights_sha256": "0" * 64} | ({"started_from": [start | seen]} if earlier else seen)
    file.write_text(json.dumps(contract))
    said = rf"{file}: this model has seen {cases.case_id[3]} and 1 more of this very cohort, or their patients"
    with pytest.raises(UserError, match=said):
        split(cases, starts=[file])
    file.write_text(json.dumps(contract | {"started_from": [], key: ["SIM-1"]}))
    assert split(cases, starts=[file])["test"]
    file.write_text("[]")
    with pytest.raises(UserError, match="is no model contract"):
        split(cases, starts=[file])
