"""The systems that are shipped, and one more that is one YAML file, through the whole DAG to the tables that compare them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from workflow import ROOT, copy_project, planned, snakemake

from workflow_scripts.reporting.tables.cells import read_mixed_csv

ALL = ("--configfile", "tests/tiny.yaml", "tests/tiny_all.yaml")
TABLES = ("--", *(f"results/tiny_all/tables/{name}.csv" for name in ("compute", "systems")))
SIX = ["slice_ldm", "slice_ldm_2d", "ldm_3d", "ldm_3d_reduced", "ddpm_3d", "lsgan_3d"]
OWN = "slice_ldm_attention"  # the example of config/README.md


class Study(NamedTuple):
    systems: list[str]
    arguments: tuple[str, ...]  # that Snakemake is given for it
    results: Path


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("systems"))
    (folder / "tests").mkdir()
    for name in ("tiny.yaml", "tiny_all.yaml"):
        (folder / "tests" / name).write_text((ROOT / "tests" / name).read_text())
    example = re.search(
        r"```yaml\n(label: slice latents with attention.*?)```", (ROOT / "config/README.md").read_text(), re.S
    )
    (folder / f"config/systems/{OWN}.yaml").write_text(example.group(1))
    return folder


@pytest.fixture(scope="module")
def study(project) -> Study:
    """A study that reached its tables."""
    systems = [*SIX, "carvemix", OWN]
    settings = yaml.safe_load((project / "tests/tiny_all.yaml").read_text())
    settings["systems"] = systems
    settings["system_settings"] = {name: settings["system_settings"].get(name, {}) for name in systems}
    (project / "tests/all_systems.yaml").write_text(yaml.safe_dump(settings))
    arguments = ("--configfile", "tests/tiny.yaml", "tests/all_systems.yaml")
    done = snakemake(project, *arguments, *TABLES, timeout=5000)
    assert done.returncode == 0, done.stdout[-4000:]
    return Study(systems, arguments, project / "results/tiny_all")


def test_autoencoders_are_trained_once_for_the_systems_that_share_them(project):
    jobs = planned(project, *ALL)
    assert jobs["train_autoencoder"] == jobs["extract_latents"] == 2
    assert jobs["train_generator"] == jobs["measure_cost"] == 8
    assert jobs["measure_tumours"] == 1


@pytest.mark.parametrize(
    ("systems", "autoencoders"),
    [(["slice_ldm", "lsgan_3d"], 1), (["lsgan_3d"], 0), (["slice_ldm_2d"], 1), (["slice_ldm_2d", "ldm_3d_reduced"], 2)],
)
def test_systems_are_picked_on_the_command_line(project, systems, autoencoders):
    jobs = planned(project, "--config", "data_root=demo", f"systems=[{','.join(systems)}]")
    assert jobs["train_generator"] == 3 * len(systems)
    assert jobs["train_autoencoder"] == 3 * autoencoders
    ladder = 2 * 3 * (1 + autoencoders)  # ceiling and reconstructions, at two of three sizes
    assert jobs["train_segmentation"] == 9 * (3 + 5 * len(systems)) + ladder


@pytest.mark.slow
@pytest.mark.timeout(6000)
def test_every_system_reaches_both_tables(study):
    names, results = study.systems, study.results
    compute, systems = (read_mixed_csv(results / "tables" / f"{name}.csv") for name in ("compute", "systems"))
    assert list(systems.system) == names
    for column in (
        "fid",
        "fid_floor",
        "whole_tumor_dice_gain",
        "seconds_per_volume",
        "peak_memory_mib",
        "parameters_m",
    ):
        assert all(isinstance(value, float | int) for value in systems[column]), column
    assert set(compute[compute.setting == "this run"].system) == set(names)
    assert set(compute[compute.setting != "this run"].system) == set(SIX) - {"lsgan_3d"}


@pytest.mark.slow
@pytest.mark.timeout(6000)
def test_no_system_learned_from_a_case_outside_its_train_subset(study):
    names, results = study.systems, study.results
    train = sorted(json.loads((results / "cohort/splits.json").read_text())["train"]["4"])
    models = {path.parent.name: path for path in results.glob("n_real~4/*/*/model.json")}
    autoencoders = {"slice_vae", "vae_3d"} if "ldm_3d" in names else {"slice_vae"}
    assert models.keys() == {*names, *autoencoders}
    for path in models.values():
        assert json.loads(path.read_text())["training_case_ids"] == train, path


@pytest.mark.slow
@pytest.mark.timeout(6000)
def test_a_second_run_has_nothing_to_do_and_a_setting_of_one_system_reruns_that_one(study, project):
    assert planned(project, *study.arguments, *TABLES) == {}
    changed = ("--config", "system_settings={lsgan_3d: {gan: {embedding_dim: 8}}}")
    jobs = planned(project, *study.arguments, *changed, *TABLES)
    assert jobs["train_generator"] == 1 and "train_autoencoder" not in jobs
