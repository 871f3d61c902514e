"""One lock: what is installed here, the lock, the conda environment and both images name the same packages and versions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from workflow import ROOT, copy_project, snakemake

from workflow_scripts.base.errors import UserError
from workflow_scripts.study.settings.study import check_image

ENVS = Path(__file__).resolve().parents[2] / "envs"
# Tools that come with an environment of their own, not pinned.
BOOTSTRAP = {"pip", "setuptools", "wheel"}
IMAGES = ("Dockerfile", "sliceaug.def")
LOCK_IN_IMAGE = "/usr/local/share/sliceaug/requirements.lock"


def name_of(pin: str) -> str:
    return pin.split("==")[0].lower().replace("_", "-").replace(".", "-")


def lock(*parts: str) -> dict[str, str]:
    """Name -> version of these parts of the lock; none: of what `make install` installs."""
    lines = [
        line for part in parts or ("requirements", "test") for line in (ENVS / f"{part}.lock").read_text().splitlines()
    ]
    return {name_of(line): line.split("==")[1] for line in lines if line and not line.startswith("#")}


def conda_dependencies() -> list:
    return yaml.safe_load((ENVS / "sliceaug.yaml").read_text())["dependencies"]


def needed_by(name: str, extras: set[str]) -> list[Requirement]:
    """What an installed package asks for here."""
    found = [Requirement(text) for text in distribution(name).requires or []]
    return [one for one in found if not one.marker or any(one.marker.evaluate({"extra": e}) for e in ("", *extras))]


def run_part() -> dict[str, list[Requirement]]:
    """Packages of the lock that the workflow itself needs, and what each of them asks for: no tool of tests and style."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    todo, found = [Requirement(text) for text in project["dependencies"]], {}
    while todo:
        one = todo.pop()
        name = name_of(one.name)
        if name in lock() and (name not in found or one.extras):
            found[name] = needed_by(name, one.extras)
            todo += [more for more in found[name] if name_of(more.name) not in found or more.extras]
    return found


def test_the_conda_environment_holds_the_locks_pins_of_what_runs_and_pip_can_install_them_together():
    """Conda lets pip resolve dependencies, so that one pin that another package refuses leaves no environment at all."""
    pins = next(part["pip"] for part in conda_dependencies() if isinstance(part, dict))
    run = run_part()
    assert {name_of(pin): pin.split("==")[1] for pin in pins} == {name: lock()[name] for name in run}
    refused = [
        (name, str(one))
        for name, wanted in run.items()
        for one in wanted
        if (pin := lock().get(name_of(one.name))) and not one.specifier.contains(pin, prereleases=True)
    ]
    assert refused == []
    assert set(lock("requirements")) == set(run), "and the lock's other part is what no study needs"
    assert not set(lock("requirements")) & set(lock("test"))


def test_the_lock_is_what_runs_here():
    installed = {name_of(item.metadata["Name"]): item.version.split("+")[0] for item in distributions()}
    wrong = {name: (version, installed.get(name)) for name, version in lock().items() if installed.get(name) != version}
    assert wrong == {}


def test_torchvision_stays_out():
    """A torchvision that does not match the torch build takes nnU-Net down with it."""
    assert not {"torchvision", "torchaudio", "timm"} & set(lock())


def commands(file: Path) -> list[str]:
    """The lines of a Makefile, Dockerfile or Apptainer definition without comments; continued lines joined."""
    text = file.read_text().replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def pip_steps(file: Path) -> list[str]:
    """What pip is told to install, in order, with the lock called LOCK."""
    steps = []
    for line in commands(file):
        for part in re.split(r"&&|^RUN", line):
            if "pip" in part and (found := re.search(r"-m pip install (.*)", part)):
                words = re.sub(r"--quiet|--no-cache-dir", "", found[1]).replace("$$", "$")
                steps.append(
                    " ".join(words.replace(LOCK_IN_IMAGE, "LOCK").replace("envs/requirements.lock", "LOCK").split())
                )
            else:
                assert "pip" not in part.split(), f"another way of installing in {file.name}: {part}"
    return steps


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_takes_the_steps_of_make_install(image):
    """So it names no package and no version of its own: torch by its line in the lock, then the lock."""
    steps = pip_steps(ENVS / image)
    installs = [step for step in pip_steps(ROOT / "Makefile") if "$<" not in step]  # those of the site aside
    assert steps == [step.replace(" --requirement envs/test.lock", "") for step in installs]
    assert len(steps) == 2
    assert "grep '^torch==' LOCK" in steps[0]
    assert steps[1] == "--no-deps --requirement LOCK"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_copies_the_lock_that_it_installs(image):
    copied = [line for line in commands(ENVS / image) if line.endswith(f"requirements.lock {LOCK_IN_IMAGE}")]
    assert copied in ([f"COPY requirements.lock {LOCK_IN_IMAGE}"], [f"envs/requirements.lock {LOCK_IN_IMAGE}"])


def test_conda_and_both_images_have_the_same_python():
    conda = next(part for part in conda_dependencies() if str(part).startswith("python"))
    version = re.fullmatch(r"python=(3\.\d+)", conda)[1]
    bases = {re.fullmatch(r"From: (.*)|FROM (.*)", line) for image in IMAGES for line in commands(ENVS / image)} - {
        None
    }
    assert {base[1] or base[2] for base in bases} == {f"python:{version}-slim"}
    low, high = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()).groups()
    assert int(low) <= int(version.split(".")[1]) < int(high)


def test_conda_adds_python_and_pip_and_nothing_else():
    assert [re.sub("=.*", "", part) for part in conda_dependencies() if isinstance(part, str)] == ["python", "pip"]


def test_the_docker_image_serves_a_user_without_a_name():
    """With --user and a number, there is neither a home nor a name: Snakemake asks for both."""
    settings = dict(
        re.findall(r"(\w+)=(\S+)", " ".join(line for line in commands(ENVS / "Dockerfile") if "ENV" in line))
    )
    assert settings["USER"]
    assert f"RUN install -d -m 1777 {settings['HOME']}" in commands(ENVS / "Dockerfile")
    assert not [line for line in commands(ENVS / "Dockerfile") if line.startswith("USER")]


RULES = """
import sys
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings
with SnakemakeApi(OutputSettings(enable_file_logging=False)) as api:
    workflow = api.workflow(ResourceSettings(cores=1), ConfigSettings(config={"data_root": "demo", "container": sys.argv[1]}))._workflow
    print({rule.container_img for rule in workflow.rules})
"""


def test_the_image_of_the_config_is_that_of_every_rule(tmp_path):
    project = copy_project(tmp_path)
    done = subprocess.run([sys.executable, "-c", RULES, "study.sif"], cwd=project, capture_output=True, text=True)
    assert done.stdout.strip() == "{'study.sif'}", done.stderr


@pytest.mark.parametrize("options", [(), ("container=nowhere.sif",)])
def test_apptainer_without_an_image_is_told_how_to_build_one(tmp_path, options):
    done = snakemake(copy_project(tmp_path), "--dry-run", "--sdm", "apptainer", "--config", "data_root=demo", *options)
    assert done.returncode != 0
    assert "apptainer build sliceaug.sif envs/sliceaug.def" in done.stdout
    assert "container: sliceaug.sif" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_address_is_left_to_apptainer_and_a_file_must_be_there(tmp_path):
    (tmp_path / "study.sif").write_bytes(b"image")
    check_image(str(tmp_path / "study.sif"))
    check_image("docker://registry/sliceaug:1")
    with pytest.raises(UserError, match=r"nowhere\.sif.*is no file here"):
        check_image("nowhere.sif")
