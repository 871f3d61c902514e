"""train_depth_decoder and attach_depth_decoder on tiny cohorts: they learn, measure, resume, and leave the rest as it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_systems
import torch
from subsets import subset_paths
from tiny_generator import MODALITIES, SYNTHESIS

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.diffusion.kinds import load_generator
from workflow_scripts.evaluation.reconstruction import through_plane_scores
from workflow_scripts.programs.autoencoder import measure_reconstruction, train_depth_decoder
from workflow_scripts.programs.generator import attach_depth_decoder
from workflow_scripts.programs.synthesis import synthesize
from workflow_scripts.study.settings.synthesis import SynthesisSettings
from workflow_scripts.training.depth_decoder_task import through_plane_loss

ROOT = Path(__file__).parents[2]
TRAINING = {
    "steps": 150, "batch_size": 4, "learning_rate": 2e-3, "warmup_steps": 5, "decay": "cosine", "gradient_clip": 1.0,
    "ema_half_life_steps": 5, "precision": "32", "checkpoint_minutes": 0, "log_every_steps": 5,
}  # fmt: skip
CONFIG = {"levels": "all", "kernel_size": 3, "slab_slices": 6, "latent_noise": 0.3, "training": TRAINING, "seed": 0}
TRAIN, HELD_OUT = ["head-00000-000", "head-00001-000"], "head-00002-000"
OPEN_GATE = {"min_volume_ml": 0, "max_outside_foreground_fraction": 1, "min_largest_component_fraction": 0}
OPEN_GATE |= {"feature_tolerance": 1000, "foreground_volume_tolerance": 1000}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two heads to train on and one held out, with a slice autoencoder and its latents."""
    folder = tiny_systems.make_cohort(tmp_path_factory.mktemp("heads"))
    tiny_systems.prepare(folder, "slice_vae")
    return folder


def arguments(cohort, out, changes=None, training=None, volumes=None, splits=None, **paths) -> list[str]:
    config = CONFIG | {"training": TRAINING | (training or {})} | (changes or {})
    options = {
        "config": json.dumps(config),
        "autoencoder": cohort / "slice_vae/autoencoder",
        "latents": cohort / "slice_vae/latents",
        **subset_paths(cohort, "train", volumes=volumes, splits=splits),
        "threads": 1,
        "out": out / "depth_decoder",
        "state": out / "state",
        **paths,
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def run(cohort, out, *args, **paths):
    train_depth_decoder.main(arguments(cohort, out, *args, **paths))
    return out / "depth_decoder"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    before = contents(cohort / "slice_vae")
    folder = run(cohort, tmp_path_factory.mktemp("trained"))
    assert contents(cohort / "slice_vae") == before, "autoencoder and latents are left as they are"
    return folder


@pytest.fixture(scope="module")
def measured(trained, cohort, tmp_path_factory):
    """Folder with reconstruction.tsv, cost.tsv and the picture of both decoders."""
    out, space = tmp_path_factory.mktemp("measured"), cohort / "slice_vae"
    options = {"autoencoder": space / "autoencoder", "latents": space / "latents", "depth-decoder": trained}
    options |= {"out": out / "reconstruction.tsv", "cost": out / "cost.tsv", "picture": out / "reconstruction.png"}
    options |= {**subset_paths(cohort, "train", "val"), "threads": 1}
    measure_reconstruction.main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    return out


@pytest.fixture(scope="module")
def generator(cohort, tmp_path_factory):
    return tiny_systems.train("slice_ldm", cohort, tmp_path_factory.mktemp("generator"), steps=200)


@pytest.fixture
def model(generator, tmp_path):
    """A copy of the generator's folder, to attach a decoder to."""
    return Path(shutil.copytree(generator, tmp_path / "model"))


def mean(table, decoder, metric, noise=0.0, plane="volume"):
    found = table.query("decoder == @decoder and metric == @metric and latent_noise == @noise and plane == @plane")
    return found["value"].mean()


def test_it_gives_differences_between_slices_back_better_and_intensities_too(measured):
    table = read_tsv(measured / "reconstruction.tsv")
    assert set(table["case_id"]) == {HELD_OUT} and set(table["decoder"]) == {"slice", "depth"}
    for noise in (0.0, 0.3):
        errors = [mean(table, decoder, "through_plane_error", noise) for decoder in ("slice", "depth")]
        assert errors[1] < 0.95 * errors[0], noise
        errors = [mean(table, decoder, "l1", noise) for decoder in ("slice", "depth")]
        assert errors[1] < errors[0], noise
    assert (measured / "reconstruction.png").read_bytes().startswith(b"\x89PNG")


def test_what_either_decoder_costs_is_counted_and_timed(measured):
    cost = read_tsv(measured / "cost.tsv").set_index("decoder")
    assert list(cost.index) == ["slice", "depth"]
    for column in ("parameters_m", "convolution_macs_g", "gflop_per_volume"):
        assert cost[column]["depth"] > cost[column]["slice"] > 0, column
    assert (cost["seconds_per_volume"] > 0).all() and (cost["grid"] == "12x16x16").all()


def test_the_contract_says_what_it_is_and_names_the_train_cases_alone(trained, cohort):
    contract, autoencoder = (read_json(f / "model.json") for f in (trained, cohort / "slice_vae/autoencoder"))
    assert contract["kind"] == "depth_decoder" and contract["spec"] == {"levels": "all", "kernel_size": 3}
    assert contract["training_case_ids"] == TRAIN
    for key in ("name", "grid", "latent_shape", "modalities", "regions"):
        assert contract[key] == autoencoder[key], key
    assert contract["autoencoder"] == autoencoder["spec"]


def test_volumes_of_other_cases_cannot_change_it(trained, cohort, tmp_path):
    volumes = Path(shutil.copytree(cohort / "volumes", tmp_path / "volumes"))
    store = VolumeStore(volumes)
    store.save(HELD_OUT, -np.array(store.image(HELD_OUT)), np.array(store.levels(HELD_OUT)), store.meta(HELD_OUT))
    other = run(cohort, tmp_path, volumes=volumes)
    for name in ("model.safetensors", "model.json", "loss.csv"):
        assert (other / name).read_bytes() == (trained / name).read_bytes()


def test_two_processes_train_as_one(cohort, tmp_path):
    """Gradients are summed in another order, and the differences grow with the steps: the first ten are compared."""
    curves = []
    for devices in (1, 2):
        training = {"devices": devices, "steps": 20, "log_every_steps": 10}
        folder = run(cohort, tmp_path / str(devices), {"slice_layers": "fixed"}, training)
        names, first, *_ = ((folder / "loss.csv").read_text()).splitlines()
        curves.append(dict(zip(names.split(","), map(float, first.split(",")), strict=True)))
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)


def test_the_model_is_written_by_who_holds_the_state(cohort, tmp_path, holders_at_save):
    holders = holders_at_save(tmp_path / "state")
    run(cohort, tmp_path, training={"steps": 2})
    assert [json.loads(holder)["process"] for holder in holders] == [os.getpid()]


def test_with_the_slice_layers_fixed_the_branches_alone_are_learned(cohort, tmp_path):
    folder = run(cohort, tmp_path, {"slice_layers": "fixed"}, {"steps": 5})
    weights = train_weights(folder)
    autoencoder = train_weights(cohort / "slice_vae/autoencoder")
    shared = {name for name in weights if not name.startswith("mixers.")}
    assert shared < set(autoencoder) and all(torch.equal(weights[name], autoencoder[name]) for name in shared)
    moved = [name for name in weights if name.endswith("project.weight")]
    assert len(moved) == 3 and all(weights[name].abs().sum() > 0 for name in moved)


def train_weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def attach(decoder, model):
    attach_depth_decoder.main(["--depth-decoder", str(decoder), "--model", str(model), "--threads", "1"])
    return model


def make(model, out, **config):
    config = json.dumps(SYNTHESIS | {"gate": OPEN_GATE} | config)
    synthesize.main(["--model", str(model), "--out", str(out), "--count", "2", "--threads", "1", "--config", config])
    table = read_tsv(out / "cases.tsv")
    return table, [read_synthetic_case(out / case_id, case_id, MODALITIES)[0] for case_id in table["case_id"]]


def test_a_generators_folder_with_it_decodes_along_depth_and_can_be_told_not_to(trained, model, tmp_path):
    before, plain = make(model, tmp_path / "before")
    generator_files = contents(model)
    attach(trained, model)
    assert {name: content for name, content in contents(model).items() if "/" not in name} == generator_files
    moved = Path(shutil.move(model, tmp_path / "elsewhere"))  # nothing outside of the folder is needed
    on, along_depth = make(moved, tmp_path / "on")
    off, again = make(moved, tmp_path / "off", depth_decoder=False)
    assert on["along_depth"].all() and not off["along_depth"].any() and not before["along_depth"].any()
    for one, other, third in zip(plain, along_depth, again, strict=True):
        np.testing.assert_array_equal(one, third)
        assert 0.001 < np.abs(one - other).mean() < 0.2
    steps = [np.mean([np.abs(np.diff(image, axis=1)).mean() for image in images]) for images in (plain, along_depth)]
    assert steps[1] < steps[0], "the generated latents' jitter between slices is smoothed"


def test_synthesis_that_wants_a_missing_decoder_says_so(model, tmp_path):
    with pytest.raises(UserError, match="holds no depth decoder"):
        make(model, tmp_path / "out", depth_decoder=True)
    with pytest.raises(UserError, match="depth_decoder is 'maybe'"):
        make(model, tmp_path / "out", depth_decoder="maybe")


def test_a_decoder_of_another_autoencoder_is_refused(cohort, model, tmp_path):
    other = Path(shutil.copytree(cohort, tmp_path / "other"))
    shutil.rmtree(other / "slice_vae")
    tiny_systems.prepare(other, "slice_vae", training={"steps": 20})
    decoder = run(other, tmp_path / "decoder", training={"steps": 3})
    with pytest.raises(UserError, match="was trained for another autoencoder"):
        attach(decoder, model)
    assert not (model / "depth_decoder").exists()
    shutil.copytree(decoder, model / "depth_decoder")
    with pytest.raises(UserError, match="was trained for another autoencoder"):
        load_generator(model, SynthesisSettings(), torch.device("cpu"))
    assert load_generator(model, SynthesisSettings(depth_decoder=False), torch.device("cpu"))
    with pytest.raises(UserError, match=r"latents in .* were made by another autoencoder"):
        run(cohort, tmp_path / "mixed", latents=other / "slice_vae/latents")
    with pytest.raises(UserError, match="holds a trained autoencoder, not a depth decoder"):
        attach(cohort / "slice_vae/autoencoder", model)


@pytest.mark.parametrize(
    ("changes", "training", "message"),
    [
        ({"level": [1]}, {}, "unknown key 'level' under 'depth_decoder'. Did you mean 'levels'"),
        ({"levels": [4]}, {}, "go beyond the 3 levels"),
        ({"latent_noise": -1}, {}, "latent_noise is -1"),
        ({"through_plane": "much"}, {}, "through_plane is 'much'"),
        ({"slice_layers": "some"}, {}, "must be one of trained, fixed"),
        ({"slab_slices": 40}, {}, "from 2 to the depth, 12"),
        ({}, {"step": 3}, "unknown key 'step' under 'depth_decoder.training'"),
    ],
)
def test_wrong_settings_are_refused_before_any_training(cohort, tmp_path, changes, training, message):
    with pytest.raises(UserError, match=message):
        run(cohort, tmp_path, changes, training)
    assert not (tmp_path / "depth_decoder").exists()


def test_another_subset_and_another_kind_are_refused(cohort, tmp_path):
    splits = {"train": {"2": [TRAIN[0], HELD_OUT]}, "val": [TRAIN[1]]}
    with pytest.raises(UserError, match="was not trained on the train subset of 2 patients"):
        run(cohort, tmp_path, splits=splits)
    with pytest.raises(UserError, match="holds no trained model"):
        run(cohort, tmp_path, autoencoder=tmp_path)


def test_a_user_sees_one_sentence_and_no_traceback(cohort, tmp_path):
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.programs.autoencoder.train_depth_decoder",
        *arguments(cohort, tmp_path, {"slab_slices": 1}),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ") and "Traceback" not in ended.stderr


def test_through_plane_scores_in_closed_form():
    """A ramp along depth of slope s, given back with slope t: every difference is off by |s - t|, the ratio is t / s."""
    depth = torch.arange(8.0).view(1, -1, 1, 1)
    reference, image = (-0.9 + slope * depth.expand(2, 8, 5, 5).clone() for slope in (0.1, 0.15))
    reference[:, :, 0], image[:, :, 0] = -1.0, 0.7  # background does not count
    for scores in through_plane_scores(image, reference):
        assert scores["through_plane_error"] == pytest.approx(0.05, rel=1e-4)
        assert scores["through_plane_ratio"] == pytest.approx(1.5, rel=1e-4)
    assert through_plane_loss(reference[None], reference[None]).item() == 0
    assert through_plane_loss(image[None, :, :, 1:], reference[None, :, :, 1:]).item() == pytest.approx(0.05, rel=1e-4)
