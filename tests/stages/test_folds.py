"""A study for each fold: every patient is tested once, and the scores of all folds are one table."""

import pandas as pd
import pytest
from study_files import make_table, study
from test_splits import cohort, split  # noqa: F401 (a fixture)
from workflow import ROOT

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.operations.study_file import write_settings
from workflow_scripts.programs.reporting import pool_folds
from workflow_scripts.study.settings.files import merge, read_yaml
from workflow_scripts.study.settings.study import read_study

FOLDS = 3


def test_every_patient_is_tested_once_and_none_is_in_two_sets(split):  # noqa: F811
    cases = cohort(31, time_points=2)
    patient = cases.set_index("case_id").patient_id
    tested = []
    for fold in range(FOLDS):
        splits = split(cases, n_real=[5, 12], val=3, folds=FOLDS, fold=fold)
        sets = [set(patient[ids]) for ids in (splits["test"], splits["val"], splits["train"]["12"])]
        assert [len(one) for one in sets[1:]] == [3, 12] and len(sets[0]) in (10, 11)
        assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
        assert set(splits["train"]["5"]) < set(splits["train"]["12"])
        assert sorted([*splits["test"], *splits["val"], *splits["train"]["12"], *splits["unused"]]) == sorted(
            patient.index
        )
        tested += splits["test"]
        volumes = cases.set_index("case_id").whole_tumor_ml
        assert volumes[splits["test"]].median() == pytest.approx(volumes.median(), rel=0.5), "a third of each stratum"
    assert sorted(tested) == sorted(patient.index)


def test_too_few_patients_for_the_folds_are_told(split):  # noqa: F811
    with pytest.raises(
        UserError, match=r"12 usable patients in 3 folds leave 8 .*\nsplits: {n_real: \[5\], val: 3, folds: 3}"
    ):
        split(cohort(12), n_real=[9], val=3, folds=3)


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"fold": 1}, "splits.fold is 1, but there are folds 0 to 0"),
        ({"folds": 3, "file": "x.csv"}, "exclude each other"),
    ],
)
def test_folds_that_do_not_fit_are_told(splits, words):
    with pytest.raises(UserError, match=words):
        read_study({"data_root": "demo", "splits": splits})


# --- pooled -----------------------------------------------------------------------------------------------------------
def runs_of(tmp_path, **settings):
    """A run a fold: what `gather_scores` and `study.json` hold of it; and the dice.tsv of one study of all patients."""
    files = study(tmp_path / "whole", cases=12)
    scores = pd.concat([read_tsv(file).assign(system=lambda table: table.system.fillna("none")) for file in files])
    number = scores.case_id.str.extract(r"-(\d{5})-")[0].astype(int)
    tiny = read_yaml(ROOT / "tests/tiny.yaml")
    for fold in range(FOLDS):
        own = {"splits": {"n_real": [20], "folds": FOLDS, "fold": fold}, "demo_cohort": {"cases": 40}} | settings
        run = tmp_path / f"mine_{fold}"
        write_tsv(run / "evaluation/scores.tsv", scores[number // 4 == fold])
        write_settings(run, read_study(merge(tiny, own)).plain())
    return files, [tmp_path / f"mine_{fold}" for fold in range(FOLDS)]


def pool(tmp_path, runs):
    pool_folds.main(["--runs", *map(str, runs), "--out", str(tmp_path / "pooled")])
    return tmp_path / "pooled"


def test_pooled_tables_are_those_of_a_study_of_all_patients(tmp_path):
    files, runs = runs_of(tmp_path, evaluation={"tables": {"bootstrap_samples": 500}})
    out = pool(tmp_path, runs[::-1])
    table, whole = pd.read_csv(out / "tables/augmentation_ratio.csv"), make_table(tmp_path, files)
    assert table.n_patients.tolist() == [12] * len(whole) and table.dice_mean.tolist() == whole.dice_mean.tolist()
    assert table.dice_difference_low.tolist() == whole.dice_difference_low.tolist(), "paired, over all patients"
    assert {path.stem for path in (out / "tables").iterdir()} == {"augmentation_ratio", "ladder", "exchange"}
    assert sorted(read_tsv(out / "scores.tsv").fold.unique()) == [0, 1, 2]


def test_a_training_before_its_onset_counts_in_its_own_fold(tmp_path):
    _, runs = runs_of(tmp_path)
    scores = read_tsv(runs[1] / "evaluation/scores.tsv")
    write_tsv(runs[1] / "evaluation/scores.tsv", scores.assign(onset="rising"))
    table = pd.read_csv(pool(tmp_path, runs) / "tables/augmentation_ratio.csv")
    assert set(table.onset) == {"rising in 2 of 6 seeds"}, "two seeds of three folds"


def test_runs_that_are_not_all_folds_of_one_study_are_told(tmp_path):
    _, runs = runs_of(tmp_path)
    with pytest.raises(UserError, match=r"the runs are of folds \[0, 2\] of 3: give one run for each fold"):
        pool(tmp_path, [runs[0], runs[2]])
    other = merge(read_yaml(ROOT / "tests/tiny.yaml"), {"splits": {"n_real": [20], "folds": 3, "fold": 1}})
    write_settings(runs[1], read_study(merge(other, {"training_seed": 5, "demo_cohort": {"cases": 40}})).plain())
    with pytest.raises(UserError, match=r"mine_1 has other settings than .*mine_0: training_seed. Only splits.fold"):
        pool(tmp_path, runs)


def test_a_patient_who_is_tested_twice_is_told(tmp_path):
    _, runs = runs_of(tmp_path)
    scores = read_tsv(runs[0] / "evaluation/scores.tsv").assign(case_id="again", region="whole_tumor")
    scores = scores.drop_duplicates(["system", "ratio", "synthetic_only", "seed"]).assign(
        system=lambda t: t.system.fillna("none")
    )
    write_tsv(runs[1] / "evaluation/scores.tsv", scores)
    with pytest.raises(UserError, match=r"patient BraTS-GLI-00000 is tested in .*mine_0 and in .*mine_1"):
        pool(tmp_path, runs)
