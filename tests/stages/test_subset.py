"""The folder of a subset: its own cases alone, by links that move with the run, and every file as it was preprocessed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_cases import make_case, prepare
from subsets import subset_paths

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_json
from workflow_scripts.cohort.subset import Subset, check_apart
from workflow_scripts.cohort.volumes import SUFFIXES, VolumeStore


@pytest.fixture
def run(tmp_path, preprocessed_cohort):
    """A cohort of four: two to train, one to validate, one to test."""
    folder = preprocessed_cohort(tmp_path / "run", cases=4)
    ids = list(read_tsv(folder / "cases.tsv").case_id)
    write_json(folder / "splits.json", {"train": {"2": ids[:2]}, "val": ids[2:3], "test": ids[3:]})
    return folder


def test_a_subset_holds_its_cases_and_what_stages_need_of_their_rows(run):
    subset = Subset.open(subset_paths(run, "train")["train"], "train")
    cases = read_tsv(run / "cases.tsv").set_index("case_id")
    assert subset.case_ids == list(cases.index[:2]) == subset.first_of_each_patient and subset.n_patients == 2
    names = {f"{case_id}{suffix}" for case_id in subset.case_ids for suffix in SUFFIXES}
    assert {file.name for file in subset.manifest.parent.iterdir()} == names | {"manifest.json"}
    store = VolumeStore(run / "volumes")
    for case_id, row in subset.rows.items():
        assert row["seg_path"] == cases.seg_path[case_id] and row["layout"] == "brats2023"
        np.testing.assert_array_equal(subset.store.image(case_id), store.image(case_id))
        np.testing.assert_array_equal(subset.store.levels(case_id), store.levels(case_id))
        assert subset.store.meta(case_id) == store.meta(case_id)


def test_simulated_cases_are_found_where_their_run_was_moved(tmp_path):
    """Moved before the subsets are made, and again behind it; the user's own cases stay where they are."""
    for number in range(2):
        make_case(tmp_path / "run/data", f"BraTS-GLI-{number:05d}-000", seed=number)
    prepare(tmp_path / "run/data", tmp_path / "run/cohort", movable=True)
    ids = list(read_tsv(tmp_path / "run/cohort/cases.tsv").case_id)
    (tmp_path / "run").rename(tmp_path / "moved")
    manifest = subset_paths(tmp_path / "moved/cohort", "test", n_real=1, splits={"test": ids})["test"]
    (tmp_path / "moved").rename(tmp_path / "again")
    subset = Subset.open(tmp_path / "again" / manifest.relative_to(tmp_path / "moved"))
    for case_id in ids:
        mask = Path(subset.rows[case_id]["seg_path"])
        assert mask.is_file() and mask.name == f"{case_id}-seg.nii.gz"


def read_all(subset):
    for case_id in subset.case_ids:
        subset.store.meta(case_id), subset.store.image(case_id), subset.store.levels(case_id)


def test_a_run_that_was_moved_is_the_same(run):
    manifest = subset_paths(run, "val")["val"]
    moved = run.rename(run.with_name("elsewhere"))
    read_all(Subset.open(moved / manifest.relative_to(run)))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("change", ["deleted", "changed", "link deleted"])
def test_a_file_that_is_gone_or_changed_is_named_with_its_case_and_the_command(run, suffix, change):
    manifest = subset_paths(run, "train")["train"]
    subset = Subset.open(manifest)
    case_id = subset.case_ids[1]
    file = (run / "volumes" if change != "link deleted" else manifest.parent) / f"{case_id}{suffix}"
    if change == "changed":
        file.write_bytes(file.read_bytes()[:-1] + b" ")
    else:
        file.unlink()
    with pytest.raises(UserError, match=rf"case {case_id}.*{file.name}.*`snakemake -R preprocess`"):
        read_all(subset)


def test_no_case_of_another_subset_can_be_read_or_lie_there(run):
    paths = subset_paths(run, "train", "test")
    subset, foreign = Subset.open(paths["train"]), Subset.open(paths["test"]).case_ids[0]
    with pytest.raises(UserError, match=f"case {foreign} is not in the subset"):
        subset.store.image(foreign)
    (paths["train"].parent / f"{foreign}.image.npy").symlink_to(run / f"volumes/{foreign}.image.npy")
    with pytest.raises(UserError, match=f"holds {foreign}.image.npy, which is no file of this subset"):
        Subset.open(paths["train"])
    Subset.open(subset_paths(run, "train")["train"])  # made again, it is gone


def test_a_patient_in_two_subsets_and_the_wrong_subset_are_refused(run):
    paths = subset_paths(run, "train", "val")
    with pytest.raises(UserError, match="is the val subset, not train"):
        Subset.open(paths["val"], "train")
    splits = read_json(run / "splits.json")
    both = subset_paths(run, "train", "val", splits=splits | {"val": splits["train"]["2"][:1]})
    with pytest.raises(UserError, match="patient BraTS-GLI-00000 is in both"):
        check_apart(*(Subset.open(path) for path in both.values()))


@pytest.mark.parametrize("damage", ["no JSON", "[]", '{"subset": "train", "cases": [], "sha256": {"a": {}}}'])
def test_a_damaged_manifest_is_named(run, damage):
    manifest = subset_paths(run, "val")["val"]
    manifest.write_text(damage)
    with pytest.raises(UserError, match=r"manifest\.json"):
        Subset.open(manifest)
    shutil.rmtree(manifest.parent)
    with pytest.raises(UserError, match=r"missing file .*manifest\.json"):
        Subset.open(manifest)
