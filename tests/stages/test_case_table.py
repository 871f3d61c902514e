"""A table that names the files of the cases, as data_root."""

import shutil

import numpy as np
import pytest
import yaml
from raw_folders import MR, raw_folder
from small_cases import prepare
from workflow import ROOT, copy_project, snakemake

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv
from workflow_scripts.cohort.case_table import listing
from workflow_scripts.study.blocks import merge_cohort
from workflow_scripts.study.dataset import read_dataset

GRID = {"spacing_mm": [6.0, 6.0, 6.0], "size": [16, 32, 32]}
HEAD = "case_id,patient_id,T2,ADC,mask,age"


def table_of(tmp_path, count: int = 3, name: str = "cases.csv", mark: str = ","):
    """A table over the files of a raw folder, given odd names, with the folder's dataset.json beside it; paths seen from it."""
    root = raw_folder(tmp_path / "raw", MR, count, numbered=True)
    rows = [HEAD]
    for number in range(count):
        words = {"T2": f"imagesTr/case_{number:03d}_0000", "ADC": f"imagesTr/case_{number:03d}_0001"}
        for word, path in (words | {"m": f"labelsTr/case_{number:03d}"}).items():
            shutil.move(root / f"{path}.nii.gz", root / f"{number} {word}.nii.gz")
        files = [f"{number} T2.nii.gz", f"{root}/{number} ADC.nii.gz", f"{number} m.nii.gz"]
        rows.append(",".join([f"Fall {number}", f"P{number // 2}", *files, "60"]))
    path = root / name
    path.write_text("\n".join(rows).replace(",", mark) + "\n", encoding="utf-8-sig")
    return path


def cohort_of(table, out, dataset=None, **config):
    dataset = dataset or read_dataset("nnunet", str(table))
    own = {"dataset": dataset.model_dump(mode="json"), "modalities": dataset.modalities, **GRID} | config
    return prepare(table, out, own)


@pytest.mark.parametrize(("name", "mark"), [("cases.csv", ","), ("cases.csv", ";"), ("cases.tsv", "\t")])
def test_cases_are_those_of_the_table(tmp_path, name, mark):
    cases = read_tsv(cohort_of(table_of(tmp_path, name=name, mark=mark), tmp_path / "out") / "cases.tsv")
    assert dict(zip(cases.case_id, cases.patient_id, strict=True)) == {"Fall 0": "P0", "Fall 1": "P0", "Fall 2": "P1"}
    assert cases.T2_path[2].endswith("2 T2.nii.gz") and (cases.PZ_and_TZ_ml > cases.TZ_ml).all()


def test_the_table_decides_who_is_who(tmp_path):
    table = table_of(tmp_path)
    config = {"data_set": read_dataset("nnunet", str(table)).model_dump(mode="json"), "patients": None}
    config |= {"data_root": str(table), "layout": "auto", "on_bad_case": "reject"}
    assert merge_cohort(config)["patients"] is True
    assert merge_cohort(config | {"data_root": str(table.parent)})["patients"] is False


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (HEAD, HEAD.replace("ADC", "adc"), "has no column ADC. Its first line must be: case_id,patient_id,T2,ADC,mask"),
        ("Fall 1,P0", "Fall 1,", "line 3: patient_id is empty"),
        ("Fall 1,P0", "Fall 1", "line 3: 5 entries, not the 6 of the first line"),
        (HEAD, "", "its first line is empty"),
    ],
)
def test_a_wrong_table_is_a_sentence(tmp_path, old, new, words):
    table = table_of(tmp_path)
    table.write_text(table.read_text("utf-8-sig").replace(old, new))
    with pytest.raises(UserError) as caught:
        cohort_of(table, tmp_path / "out")
    assert words in str(caught.value) and str(table) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("1 T2.nii.gz", "1 T1.nii.gz"), "the file is not there"),
        (lambda text: text.replace("Fall 1", "Fall 0"), "the case id is there more than once"),
        (lambda text: text.replace("Fall 1", "../Fall"), "the case id holds '/'"),
        (lambda text: text.replace("Fall 1", "fall 0"), "cannot be told from"),
    ],
)
def test_a_line_that_is_no_case_is_refused(tmp_path, change, words):
    table = table_of(tmp_path)
    table.write_text(change(table.read_text("utf-8-sig")))
    out = cohort_of(table, tmp_path / "out")
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert words in row.reason and len(read_tsv(out / "cases.tsv")) == 2


def test_labels_that_could_mean_several_things_are_asked_for(tmp_path):
    mine = {"like": "nnunet", "layouts": {"old": {"example": "x", "files": "{case}_{part}", "asked": True}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    table = table_of(tmp_path)
    plain = read_dataset(str(tmp_path / "mine.yaml"), str(table)).model_dump()
    plain["layouts"]["old"]["labels"] = {1: "TZ", 2: "PZ_and_TZ"}
    dataset = type(read_dataset("nnunet", str(table))).model_validate(plain)
    with pytest.raises(UserError, match=r"not what their labels mean[^$]*layout: old   # 1 is TZ, 2 is PZ_and_TZ"):
        cohort_of(table, tmp_path / "out", dataset)
    cases = read_tsv(cohort_of(table, tmp_path / "out", dataset, layout="old") / "cases.tsv")
    assert set(cases.layout) == {"old"}


def test_a_changed_file_or_line_is_another_cohort(tmp_path):
    table = table_of(tmp_path)
    before = listing(table)
    assert listing(table) == before
    (table.parent / "0 T2.nii.gz").write_bytes(b"another")
    changed = listing(table)
    table.write_text(table.read_text("utf-8-sig").replace("Fall 0", "Fall 00"))
    assert len({before, changed, listing(table)}) == 3


def test_a_study_takes_a_table_of_cases_and_sets(tmp_path):
    """Cases of any place, those of another hospital as the test set: one table says both."""
    project, table = copy_project(tmp_path), table_of(tmp_path, 5)
    sets = ["train", "train", "val", "test", "test"]
    head, *rows = table.read_text("utf-8-sig").splitlines()
    rows = [
        f"{row},{name}".replace(f",P{place // 2},", f",Q{place},")
        for place, (row, name) in enumerate(zip(rows, sets, strict=True))
    ]
    table.write_text("\n".join([f"{head},set", *rows]))
    arguments = ["--configfile", str(ROOT / "tests/tiny.yaml"), "--config", "dataset=nnunet", "run=table"]
    splits = f"splits={{n_real: [2], file: {table}}}"
    done = snakemake(project, "cohort", *arguments, splits, f"data_root={table}")
    assert done.returncode == 0, done.stdout[-4000:]
    found = read_json(project / "results/table/cohort/splits.json")
    assert (found["test"], found["val"]) == (["Fall 3", "Fall 4"], ["Fall 2"])
    assert found["train"] == {"2": ["Fall 0", "Fall 1"]}
    done = snakemake(project, "-n", *arguments, f"data_root={tmp_path / 'absent.csv'}")
    assert done.returncode != 0 and "is no folder, nor a table, that can be read" in done.stdout


def test_images_are_told_apart_by_their_columns(tmp_path):
    table = table_of(tmp_path, 2)
    swapped = table.read_text("utf-8-sig").replace("T2,ADC,mask", "ADC,T2,mask")
    table.write_text(swapped)
    cases = read_tsv(cohort_of(table, tmp_path / "out") / "cases.tsv")
    assert cases.ADC_path[0].endswith("0 T2.nii.gz") and np.isfinite(cases.TZ_ml).all()
