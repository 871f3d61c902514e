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
SYSTEMS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "config/systems").glob("*.yaml"))}
SYSTEM = SYSTEMS["slice_ldm"]
OVERRIDES = sorted(path.name for path in (ROOT / "config").glob("*.yaml") if path.name != "config.yaml")
ON_TOP_OF = {"demo_all.yaml": "demo.yaml", "brats_mini_systems.yaml": "brats_mini.yaml"}  # overrides of overrides


def with_override(**override) -> dict:
    return merge(DEFAULT, override)


def key_paths(tree: dict, prefix: str = "") -> set[str]:
    paths = set()
    for key, value in tree.items():
        below = key_paths(value, f"{prefix}{key}.") if isinstance(value, dict) and value else set()
        paths |= below or {f"{prefix}{key}"}
    return paths


def schema_paths(schema: dict, root: dict, prefix: str = "") -> set[str]:
    """Every key that the schema knows, whatever the kind of the block it is in."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].split("/")[-1]], **schema}
    paths = set()
    for key, value in schema.get("properties", {}).items():
        below = schema_paths(value, root, f"{prefix}{key}.")
        paths |= below or {f"{prefix}{key}"}
    for part in [*schema.get("allOf", []), *([schema["then"]] if "then" in schema else [])]:
        paths |= schema_paths(part, root, prefix)
    return paths


ALL_SYSTEM_KEYS = set().union(*map(key_paths, SYSTEMS.values())) - {"autoencoder"}  # null, or the name of a system


@pytest.mark.parametrize(("schema", "keys"), [("config", key_paths(DEFAULT)), ("system", ALL_SYSTEM_KEYS)])
def test_schema_and_files_name_the_same_keys(schema, keys):
    tree = yaml.safe_load((ROOT / f"config/schemas/{schema}.schema.yaml").read_text())
    assert schema_paths(tree, tree) ^ keys == set()


def documented_keys() -> set[str]:
    text = (ROOT / "config/README.md").read_text()
    return set(re.findall(r"^\| `([\w.]+)` \|", text, flags=re.MULTILINE))


@pytest.mark.parametrize("keys", [key_paths(DEFAULT), ALL_SYSTEM_KEYS], ids=["config", "systems"])
def test_every_key_is_documented(keys):
    assert keys - documented_keys() == set()


def test_no_key_is_documented_that_does_not_exist():
    assert documented_keys() - key_paths(DEFAULT) - ALL_SYSTEM_KEYS == {"autoencoder", "depth_decoder", *SYSTEMS}


@pytest.mark.parametrize("name", OVERRIDES)
def test_shipped_overrides_are_valid(name):
    config = DEFAULT
    for file in (*([ON_TOP_OF[name]] if name in ON_TOP_OF else []), name):
        config = merge(config, yaml.safe_load((ROOT / "config" / file).read_text()))
    resolve(config)


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
    "half a copy": ({"segmentation": {"controls": {"oversampled_ratios": [0.5]}}}, ["oversampled_ratios", "0.5"]),
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
    "a sweep of one": (
        {"evaluation": {"control": {"sweep_steps": 1}}},
        ["sweep_steps is 1", "two volumes a row", "sweep_steps: 5"],
    ),
    "missing folder of masks": (
        {"evaluation": {"masks": {"reference_root": "/no/such/folder"}}},
        ["reference_root '/no/such/folder' is no folder", "reference_root: /data/masks"],
    ),
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
    "network without weights": (
        {"evaluation": {"images": {"network": "inception_v3"}}},
        ["inception_v3 is not packaged", "weights: /weights/inception_v3.pth"],
    ),
    "unknown network": (
        {"evaluation": {"images": {"network": "vgg"}}},
        ["evaluation.images.network is 'vgg'", "radimagenet_resnet50", "network: efficientnet_lite0"],
    ),
    "comparison at a ratio without arm": (
        {"evaluation": {"comparison_ratio": 3}},
        ["comparison_ratio is not among segmentation.ratios", "comparison_ratio: null"],
    ),
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


def test_all_shipped_systems_go_together():
    assert set(resolve(with_override(systems=list(SYSTEMS)))["system"]) == set(SYSTEMS)


def test_a_system_gets_the_autoencoder_that_it_shares_with_the_settings_made_there():
    settings = {"slice_ldm": {"autoencoder": {"latent_channels": 3}, "scale": 0.5}}
    system = resolve(with_override(systems=["slice_ldm_2d"], system_settings=settings))["system"]
    assert set(system) == {"slice_ldm_2d"}
    assert system["slice_ldm_2d"]["autoencoder"]["latent_channels"] == 3
    assert system["slice_ldm_2d"]["autoencoder"]["channels"] == [64, 128, 256, 256]
    assert system["slice_ldm_2d"]["denoiser"]["channels"] == [64, 128, 256, 512], "its own scale is 1"


def test_a_depth_decoder_goes_with_its_autoencoder_and_null_takes_it_away_from_all():
    both = ["slice_ldm", "slice_ldm_2d"]
    system = resolve(with_override(systems=both))["system"]
    assert system["slice_ldm_2d"]["depth_decoder"] == system["slice_ldm"]["depth_decoder"] == SYSTEM["depth_decoder"]
    off = resolve(with_override(systems=both, system_settings={"slice_ldm": {"depth_decoder": None}}))["system"]
    assert [off[name]["depth_decoder"] for name in both] == [None, None]


def test_scale_multiplies_every_width_and_nothing_else():
    settings = {"ldm_3d": {"scale": 0.1}, "lsgan_3d": {"scale": 0.25}}
    system = resolve(with_override(systems=list(SYSTEMS), system_settings=settings))["system"]
    assert system["ldm_3d"]["autoencoder"]["channels"] == [12, 24, 52, 52], "multiples of 4"
    assert system["ldm_3d"]["autoencoder"]["discriminator"]["channels"] == [8, 12, 24, 52]
    assert system["ldm_3d"]["denoiser"]["channels"] == [12, 24, 52, 104]
    assert system["lsgan_3d"]["gan"]["channels"] == [128, 64, 32, 16, 8]
    assert system["lsgan_3d"]["gan"]["z_dim"] == 2048
    assert system["ldm_3d"]["denoiser"]["kind"] == SYSTEMS["ldm_3d"]["denoiser"]["kind"]


@pytest.fixture
def own_systems(tmp_path, monkeypatch):
    """A folder of systems to write into, in the place of config/systems."""
    import workflow_scripts.base.config as config
    import workflow_scripts.base.schema as schema
    import workflow_scripts.base.systems as systems

    (tmp_path / "systems").mkdir()
    (tmp_path / "schemas").symlink_to(ROOT / "config/schemas")
    (tmp_path / "config.yaml").symlink_to(ROOT / "config/config.yaml")
    for module in (config, schema, systems):
        monkeypatch.setattr(module, "CONFIG", tmp_path)
    return tmp_path / "systems"


def test_systems_that_share_an_autoencoder_must_set_it_alike(own_systems):
    for name in ("one", "two"):
        (own_systems / f"{name}.yaml").write_text(yaml.safe_dump(SYSTEM))
    both = with_override(systems=["one", "two"])
    assert set(resolve(both)["system"]) == {"one", "two"}
    with pytest.raises(UserError, match="share the autoencoder 'slice_vae', but set it differently"):
        resolve(merge(both, {"system_settings": {"two": {"autoencoder": {"latent_channels": 3}}}}))
    with pytest.raises(UserError, match="or its depth_decoder"):
        resolve(merge(both, {"system_settings": {"two": {"depth_decoder": None}}}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": None}, "'sampler' is missing: write denoiser, diffusion and sampler, or gan"),
        ({"gan": SYSTEMS["lsgan_3d"]["gan"]}, "a system with a `gan` has no denoiser"),
        (
            {"diffusion": SYSTEM["diffusion"] | {"parameterization": "flow"}},
            "system one: .*`parameterization: flow` and `schedule: cosine`.*write `schedule: flow` too",
        ),
        ({"autoencoder": "two"}, "config/systems/two.yaml does not exist"),
        ({"autoencoder": "one"}, "`autoencoder: one` names a system that has no autoencoder of its own"),
    ],
)
def test_a_composition_that_cannot_be_is_refused(own_systems, change, message):
    system = {key: value for key, value in (SYSTEM | change).items() if value is not None}
    (own_systems / "one.yaml").write_text(yaml.safe_dump(system))
    with pytest.raises(UserError, match=message):
        resolve(with_override(systems=["one"]))


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("ldm_3d", {"autoencoder": {"kind": "vae_4d"}}, ["autoencoder.kind is 'vae_4d'", "slice_vae, vae_3d"]),
        ("ldm_3d", {"autoencoder": {"position": "mm"}}, ["unknown key 'position' under 'autoencoder'"]),
        ("slice_ldm_2d", {"depth_decoder": None}, ["shares the autoencoder of slice_ldm, and so its depth_decoder"]),
        ("slice_ldm", {"depth_decoder": {"levels": [1, 5]}}, ["go beyond 4 levels", "levels: [1]"]),
        ("slice_ldm", {"depth_decoder": {"levels": "any"}}, ["depth_decoder.levels is 'any'", "must be one of all"]),
        ("slice_ldm", {"depth_decoder": {"kernel_size": 4}}, ["kernel_size must be odd", "kernel_size: 5"]),
        ("slice_ldm", {"depth_decoder": {"slab_slices": 500}}, ["more than the 144 slices", "slab_slices: 144"]),
        ("ldm_3d", {"depth_decoder": SYSTEM["depth_decoder"]}, ["kind slice_vae alone", "depth_decoder: null"]),
        ("ldm_3d", {"autoencoder": {"patch_size": [48, 100, 96]}}, ["patch_size", "[48, 104, 96]"]),
        ("ldm_3d", {"autoencoder": {"patch_size": [48, 96, 400]}}, ["larger than", "[48, 96, 192]"]),
        ("slice_ldm_2d", {"autoencoder": {"latent_channels": 3}}, ["shares the autoencoder of slice_ldm", "latent_c"]),
        ("lsgan_3d", {"gan": {"z_dims": 3}}, ["unknown key 'z_dims' under 'gan'", "Did you mean 'z_dim'"]),
    ],
)
def test_a_mistake_in_a_system_is_answered_by_what_to_write(name, settings, expected):
    with pytest.raises(UserError) as caught:
        resolve(with_override(systems=[name], system_settings={name: settings}))
    for words in expected:
        assert words in str(caught.value)
