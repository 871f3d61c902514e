"""The workflow in other folders: with --directory, as a module of another workflow, as snakedeploy and the catalog have it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from workflow import ROOT, planned, snakemake

TINY = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
PAGE = (ROOT / "docs/first_hour_cluster.md").read_text()
# What `snakedeploy deploy-workflow` 0.17 writes, with a folder in place of a repository's address.
DEPLOYED = f"""
configfile: "config/config.yaml"

module sliceaug:
    snakefile:
        "{ROOT}/workflow/Snakefile"
    config:
        config

use rule * from sliceaug
"""


def write(folder: Path, snakefile: str, config: dict) -> Path:
    """A project with its workflow/Snakefile and config/config.yaml."""
    for name, text in {"workflow/Snakefile": snakefile, "config/config.yaml": yaml.safe_dump(config)}.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    return folder


def test_another_folder_needs_no_config_and_may_have_its_own(tmp_path):
    elsewhere = ("cohort", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path)
    assert planned(ROOT, *elsewhere, "--config", "data_root=demo")["preprocess"] == 16, "of config/config.yaml"
    write(tmp_path, "", TINY)
    assert planned(ROOT, *elsewhere)["preprocess"] == 2


def test_what_snakedeploy_writes_plans_the_study_with_files_of_the_folders_own(tmp_path):
    project = write(tmp_path, DEPLOYED, TINY | {"systems": ["slice_ldm", "mine"], "dataset": "ours"})
    for file, text in {
        "systems/mine": "label: mine\nautoencoder: slice_ldm\n",
        "datasets/ours": "like: brats\n",
    }.items():
        path = project / f"config/{file}.yaml"
        path.parent.mkdir()
        path.write_text(text)
    (project / "data").mkdir()
    jobs = planned(project, "--config", f"data_root={project / 'data'}")
    assert jobs["train_generator"] == 2 and jobs["demo_cohort"] == 0


def test_rules_fetched_from_a_repository_run_with_the_installed_package(tmp_path, monkeypatch):
    """Snakemake fetches the rules alone. The repository's address leads here; PYTHONPATH stands for what pip installs."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    if not head:
        pytest.skip("no git repository")
    address = f'github("some/SliceAug", path="workflow/Snakefile", commit="{head}")'
    project = write(tmp_path, DEPLOYED.replace(f'"{ROOT}/workflow/Snakefile"', address), TINY)
    settings = {f"url.file://{ROOT}/.git.insteadOf": "https://github.com/some/SliceAug", "safe.directory": "*"}
    for number, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert planned(project)["train_segmentation"] == 5


def test_the_module_of_the_docs_lies_beside_rules_of_the_other_workflows_own(tmp_path):
    snakefile = re.search(r"Snakefile <<'EOF'\n(.*?)EOF", PAGE, flags=re.DOTALL)[1].replace(
        "results/mine", "results/tiny"
    )
    project = write(tmp_path, snakefile.replace("/path/to/SliceAug", str(ROOT)), {"sliceaug": TINY, "own": {"key": 1}})
    jobs = planned(project)
    assert jobs["sliceaug_train_segmentation"] == 5 and jobs["summarise"] == 1
    done = snakemake(project, "--dry-run", "results/tiny/tables/cost.csv", "--printshellcmds")
    stages = re.search(r'"stages": \[(.*?)\]', done.stdout)[1]
    assert '"train_segmentation"' in stages and "sliceaug_" not in stages and "make_report" not in stages


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_the_catalogs_test_is_a_study_of_minutes(tmp_path, snakefile):
    shutil.copytree(ROOT / ".test", tmp_path / ".test", symlinks=False)
    jobs = planned(ROOT, "--snakefile", ROOT / snakefile, "--directory", tmp_path / ".test")
    assert jobs["train_segmentation"] == 5
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) <= {"mandatory-flags", "software-stack-deployment", "report"}
