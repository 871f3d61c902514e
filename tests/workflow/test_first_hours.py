"""The pages of the first hour, and that of preparing data, are typed: each whole, by a shell, from top to bottom, with Snakemake and make planning only."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import warm
import yaml
from raw_folders import CT, raw_folder
from small_cases import make_case
from workflow import ROOT, copy_project

from tests.stages.test_new_kind import add_kind
from workflow_scripts.study.settings.files import merge, read_yaml
from workflow_scripts.study.settings.study import read_study

# Plans, and notes each plan's jobs: none is a mistake of the page.
SNAKEMAKE = 'exec {python} -m snakemake --cores 1 --quiet reason "$@" --dry-run | tee -a plans.txt\n'
# A program whose files a plan does not make says so, in a sentence; one that does not know an option prints its usage.
PYTHON = '{python} "$@" 2>error.txt || {{ cat error.txt; ! grep -q -e usage: -e Traceback error.txt; }}\n'
MAKE = 'exec /usr/bin/make --dry-run "$@"\n'


@pytest.fixture
def project(tmp_path):
    (tmp_path / "SliceAug").mkdir()
    folder = copy_project(tmp_path / "SliceAug")
    for name in ("workflow", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    for name, text in {".venv/bin/snakemake": SNAKEMAKE, ".venv/bin/python": PYTHON, "bin/make": MAKE}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("#!/bin/bash\nset -o pipefail\n" + text.format(python=shlex.quote(warm.python())))
        (folder / name).chmod(0o755)
    return folder


def type_page(project: Path, name: str) -> list[dict[str, int]]:
    """Types the page; the jobs that each call of Snakemake plans, by rule."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / name).read_text(), flags=re.DOTALL)
    text = "".join(blocks).replace("/path/to/SliceAug", str(project)).replace("/data/", f"{project}/data/")
    for folder in set(re.findall(rf"{project}/data/\w+", text)):
        Path(folder).mkdir(parents=True, exist_ok=True)
    command = ["bash", "-euc", f"export PATH={shlex.quote(str(project / 'bin'))}:$PATH\n{text}"]
    done = subprocess.run(command, cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-4000:]
    plans = (project / "plans.txt").read_text().split("Building DAG of jobs...")[1:]
    return [{rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", plan, flags=re.MULTILINE)} for plan in plans]


def test_few_patients(project):
    look, *folds = type_page(project, "first_hour_few_patients.md")
    assert "train_autoencoder" not in look and look["split_cohort"] == 1
    assert len(folds) == 3 and all(fold["train_segmentation"] == 4 for fold in folds)


def test_prepare_your_data(project):
    raw_folder(project / "data/Dataset123_X", CT, 1, numbered=True)
    raw, *folds = type_page(project, "prepare_your_data.md")
    assert raw["train_segmentation"] > 50 and raw["find_cases"] == 1
    assert len(folds) == 3 and len({fold["train_segmentation"] for fold in folds}) == 1


def test_cluster(project):
    profile, elsewhere, module = type_page(project, "first_hour_cluster.md")
    assert profile == elsewhere and profile["train_segmentation"] == 84
    assert module["sliceaug_train_segmentation"] == 84 and module["summarise"] == 1


def test_generator(project):
    add_kind(project)
    for number in range(12):
        make_case(project / "data/their_cases", f"GAN-{number:03d}", seed=number)
    compared, cohort, kind = type_page(project, "first_hour_generator.md")
    assert compared["read_external"] == compared["train_autoencoder"] == 1 and "train_autoencoder" not in cohort
    assert kind["train_generator"] == 2 and kind["train_autoencoder"] == 1


def test_numbers(project):
    demo = merge(read_yaml(ROOT / "config/config.yaml"), read_yaml(ROOT / "config/demo.yaml"))
    (project / "run.yaml").write_text(yaml.safe_dump(read_study(demo).asked()))  # as the report gives it
    scores = project / "results/demo/evaluation/scores.tsv"
    scores.parent.mkdir(parents=True)
    row = {"system": "slice_ldm", "ratio": 1, "control": None, "region": "lesion", "dice": 0.5}
    pd.DataFrame([row]).to_csv(scores, sep="\t", index=False)
    table, everything, *_, check = type_page(project, "first_hour_numbers.md")
    assert table["make_table"] >= 1 and "make_report" not in table
    assert everything["train_segmentation"] == check["train_segmentation"] == 6
