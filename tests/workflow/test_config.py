"""The configuration: every file of config/ is valid, and every mistake is answered by the line to write."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import jsonschema
import pytest
import yaml
from workflow import ROOT, copy_project, snakemake

from workflow_scripts.base.errors import UserError
from workflow_scripts.programs.operations import document_settings
from workflow_scripts.study.files import Files
from workflow_scripts.study.settings.base import Block
from workflow_scripts.study.settings.files import merge, read_yaml
from workflow_scripts.study.settings.messages import blocks_of
from workflow_scripts.study.settings.study import Study, read_study
from workflow_scripts.study.settings.systems import SYSTEM, known_systems

SHIPPED = read_yaml(ROOT / "config/config.yaml")
DEFAULT = SHIPPED | {"data_root": "demo"}
SYSTEMS = {name: read_yaml(ROOT / f"config/systems/{name}.yaml") for name in known_systems()}
OVERRIDES = sorted(path.name for path in (ROOT / "config").glob("*.yaml") if path.name != "config.yaml")
ON_TOP_OF = {
    "demo_all.yaml": "demo.yaml",
    "brats_mini_systems.yaml": "brats_mini.yaml",
    "simulated_example.yaml": "simulated_study.yaml",
}  # overrides of overrides


def read(**override) -> Study:
    return read_study(merge(DEFAULT, override))


def test_config_yaml_shows_every_key_with_its_default():
    assert Study(data_root="demo").model_dump() == DEFAULT


def test_a_system_file_leaves_out_what_it_does_not_change():
    def repeated(block: type[Block], given: dict, path: str) -> list[str]:
        found = []
        for name, value in given.items():
            field, default = block.model_fields[name], document_settings.default_of(block, name)
            inner = blocks_of(field)
            if isinstance(value, dict) and inner:
                kind = next((one for one in inner if default_of_kind(one) == value.get("kind")), inner[0])
                found += repeated(kind, {key: v for key, v in value.items() if key != "kind"}, f"{path}{name}.")
            elif value == default and name != "macs_g":
                found.append(path + name)
        return found

    def default_of_kind(block: type[Block]) -> object:
        return document_settings.default_of(block, "kind") if "kind" in block.model_fields else None

    for name, file in SYSTEMS.items():
        own = {key: value for key, value in file.items() if not isinstance(value, str) or key == "label"}
        assert repeated(SYSTEM, own, f"{name}.") == []


@pytest.mark.parametrize("name", OVERRIDES)
def test_shipped_overrides_are_valid_and_the_schema_for_editors_accepts_them(name):
    config = DEFAULT
    schema = json.loads((ROOT / "config/schema.json").read_text())
    for file in (*([ON_TOP_OF[name]] if name in ON_TOP_OF else []), name):
        jsonschema.validate(read_yaml(ROOT / "config" / file), schema)
        config = merge(config, read_yaml(ROOT / "config" / file))
    study = read_study(config)
    assert read_study(study.asked()).plain() == study.plain()


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_schema_for_editors_accepts_the_systems_and_refuses_what_they_may_not_hold(name):
    schema = json.loads((ROOT / "config/schema.json").read_text())
    of_systems = {"$ref": "#/$defs/System", "$defs": schema["$defs"]}
    jsonschema.validate(SYSTEMS[name], of_systems)
    for wrong in ({"scales": 1}, {"scale": 0}, {"denoiser": {"channels": []}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(merge(SYSTEMS[name], wrong), of_systems)


def test_schema_and_tables_of_keys_are_in_step_with_the_models():
    assert document_settings.SCHEMA.read_text() == document_settings.schema_text(), "run `make settings`"
    readme = document_settings.README.read_text()
    assert readme == document_settings.with_tables(readme), "run `make settings`"


def test_a_key_is_added_in_one_file(tmp_path):
    """In a copy of the project: one line in the model, and schema, tables, command line and messages know the key."""
    copy_project(tmp_path)
    model = tmp_path / "workflow_scripts/study/settings/memorisation.py"
    line = '    least_cases: Annotated[int, Field(ge=2)] = key(7, "cases", "that are looked at")\n'
    model.write_text(model.read_text() + line)
    run = [sys.executable, "-m", "workflow_scripts.programs.operations.document_settings"]
    subprocess.run(run, cwd=tmp_path, check=True)
    row = "| `memorisation.least_cases` | `7` | cases | a whole number of at least 2 | that are looked at |"
    assert row in (tmp_path / "config/README.md").read_text()
    schema = json.loads((tmp_path / "config/schema.json").read_text())
    assert schema["$defs"]["Memorisation"]["properties"]["least_cases"]["minimum"] == 2
    answers = {}
    for word in ("least_cases: 9", "least_cases: 1", "least_case: 9"):
        done = snakemake(tmp_path, "cohort", "--dry-run", "--config", "data_root=demo", f"memorisation={{{word}}}")
        answers[word] = done.stdout if done.returncode else ""
    assert answers["least_cases: 9"] == ""
    for word in ("memorisation.least_cases is 1", "a whole number of at least 2", "least_cases: 7"):
        assert word in answers["least_cases: 1"]
    assert "Did you mean 'least_cases'?" in answers["least_case: 9"]


def test_a_configuration_is_checked_at_once():
    """Calls, not seconds: the Snakefile does it anew in each job, and 16,000 calls take some 3 ms."""
    config = merge(DEFAULT, {"systems": list(SYSTEMS)})
    calls = 0

    def count(_frame, event, _function):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        read_study(config)
    finally:
        sys.setprofile(None)
    assert 1_000 < calls < 60_000


def test_numbers_from_the_command_line_are_numbers():
    """Snakemake reads the values of nested --config mappings as text."""
    text = {"segmentation": {"ratios": ["0", "0.5"], "epochs": "null", "mirroring": "false"}, "splits": {"val": "3"}}
    text["system_settings"] = {"slice_ldm": {"sampler": {"steps": "7"}, "diffusion": {"beta_start": "1e-4"}}}
    study = read(**text)
    assert study.segmentation.ratios == [0, 0.5] and study.segmentation.ratios[0] is not False
    assert study.segmentation.epochs is None and study.segmentation.mirroring is False
    assert study.splits.val == 3
    assert study.system["slice_ldm"].sampler.steps == 7
    assert study.system["slice_ldm"].diffusion.beta_start == 1e-4


def test_the_users_own_splits_say_how_many_patients_there_are(tmp_path):
    table = tmp_path / "own.csv"
    sets = ["test"] * 3 + ["val"] * 2 + ["train"] * 20
    table.write_text("patient_id,set\n" + "".join(f"P{number},{name}\n" for number, name in enumerate(sets)))
    splits = read(splits={"file": str(table), "n_real": [5, 20]}).plain()["splits"]
    assert (splits["val"], splits["test"]) == (2, 3)
    with pytest.raises(UserError, match=r"splits.n_real asks for 50 training patients .* has 20"):
        read(splits={"file": str(table), "n_real": [20, 50]})


def test_a_path_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    study = read(results="~/runs", data_root="~")
    assert (study.results, study.data_root, study.simulated) == (f"{tmp_path}/runs", str(tmp_path), False)


def test_a_training_of_real_patients_may_start_from_a_trained_model(tmp_path):
    def started(folder, **given):
        training = {"training": {"start_from": str(folder)}}
        return read(system_settings={"slice_ldm": {"autoencoder": training, "diffusion": training}}, **given)

    (tmp_path / "cohort").mkdir()
    with pytest.raises(UserError, match=r"autoencoder\.training\.start_from '.*gone' holds no trained model: model"):
        started(tmp_path / "gone", data_root=str(tmp_path / "cohort"))
    for name in ("model.safetensors", "model.json"):
        (tmp_path / name).touch()
    files = Files(started(tmp_path, data_root=str(tmp_path / "cohort")).plain())
    model = [f"{tmp_path}/model.safetensors", f"{tmp_path}/model.json"]
    assert files.starts() == model[1:]
    assert files.autoencoder_start(SimpleNamespace(name="slice_vae")) == model
    assert files.generator_start(SimpleNamespace(system="slice_ldm")) == model
    with pytest.raises(UserError, match=r"(?s)patients are simulated: .* may be among them.*null"):
        started(tmp_path)


def line(text: str) -> dict:
    return yaml.safe_load(text)


MISTAKES = [
    # an empty value never simulates
    (line("data_root: ''"), "data_root is empty", "`data_root: /data/cohort` or", "`data_root: demo`"),
    (line("data_root:"), "data_root is empty", "unset shell variable", "`data_root: demo`"),
    (line("container: ''"), "container is empty", "`container: none`"),
    (line("container:"), "container is empty", "`container: none`"),
    (line("evaluation: {masks: {reference_root: ''}}"), "evaluation.masks.reference_root is empty", "none"),
    (line("evaluation: {masks: {reference_root: }}"), "evaluation.masks.reference_root is empty", "none"),
    # unknown keys
    (line("segmentation: {ratio: [1]}"), "unknown key 'ratio' under 'segmentation'", "Did you mean 'ratios'"),
    (line("dataroot: x"), "unknown key 'dataroot' at the top", "Did you mean 'data_root'"),
    (line("system: lsgan_3d"), "unknown key 'system' at the top", "Did you mean 'systems'"),
    (line("evaluation: {tables: {seeds: 1}}"), "unknown key 'seeds' under 'evaluation.tables'", "Did you mean 'seed'"),
    (line("synthesis: {gate: {3: 1}}"), "the key 3 under 'synthesis.gate' is no text"),
    (line("3: 1"), "the key 3 at the top is no text"),
    (line("system_settings: {3: {}}"), "the key 3 under 'system_settings' is no text"),
    # types and ranges
    (line("segmentation: {epochs: ten}"), "segmentation.epochs is 'ten'", "whole number", "or null", "epochs: null"),
    (line("segmentation: {ratios: [0, -1]}"), "segmentation.ratios is [0, -1]", "from 0 to 1000", "ratios: [0, 0.5"),
    (line("segmentation: {ratios: [0, 1, 1]}"), "segmentation.ratios", "none twice"),
    (line("segmentation: {controls: {oversampled_ratios: [0.5]}}"), "oversampled_ratios is [0.5]", "whole number"),
    (line("segmentation: 3"), "segmentation is 3, but must be a mapping"),
    (line("segmentation: {synthetic_only_ratios: [1.0e+9]}"), "synthetic_only_ratios", "at most 1000"),
    (line("preprocessing: {shards: 2.0}"), "preprocessing.shards is 2.0", "a whole number from 1 to 10000"),
    (line("preprocessing: {shards: 1000000000}"), "preprocessing.shards", "to 10000"),
    (line("preprocessing: {shards: true}"), "preprocessing.shards is True"),
    (line("splits: {n_real: [12.0]}"), "splits.n_real is [12.0]", "each a whole number"),
    (line("splits: {n_real: 12}"), "splits.n_real is 12", "a list"),
    (line("splits: {val: 0}"), "splits.val is 0", "at least 1", "val: 20"),
    (line("demo_cohort: {spacing_mm: 6}"), "demo_cohort.spacing_mm is 6", "from 0.5 to 5"),
    (line("run: ../x"), "run is '../x'", "a name of letters, digits, - and _"),
    (line("run: '@x'"), "run is '@x'"),
    (line("run: 'a: b: c'"), "run is 'a: b: c'"),
    (line("run: 2024"), "run is 2024", "run: '2024'"),
    (line("results: 'a{b}'"), "results is 'a{b}'", "without { and }"),
    (line("data_root: '/data/{x}'"), "data_root is '/data/{x}'", "without { and }"),
    (line("modalities: [flair]"), "modalities holds 'flair'", "t2f"),
    (line("layout: brats"), "layout is 'brats'", "brats2021"),
    (line("evaluation: {images: {network: vgg}}"), "network is 'vgg'", "medicalnet_resnet10", "efficientnet_lite0"),
    (line("evaluation: {images: {sha256: abc}}"), "evaluation.images.sha256 is 'abc'", "sha256sum", "or null"),
    (line("system_settings: [1]"), "system_settings is [1]", "a mapping"),
    (line("system_settings: {slice_ldm: [1]}"), "system_settings is {'slice_ldm': [1]}", "a mapping"),
    # keys that must fit each other
    (line("segmentation: {ratios: [1, 2]}"), "segmentation.ratios must hold 0", "ratios: [0, 1, 2]"),
    (line("segmentation: {ratios: [0, 0.01, 1]}"), "not one synthetic case for 20", "ratios: [0, 1]"),
    (line("synthesis: {block_size: 1}\nsegmentation: {ratios: [0, 1000]}\nsplits: {n_real: [20, 90000]}\n"
          "demo_cohort: {cases: 99999}"), "synthesis.block_size is 1", "90000000 synthetic cases", "block_size: 900"),
    (line("segmentation: {ladder: {ratio: 3}}"), "segmentation.ladder.ratio is 3", "hold no such mix", "ratio: null"),
    (line("segmentation: {learning_curve: [500]}"), "demo_cohort.cases is 220", "620 patients", "cases: 620"),
    (line("segmentation: {mixing: [often]}"), "segmentation.mixing is ['often']", "replace"),
    (line("segmentation: {real_share: 1}"), "segmentation.real_share is 1", "below 1"),
    (line("evaluation: {comparison_ratio: 3}"), "comparison_ratio is not among segmentation.ratios", "comparison_ratio: null"),
    (line("evaluation: {control: {sweep_steps: 1}}"), "sweep_steps is 1", "two volumes a row", "sweep_steps: 5"),
    (line("evaluation: {masks: {reference_root: /no/such}}"), "'/no/such' is no folder", "reference_root: /data/masks"),
    (line("splits: {file: /no/splits.csv}"), "splits.file '/no/splits.csv' is no file that can be read"),
    (line("data_root: /no/such/folder"), "'/no/such/folder' is no folder", "data_root: /data/cohort"),
    (line("splits: {test: 5000}"), "demo_cohort.cases is 220", "5120 patients", "cases: 5120"),
    (line("splits: {n_real: [50, 20]}"), "splits.n_real must rise", "n_real: [20, 50]"),
    (line("regions: [tumor_core]"), "regions is ['tumor_core']", "the first one or more of whole_tumor, tumor_core"),
    (line("layout: brats2019"), "layout is 'brats2019'", "brats2018, brats2021", "layout: auto"),
    (line("dataset: brast"), "dataset 'brast' is neither one of config/datasets/ (brats, ", "dataset: brats"),
    (line("demo_cohort: {tumour_volume_ml: [9, 3]}"), "demo_cohort.tumour_volume_ml is [9, 3]", "must rise"),
    (line("modalities: [t1n]\nevaluation: {figures: {modality: t2f}}"), "evaluation.figures.modality 't2f' is not among modalities",
     "modality: t1n"),
    (line("evaluation: {images: {weights: /no/such.pth}}"), "evaluation.images.weights names '/no/such.pth'", "no file"),
    (line("evaluation: {images: {weights: /etc/hostname}}"), "sha256 must hold the checksum"),
    (line("evaluation: {images: {network: inception_v3}}"), "inception_v3 is not packaged", "weights: /weights/inception_v3.pth"),
    # systems
    (line("systems: [slice_dlm]"), "no system 'slice_dlm'", "slice_ldm"),
    (line("system_settings: {other: {}}"), "names 'other'", "not among systems"),
    (line("preprocessing: {size: [48, 60, 64]}"), "does not divide by 8", "size: [48, 64, 64]"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "expected"), [(one, words) for one, *words in MISTAKES], ids=str)
def test_a_mistake_is_answered_by_what_to_write(override, expected):
    with pytest.raises(UserError) as caught:
        read(**override) if all(isinstance(key, str) for key in override) else read_study(merge(DEFAULT, override))
    for words in expected:
        assert words in str(caught.value)


OF_SYSTEMS = [
    ("slice_ldm", "{sampler: {step: 3}}", "unknown key 'step' under 'sampler'", "Did you mean 'steps'"),
    ("slice_ldm", "{autoencoder: {channels: [8, 8]}}", "autoencoder.strides must have one entry", "strides: [1, 2]"),
    ("slice_ldm", "{depth_decoder: null}", "depth_decoder is no key any more", "Delete it"),
    ("slice_ldm", "{diffusion: {condition_dropout: 1}}", "condition_dropout is 1", "at least 0 and below 1"),
    ("slice_ldm", "{sampler: {steps: 2000}}", "sampler.steps is 2000, but diffusion.timesteps is 1000", "steps: 1000"),
    ("slice_ldm", "{diffusion: {beta_end: 0.001}}", "diffusion.beta_end is 0.001", "above beta_start, 0.002"),
    ("slice_ldm", "{diffusion: {training: {devices: 3}}}", "batch_size is 4, which 3 devices cannot", "batch_size: 6"),
    ("slice_ldm", "{denoiser: {attention_levels: [3, 4]}}", "attention_levels holds 4", "attention_levels: [3]"),
    ("slice_ldm", "{autoencoder: {loss: {l1: 0, ssim: 0}}}", "autoencoder.loss.l1 is 0", "teach intensities"),
    ("slice_ldm", "{autoencoder: {loss: {perceptual_weights: /no}}}", "names '/no', which is no file", "package"),
    ("slice_ldm", "{autoencoder: {training: {decay: linear}}}", "training.decay is 'linear'", "cosine, constant"),
    ("slice_ldm", "{diffusion: {parameterization: flow}}", "diffusion.schedule is cosine", "schedule: flow"),
    ("slice_ldm", "{diffusion: {schedule: flow}}", "diffusion.parameterization is v", "parameterization: flow"),
    ("slice_ldm", "{diffusion: {schedule: flow, parameterization: flow}}", "sampler.name is dpmpp_2m", "name: euler"),
    ("slice_ldm", "{sampler: {name: heun}}", "sampler.name is heun", "dpmpp_2m, ddim, ddpm", "name: dpmpp_2m"),
    ("slice_ldm", "{sampler: 3}", "sampler is 3, but must be a mapping"),
    ("ldm_3d", "{autoencoder: {kind: vae_4d}}", "autoencoder.kind is 'vae_4d'", "slice_vae, vae_3d"),
    ("ldm_3d", "{autoencoder: {position: mm}}", "unknown key 'position' under 'autoencoder'"),
    (
        "ldm_3d",
        "{autoencoder: {discriminator: {weight: -1}}}",
        "autoencoder.discriminator.weight is -1",
        "weight: 0.01",
    ),
    ("ldm_3d", "{autoencoder: {patch_size: [48, 100, 96]}}", "patch_size", "[48, 104, 96]"),
    ("ldm_3d", "{autoencoder: {patch_size: [48, 96, 400]}}", "larger than", "[48, 96, 192]"),
    ("ldm_3d", "{published: [{part: unet}]}", "published.size is missing", "a list of at least 2"),
    ("slice_ldm_2d", "{autoencoder: {latent_channels: 3}}", "shares the autoencoder of slice_ldm", "latent_c"),
    ("lsgan_3d", "{gan: {z_dims: 3}}", "unknown key 'z_dims' under 'gan'", "Did you mean 'z_dim'"),
    ("lsgan_3d", "{denoiser: {}}", "denoiser does not go with `kind: gan`", "denoiser: null"),
]


@pytest.mark.parametrize(("name", "settings", "expected"), [(n, s, words) for n, s, *words in OF_SYSTEMS])
def test_a_mistake_in_a_system_is_answered_by_what_to_write(name, settings, expected):
    with pytest.raises(UserError) as caught:
        read(systems=[name], system_settings={name: line(settings)})
    for words in expected:
        assert words in str(caught.value)


def numbers(block: type[Block], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The way to every number, and every list of numbers, below a model."""
    found = []
    for name, field in block.model_fields.items():
        inner = blocks_of(field)
        if not inner and ("float" in str(field.annotation) or "int" in str(field.annotation)):
            found.append((*path, name))
        for one in inner if name != "published" else []:
            found += numbers(one, (*path, name))
    return found


def enclosed(path: tuple[str, ...], value: object) -> dict:
    for key in reversed(path):
        value = {key: value}
    return value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_no_number_may_be_nan_or_infinite(value):
    ways = [(model, path) for model in (Study, SYSTEM) for path in numbers(model)]
    assert len(ways) > 120
    for model, path in ways:
        kind = "vae_3d" if path[1:2] in (("discriminator",), ("patch_size",)) else "slice_vae"
        needed = {"data_root": "demo"} if model is Study else {"label": "x", "autoencoder": {"kind": kind}}
        for wrong in (value, [value], [0, value], str(value)):
            with pytest.raises(UserError) as caught:
                model.read(merge(needed, enclosed(path, wrong)))
            assert ".".join(path) in str(caught.value)
