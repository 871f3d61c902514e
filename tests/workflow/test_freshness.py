"""What lies there is what the study asks for: data that changed are read again, other settings on old files stop."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from small_cases import make_case
from workflow import ROOT, copy_project, planned, snakemake, without_programs

CASES = 8
SETTINGS = (
    "preprocessing={size: [16, 32, 32], spacing_mm: [8, 6, 6], shards: 2}",
    "splits={n_real: [3], val: 1, test: 2}",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with data/ and with project/, in which the cohort has been made."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "project").mkdir()
    project = copy_project(folder / "project")
    for number in range(CASES):
        make_case(folder / "data", f"BraTS-GLI-{number:05d}-000", seed=number)
    done = snakemake(project, "cohort", "--config", f"data_root={folder / 'data'}", *SETTINGS)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder


@pytest.fixture
def study(made, tmp_path) -> tuple[Path, tuple[str, ...]]:
    """A project whose cohort is made, and the arguments that made it."""
    shutil.copytree(made / "project", tmp_path / "project", symlinks=True)
    return tmp_path / "project", ("cohort", "--config", f"data_root={made / 'data'}", *SETTINGS)


@pytest.mark.parametrize("lost", ["renamed", ".snakemake lost"])
def test_other_settings_on_files_of_before_stop_with_both_values(study, lost):
    project, arguments = study
    if lost == "renamed":
        (project / "results/full").rename(project / "results/moved")
        arguments = (*arguments, "run=moved")
    else:
        shutil.rmtree(project / ".snakemake")
    assert not planned(project, *arguments), "the same settings go on"
    done = snakemake(project, "--dry-run", *arguments, "splits={n_real: [3], val: 1, test: 2, seed: 7}")
    assert done.returncode != 0
    for words in ("splits.seed: 0 there, 7 now", "--config run=<name>", "was made with other settings"):
        assert words in done.stdout


def test_what_snakemake_remembers_is_made_again_as_ever(study):
    project, arguments = study
    jobs = planned(project, *arguments, "splits={n_real: [3], val: 1, test: 2, seed: 7}")
    assert set(jobs) == {"split_cohort"}


def test_a_file_that_was_mended_added_or_replaced_makes_the_cohort_again(study, made):
    project, arguments = study
    (made / "data/notes.txt").write_text("no image")
    assert not planned(project, *arguments), "what is no image of a case makes nothing again"
    os.utime(next((made / "data").glob("*00002-000/*-seg.nii.gz")))
    assert planned(project, *arguments)["find_cases"] == 1


# A config that is read on top of another -> that other
BASES = {"demo_all": "demo", "simulated_example": "simulated_study", "brats_mini_systems": "brats_mini"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "config").glob("*.yaml")))
def test_after_a_run_of_a_shipped_config_nothing_is_left_to_do(tmp_path, name):
    project = copy_project(tmp_path)
    without_programs(project)
    files = [f"config/{file}.yaml" for file in (BASES.get(name), name) if file]
    options = ("--configfile", *files, "--config", "data_root=demo")
    done = snakemake(project, "--quiet", "all", *options)
    assert done.returncode == 0, done.stdout[-3000:]
    assert len((project / "ran.txt").read_text().splitlines()) > 50
    assert not planned(project, *options)
