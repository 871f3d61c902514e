"""One lock: what is installed here, the lock, and the conda environment name the same packages and versions."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

import yaml

ENVS = Path(__file__).resolve().parents[1] / "envs"
# Tools that come with an environment of their own, not pinned.
BOOTSTRAP = {"pip", "setuptools", "wheel"}


def name_of(pin: str) -> str:
    return pin.split("==")[0].lower().replace("_", "-").replace(".", "-")


def lock() -> dict[str, str]:
    lines = (ENVS / "requirements.lock").read_text().splitlines()
    return {name_of(line): line.split("==")[1] for line in lines if line and not line.startswith("#")}


def test_lock_and_conda_environment_are_in_step():
    parts = yaml.safe_load((ENVS / "sliceaug.yaml").read_text())["dependencies"]
    pins = next(part["pip"] for part in parts if isinstance(part, dict))
    assert {name_of(pin): pin.split("==")[1] for pin in pins} == lock()


def test_the_lock_is_what_runs_here():
    installed = {name_of(item.metadata["Name"]): item.version.split("+")[0] for item in distributions()}
    wrong = {name: (version, installed.get(name)) for name, version in lock().items() if installed.get(name) != version}
    assert wrong == {}


def test_torchvision_stays_out():
    """A torchvision that does not match the torch build takes nnU-Net down with it."""
    assert not {"torchvision", "torchaudio", "timm"} & set(lock())
