"""Changed copies of the training cases: encoded, measured on themselves, and what a denoiser learns of beside the cases."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from brats import CONDITIONS, REGIONS
from safetensors.torch import load_file
from subsets import subset_paths

from workflow_scripts.base.files import read_json, write_json
from workflow_scripts.diffusion.conditioning import Conditioning
from workflow_scripts.diffusion.denoising import DenoisingTask
from workflow_scripts.diffusion.generator import Request
from workflow_scripts.diffusion.kinds import load_generator
from workflow_scripts.diffusion.training_set import TrainingFiles, read_training_set
from workflow_scripts.programs.autoencoder import extract_latents, train_autoencoder
from workflow_scripts.programs.generator import measure_tumours, train_generator
from workflow_scripts.study.files import Files
from workflow_scripts.study.settings.generator import Conditions, Diffusion
from workflow_scripts.study.settings.synthesis import SynthesisSettings
from workflow_scripts.study.settings.training import TrainSettings

CASE = "BraTS-GLI-{:05d}-000".format
TRAINING = {"steps": 2, "batch_size": 2, "precision": "32", "warmup_steps": 0}
AUTOENCODER = {"kind": "slice_vae", "channels": [16, 24], "strides": [1, 2], "latent_channels": 3, "embedding_dim": 16}
X = CONDITIONS.index("centroid_x_mm")


def program(main, config, **options):
    options = {"config": json.dumps(config), **options, "threads": 1}
    main([text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, preprocessed_cohort):
    folder = preprocessed_cohort(tmp_path_factory.mktemp("cohort"), cases=4)
    names = {"train": {"2": [CASE(0), CASE(1)]}, "val": [CASE(2)], "test": [CASE(3)]}
    write_json(folder / "splits.json", {"seed": 0, **names})
    train = subset_paths(cohort := folder, "train")
    asked = {**AUTOENCODER, "regions": list(REGIONS), "training": TRAINING}
    program(train_autoencoder.main, asked, **train, out=cohort / "autoencoder", state=cohort / "state")
    program(measure_tumours.main, {"regions": list(REGIONS)}, **train, out=cohort / "conditions.tsv")
    return folder


def encoded(cohort, name, **settings):
    out = cohort / name
    program(
        extract_latents.main, settings, **subset_paths(cohort, "train"), autoencoder=cohort / "autoencoder", out=out
    )
    return out


@pytest.fixture(scope="module")
def latents(cohort):
    return encoded(cohort, "latents", variants=4, positional_mean=True)


def training_set(cohort, latents):
    files = TrainingFiles(cohort / "conditions.tsv", latents, cohort / "autoencoder")
    return read_training_set(files, REGIONS, normalised=True)


def test_the_copies_are_functions_of_the_seed_and_measured_on_themselves(cohort, latents):
    again, other = (
        encoded(cohort, "again", variants=4, positional_mean=True),
        encoded(cohort, "other", variants=4, seed=1),
    )
    same = (again / "latents.safetensors").read_bytes() == (latents / "latents.safetensors").read_bytes()
    assert same and (other / "latents.safetensors").read_bytes() != (latents / "latents.safetensors").read_bytes()
    variants = training_set(cohort, latents).variants
    assert variants.latents.shape[:2] == (2, 4) and not variants.labels[:, :2].any() and variants.labels[:, 2:].any()
    np.testing.assert_allclose(variants.conditions[:, 1, X], -variants.conditions[:, 0, X], atol=1e-4)
    assert not torch.equal(variants.conditions[:, 2], variants.conditions[:, 0])


def test_the_cases_themselves_are_encoded_as_without_copies(cohort, latents):
    plain, more = (load_file(folder / "latents.safetensors") for folder in (encoded(cohort, "plain"), latents))
    assert len(plain) == 2 and all(torch.equal(plain[case_id], more[case_id]) for case_id in plain)
    assert training_set(cohort, cohort / "plain").variants is None


def test_nothing_is_left_of_the_mean_of_a_place(cohort, latents):
    data = training_set(cohort, latents)
    assert data.variants.latents.mean(dim=(0, 1)).abs().max() < 1e-4
    np.testing.assert_allclose(data.variants.latents.square().mean(dim=(0, 1, 3, 4, 5)), 1.0, rtol=1e-4)
    restored = data.latents[0] * torch.tensor(data.scale["std"])[:, None, None, None] + data.positional_mean
    torch.testing.assert_close(
        restored, load_file(latents / "latents.safetensors")[data.case_ids[0]], atol=1e-4, rtol=0
    )


def test_a_batch_tells_of_each_copy_what_was_measured_on_it(cohort, latents):
    data = training_set(cohort, latents)
    told = Conditioning(
        Conditions(augmentation_label=True), data.conditions, data.contract["grid"], data.scale["shape"]
    )
    settings = TrainSettings.read({"steps": 1, "batch_size": 2})
    task = DenoisingTask(torch.nn.Linear(1, 1), data, told, Diffusion(), settings, seed=0)
    seen, known = set(), data.variants.latents.flatten(0, 1)
    numbers = told.numbers(data.variants.conditions.flatten(0, 1), labels=data.variants.labels.flatten(0, 1))
    for step in range(40):
        batch = task.batch(step)
        for latent, own in zip(batch["latents"], batch["conditions"], strict=True):
            (place,) = [index for index, one in enumerate(known) if torch.equal(one, latent)]
            assert torch.equal(numbers[place], own)
            seen.add(place)
    assert seen == set(range(8))


def test_a_model_with_all_of_it_trains_and_draws_from_its_folder_alone(cohort, latents, tmp_path):
    asked = {"system": "tiny", "regions": list(REGIONS)}
    asked |= {"denoiser": {"channels": [8, 8], "blocks_per_level": 1, "embedding_dim": 16}}
    asked |= {"diffusion": {"depth_correlation": 0.7, "training": TRAINING}}
    asked |= {"conditions": {"scalars": ["volume_ml"], "spatial": "ellipsoid", "spatial_jitter": 0.1, "noise": 0.2}}
    inputs = {"latents": latents, "autoencoder": cohort / "autoencoder", "conditions": cohort / "conditions.tsv"}
    program(train_generator.main, asked, **inputs, out=tmp_path / "model", state=tmp_path / "state")
    generator = load_generator(tmp_path / "model", SynthesisSettings(), torch.device("cpu"))
    requests = [Request(row, torch.Generator().manual_seed(3)) for row in generator.conditions.rows]
    both, alone = (
        generator.latents(requests),
        generator.latents([Request(requests[1].conditions, torch.Generator().manual_seed(3))]),
    )
    assert list(both.shape[1:]) == read_json(tmp_path / "model/model.json")["latent"]["shape"]
    torch.testing.assert_close(both[1], alone[0], atol=1e-3, rtol=0)


def test_a_step_is_chosen_by_the_validation_cases_where_that_is_asked_for(cohort, latents, tmp_path, caplog):
    asked = {"system": "tiny", "regions": list(REGIONS)}
    asked |= {"denoiser": {"channels": [8, 8], "blocks_per_level": 1, "embedding_dim": 16}}
    inputs = {"latents": latents, "autoencoder": cohort / "autoencoder", "conditions": cohort / "conditions.tsv"}
    val = subset_paths(cohort, "val")
    kept = {}
    for every in (None, 2):
        diffusion = {"held_out_every_steps": every, "training": TRAINING | {"steps": 4, "learning_rate": 1e-5}}
        out, state = tmp_path / str(every), tmp_path / f"state {every}"
        with caplog.at_level("INFO"):
            program(
                train_generator.main,
                asked | {"diffusion": diffusion},
                **inputs,
                **(val if every else {}),
                out=out,
                state=state,
            )
        kept[every] = load_file(out / "model.safetensors"), read_json(out / "model.json")
    assert kept[None][1]["step_chosen_by"] == [] and kept[2][1]["step_chosen_by"] == [CASE(2)]
    assert kept[2][1]["training_case_ids"] == [CASE(0), CASE(1)]
    losses = [float(found) for found in re.findall(r"held-out loss after \d+ steps: ([0-9.]+)", caplog.text)]
    assert len(losses) == 2
    if losses[1] < losses[0]:
        assert all(torch.equal(kept[None][0][name], value) for name, value in kept[2][0].items())


def test_the_workflow_hands_the_validation_subset_to_a_training_that_asks_for_it_alone():
    def given(every):
        system = {"diffusion": {"held_out_every_steps": every}, "autoencoder": None, "generator": None}
        files = object.__new__(Files)
        files.config, files.run = {"system": {"mine": system}}, "results/study"
        return files.judged_by(SimpleNamespace(system="mine"))

    assert given(None) == [] and given(50) == ["results/study/cohort/val/manifest.json"]
