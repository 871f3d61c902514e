"""`pip install .`: what is in the wheel works away from the checkout, and asks for the packages of the lock."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from test_environment import lock, name_of
from workflow import ROOT, copy_project

import sliceaug.__main__ as command

IN_WHEEL = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that pip installed the package into, from a copy: a build leaves files beside its source."""
    source, target = copy_project(tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("installed")
    for name in IN_WHEEL:
        shutil.copy2(ROOT / name, source)
    shutil.copytree(ROOT / "sliceaug", source / "sliceaug", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", str(target)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return target


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Python on the installed package and no other, in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_every_file_of_the_workflow_is_in_the_wheel(installed):
    project = installed / "sliceaug" / "project"
    for folder in ("rules", "config", "profiles", "workflow_scripts"):
        found = installed if folder == "workflow_scripts" else project
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and file.name not in ("README.md", "schema.json"):
                assert (found / file.relative_to(ROOT)).is_file(), file
    assert (installed / "sliceaug" / "py.typed").is_file() and not (project / "setup.py").exists()


def test_another_folder_can_import_it_and_finds_its_data_sets(installed, tmp_path):
    code = "import sliceaug, sys; from workflow_scripts.study.dataset import read_dataset as read; print(sliceaug.__file__)"
    done = run(installed, tmp_path, "-c", f"{code}; print(*read('brats').modalities, 'torch' in sys.modules)")
    assert done.stdout.split() == [str(installed / "sliceaug/__init__.py"), "t1n", "t1c", "t2w", "t2f", "False"], done
    assert not list(tmp_path.iterdir())


def test_the_command_lists_its_programs_and_each_knows_its_options(installed, tmp_path):
    script = str(installed / "bin" / "sliceaug")
    done = run(installed, tmp_path, script, "--help")
    assert done.returncode == 0 and all(f"  {name} " in done.stdout for name in command.PROGRAMS), done
    told = run(installed, tmp_path, script, "synthesize", "--help").stdout
    assert "usage: sliceaug synthesize [-h]" in told
    assert "--requests" in told
    done = run(installed, tmp_path, script, "synthesize", "--model", "nowhere", "--count", "1", "--out", "x")
    assert done.returncode == 2 and "nowhere holds no trained model" in done.stderr and "Traceback" not in done.stderr


def test_the_workflow_needs_nothing_of_the_public_package():
    files = [*(ROOT / "workflow_scripts").rglob("*.py"), *(ROOT / "rules").glob("*.smk")]
    assert len(files) > 200
    assert not [
        file for file in files if re.search(r"^\s*(from|import) sliceaug\b", file.read_text(), flags=re.MULTILINE)
    ]


@pytest.mark.parametrize("name", command.PROGRAMS)
def test_every_command_is_a_program(name):
    assert (ROOT / "workflow_scripts/programs" / (command.PROGRAMS[name][0].replace(".", "/") + ".py")).is_file()


def test_a_study_is_planned_away_from_the_checkout(installed, tmp_path):
    """With the package's own Snakefile, and its config.yaml below what the user gives."""
    (tmp_path / "mine.yaml").write_text("run: mine\n")
    options = ["--configfile", "mine.yaml", "--config", "data_root=demo"]
    done = run(installed, tmp_path, "-m", "sliceaug", "status", *options)
    assert done.returncode == 0 and done.stdout.startswith("results/mine: 0 of "), done
    code = "from workflow_scripts.operations.plan import with_project; print(*with_project(['--configfile=a.yaml']))"
    words = run(installed, tmp_path, "-c", code).stdout.split()
    project = installed / "sliceaug" / "project"
    assert words == ["--snakefile", f"{project}/Snakefile", "--configfile", f"{project}/config/config.yaml", "a.yaml"]


def test_the_bounds_of_the_dependencies_hold_what_the_lock_holds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted, pins = [Requirement(text) for text in project["dependencies"]], lock()
    wrong = [str(one) for one in wanted if not one.specifier.contains(pins[name_of(one.name)])]
    assert wrong == []
    assert all(len(one.specifier) == 2 for one in wanted), (
        "from the tried release on, below the next one that may break"
    )
