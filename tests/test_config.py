"""The configuration: every file of config/ is valid, every key is documented, and every mistake is answered by a line to write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from workflow_scripts.base.config import merge, resolve
from workflow_scripts.base.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
SYSTEM = yaml.safe_load((ROOT / "config/systems/slice_ldm.yaml").read_text())
OVERRIDES = sorted(path.name for path in (ROOT / "config").glob("*.yaml") if path.name != "config.yaml")


def with_override(**override) -> dict:
    return merge(DEFAULT, override)


def key_paths(tree: dict, prefix: str = "") -> set[str]:
    paths = set()
    for key, value in tree.items():
        below = key_paths(value, f"{prefix}{key}.") if isinstance(value, dict) and value else set()
        paths |= below or {f"{prefix}{key}"}
    return paths


def schema_paths(schema: dict, root: dict, prefix: str = "") -> set[str]:
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].split("/")[-1]], **schema}
    paths = set()
    for key, value in schema.get("properties", {}).items():
        below = schema_paths(value, root, f"{prefix}{key}.")
        paths |= below or {f"{prefix}{key}"}
    return paths


@pytest.mark.parametrize(("schema", "values"), [("config", DEFAULT), ("system", SYSTEM)])
def test_schema_and_file_name_the_same_keys(schema, values):
    tree = yaml.safe_load((ROOT / f"config/schemas/{schema}.schema.yaml").read_text())
    assert schema_paths(tree, tree) ^ key_paths(values) == set()


@pytest.mark.parametrize("values", [DEFAULT, SYSTEM], ids=["config", "system"])
def test_every_key_is_documented(values):
    text = (ROOT / "config/README.md").read_text()
    documented = set(re.findall(r"^\| `([\w.]+)` \|", text, flags=re.MULTILINE))
    assert key_paths(values) - documented == set()


def test_no_key_is_documented_that_does_not_exist():
    text = (ROOT / "config/README.md").read_text()
    documented = set(re.findall(r"^\| `([\w.]+)` \|", text, flags=re.MULTILINE))
    assert documented - key_paths(DEFAULT) - key_paths(SYSTEM) == set()


@pytest.mark.parametrize("name", OVERRIDES)
def test_shipped_overrides_are_valid(name):
    resolve(merge(DEFAULT, yaml.safe_load((ROOT / "config" / name).read_text())))


def test_system_settings_override_the_system_file():
    config = resolve(with_override(system_settings={"slice_ldm": {"sampler": {"steps": 7}}}))
    assert config["system"]["slice_ldm"]["sampler"] == {**SYSTEM["sampler"], "steps": 7}


def test_numbers_from_the_command_line_are_numbers():
    """Snakemake reads the values of nested --config mappings as text."""
    text = {"segmentation": {"ratios": ["0", "0.5"], "epochs": "null"}, "splits": {"val": "3"}}
    text["system_settings"] = {"slice_ldm": {"sampler": {"steps": "7"}}}
    config = resolve(with_override(**text))
    assert config["segmentation"]["ratios"] == [0, 0.5]
    assert config["segmentation"]["epochs"] is None
    assert config["splits"]["val"] == 3
    assert config["system"]["slice_ldm"]["sampler"]["steps"] == 7


MISTAKES = {
    "unknown key": (
        {"segmentation": {"ratio": [1]}},
        ["unknown key 'ratio' under 'segmentation'", "Did you mean 'ratios'"],
    ),
    "unknown key at the top": ({"dataroot": "x"}, ["unknown key 'dataroot' at the top", "Did you mean 'data_root'"]),
    "wrong type": ({"segmentation": {"epochs": "ten"}}, ["segmentation.epochs is 'ten'", "integer", "epochs: null"]),
    "negative ratio": ({"segmentation": {"ratios": [0, -1]}}, ["segmentation.ratios", "-1", "at least 0"]),
    "no real-only arm": ({"segmentation": {"ratios": [1, 2]}}, ["must hold 0", "ratios: [0, 1, 2]"]),
    "ratio of no case": (
        {"segmentation": {"ratios": [0, 0.01, 1]}},
        ["not one synthetic case for 20", "ratios: [0, 1]"],
    ),
    "missing data_root": (
        {"data_root": "/no/such/folder"},
        ["'/no/such/folder' is no folder", "data_root: /data/BraTS2023"],
    ),
    "grid and strides": ({"preprocessing": {"size": [48, 60, 64]}}, ["does not divide by 8", "size: [48, 64, 64]"]),
    "unknown system": ({"systems": ["slice_dlm"]}, ["no system 'slice_dlm'", "slice_ldm"]),
    "unknown key of a system": (
        {"system_settings": {"slice_ldm": {"sampler": {"step": 3}}}},
        ["unknown key 'step' under 'sampler'", "Did you mean 'steps'"],
    ),
    "settings of an absent system": ({"system_settings": {"other": {}}}, ["names 'other'", "not among systems"]),
    "impossible demo split": ({"splits": {"test": 5000}}, ["5120 patients", "cases: 5120"]),
    "falling n_real": ({"splits": {"n_real": [50, 20]}}, ["must rise", "n_real: [20, 50]"]),
    "no validation": ({"splits": {"val": 0}}, ["splits.val is 0", "at least 1", "val: 20"]),
    "regions out of order": ({"regions": ["tumor_core"]}, ["regions is ['tumor_core']", "must be one of"]),
    "unknown modality": ({"modalities": ["flair"]}, ["modalities", "'flair'", "t2f"]),
    "percentiles that fall": (
        {"preprocessing": {"intensity_percentiles": [99, 1]}},
        ["preprocessing.intensity_percentiles must rise"],
    ),
    "figure of an absent modality": ({"modalities": ["t1n"]}, ["'t2f' is not among modalities", "modality: t1n"]),
    "weights that are no file": (
        {"evaluation": {"images": {"weights": "/no/such.pth"}}},
        ["'/no/such.pth', which is no file"],
    ),
    "weights without checksum": ({"evaluation": {"images": {"weights": __file__}}}, ["sha256 must hold the checksum"]),
    "run name with a slash": ({"run": "../x"}, ["run is '../x'", "must match"]),
    "strides and channels": (
        {"system_settings": {"slice_ldm": {"autoencoder": {"channels": [8, 8]}}}},
        ["one entry for each of autoencoder.channels", "strides: [1, 2]"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_by_what_to_write(mistake):
    override, expected = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        resolve(with_override(**override))
    for words in expected:
        assert words in str(caught.value)


def test_systems_that_share_an_autoencoder_must_set_it_alike(tmp_path, monkeypatch):
    import workflow_scripts.base.config as module

    (tmp_path / "systems").mkdir()
    (tmp_path / "schemas").symlink_to(ROOT / "config/schemas")
    (tmp_path / "config.yaml").symlink_to(ROOT / "config/config.yaml")
    for name in ("one", "two"):
        (tmp_path / f"systems/{name}.yaml").write_text((ROOT / "config/systems/slice_ldm.yaml").read_text())
    monkeypatch.setattr(module, "CONFIG", tmp_path)
    both = with_override(systems=["one", "two"])
    assert set(resolve(both)["system"]) == {"one", "two"}
    with pytest.raises(UserError, match="share the autoencoder 'slice_vae', but set it differently"):
        resolve(merge(both, {"system_settings": {"two": {"autoencoder": {"latent_channels": 3}}}}))
