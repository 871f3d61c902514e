"""Tumours of a trained model in training patients, through the programs: what stays, what changes, and bad input."""

import json
import shutil

import numpy as np
import pytest
import tiny_generator
import tiny_systems
from subsets import subset_paths
from tiny_generator import CONFIG, MODALITIES, SYNTHESIS, TRAINING

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.memorisation.copy_gate import CopyGate
from workflow_scripts.memorisation.reference import load_reference
from workflow_scripts.programs.generator import train_generator
from workflow_scripts.programs.memorisation import memorisation_reference
from workflow_scripts.programs.synthesis import synthesize
from workflow_scripts.training.model_files import contract_digest, load_model

EDITING = {"flips": False, "margin_mm": 8.0, "fade_mm": 8.0}


@pytest.fixture(scope="module")
def inputs(trained_heads, tmp_path_factory):
    folder = shutil.copytree(trained_heads, tmp_path_factory.mktemp("heads") / "inputs")
    tiny_systems.make_cohort(folder / "cohort", 6)
    lend(folder, folder / "edit")
    return folder


def lend(folder, out, model=None, **changes):
    config = json.dumps(CONFIG | {"system": "edit", "kind": "editing"} | changes)
    paths = {"conditions": folder / "latents" / "conditions.tsv", "model": model or folder / "model", "out": out}
    paths["state"] = folder / "state"
    train_generator.main(
        ["--config", config, *(str(text) for name, path in paths.items() for text in (f"--{name}", path))]
    )


@pytest.fixture(scope="module")
def train(inputs):
    return subset_paths(inputs / "cohort", "train")["train"]


def run(model, train, out, *arguments, **editing):
    config = json.dumps(SYNTHESIS | {"editing": EDITING | editing})
    given = ["--model", model, "--out", out, "--threads", 1, "--config", config, *arguments]
    synthesize.main([str(text) for text in (*given, *(["--train", train] if train else []))])
    return read_tsv(out / "cases.tsv")


@pytest.fixture(scope="module")
def made(inputs, train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return run(inputs / "edit", train, folder, "--count", 6), folder


def pairs(made, train):
    table, folder = made
    store = Subset.open(train).store
    for row in table.to_dict("records"):
        host = np.asarray(store.image(row["host"]), np.float32), np.asarray(store.levels(row["host"]))
        yield row, host, read_synthetic_case(folder / row["case_id"], row["case_id"], MODALITIES)


def test_the_model_is_a_copy_that_says_whose_it_is(inputs):
    lent, own = (read_json(inputs / name / "model.json") for name in ("edit", "model"))
    assert lent["name"] == "edit"
    assert lent["made_from"] == {"name": "tiny", "digest": contract_digest(inputs / "model")}
    assert lent["weights_sha256"] == own["weights_sha256"]
    assert (inputs / "edit" / "loss.csv").read_bytes() == (inputs / "model" / "loss.csv").read_bytes()


def test_each_patient_is_a_host_and_keeps_his_background(made, train):
    assert set(made[0]["host"]) <= set(Subset.open(train).case_ids)
    assert made[0]["host"].nunique() > 3
    for _, (image, _), (edited, levels) in pairs(made, train):
        np.testing.assert_array_equal(edited > -1, np.broadcast_to((image > -1).any(axis=0), image.shape))
        assert not (levels > 0)[(image == -1).all(axis=0)].any()


def test_the_wanted_tumour_is_there_and_the_patients_own_is_not(made, train):
    for row, (image, own), (edited, levels) in pairs(made, train):
        asked, measured = ([row[f"{kind}_centroid_{axis}_mm"] for axis in "xyz"] for kind in ("requested", "measured"))
        assert np.linalg.norm(np.subtract(asked, measured)) < 30
        healed = (own > 0) & (levels == 0)
        healthy = image[:, (own == 0) & (image[0] > -1)].mean(axis=1)
        if healed.sum() > 20:
            np.testing.assert_allclose(np.median(edited[:, healed], axis=1), healthy, atol=0.1)
        assert edited[1][levels > 0].mean() > healthy[1] + 0.25


def test_far_from_both_tumours_the_image_is_the_patients(made, train):
    for _, (image, own), (edited, levels) in pairs(made, train):
        reach = tiny_generator.GRID["spacing_mm"]
        near = np.zeros(levels.shape, bool)
        where = np.argwhere((levels > 0) | (own > 0)) * reach
        for index in np.argwhere(~near):
            near[tuple(index)] = (np.square(where - index * reach).sum(axis=1) <= 16.5**2).any()
        np.testing.assert_allclose(edited[:, ~near], image[:, ~near], atol=2e-3)


@pytest.mark.parametrize("host_tumour", ["heal", "resample"])
def test_a_case_is_the_same_in_whatever_block_it_is_made(inputs, train, tmp_path, host_tumour):
    both = run(inputs / "edit", train, tmp_path / "both", "--count", 2, host_tumour=host_tumour, flips=True)
    one = run(inputs / "edit", train, tmp_path / "one", "--count", 1, "--first", 1, host_tumour=host_tumour, flips=True)
    case_id = one["case_id"][0]
    assert case_id == both["case_id"][1]
    for path in (tmp_path / "one" / case_id).iterdir():
        assert path.read_bytes() == (tmp_path / "both" / case_id / path.name).read_bytes()


def test_a_patient_may_keep_his_own_tumour(inputs, train, tmp_path):
    gate = {"foreground_volume_tolerance": 1, "feature_tolerance": 1000, "min_largest_component_fraction": 0}
    config = json.dumps(SYNTHESIS | {"gate": gate, "editing": EDITING | {"host_tumour": "keep"}})
    (tmp_path / "tumours.csv").write_text("host,centroid_x_mm\nhead-00000-000,18\n")
    arguments = ["--model", inputs / "edit", "--out", tmp_path / "out", "--threads", 1, "--config", config]
    synthesize.main([str(text) for text in (*arguments, "--train", train, "--requests", tmp_path / "tumours.csv")])
    made = read_tsv(tmp_path / "out" / "cases.tsv"), tmp_path / "out"
    ((_, (image, own), (edited, levels)),) = pairs(made, train)
    assert (levels[own > 0] >= own[own > 0]).all()
    np.testing.assert_allclose(edited[:, own > 0], image[:, own > 0], atol=0.15)
    assert (levels > 0).sum() > (own > 0).sum()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "latents"}, "no trained model"),
        ({"model": "autoencoder"}, "not the generator that edit draws with"),
        ({"diffusion": CONFIG["diffusion"] | {"training": TRAINING | {"steps": 7}}}, "snakemake generator"),
    ],
)
def test_another_model_than_the_systems_is_refused(inputs, tmp_path, changes, said):
    changes = {name: inputs / value if name == "model" else value for name, value in changes.items()}
    with pytest.raises(UserError, match=said):
        lend(inputs, tmp_path / "out", **changes)


def test_a_model_that_started_from_another_one_is_the_systems_too(inputs, tmp_path):
    started = {
        "diffusion": CONFIG["diffusion"] | {"training": TRAINING | {"steps": 1, "start_from": str(inputs / "model")}}
    }
    tiny_generator.train(inputs, tmp_path / "state", tmp_path / "model", CONFIG | started)
    lend(inputs, tmp_path / "edit", tmp_path / "model", **started)
    said = (tmp_path / "edit" / "model.json").read_text()
    assert [start["name"] for start in json.loads(said)["started_from"]] == ["tiny"] and str(inputs) not in said


def test_no_patients_are_given(inputs, tmp_path):
    with pytest.raises(UserError, match="give --train"):
        run(inputs / "edit", None, tmp_path, "--count", 1)


def compared(train, out, what):
    config = json.dumps({"resolution_mm": 8.0, "max_shift_mm": 8.0})
    arguments = ["--train", train, "--out", out, "--compared", what, "--threads", 1, "--config", config]
    memorisation_reference.main([str(text) for text in arguments])
    return load_reference(out)


def test_the_gate_against_copies_looks_at_the_tumour_wherever_it_lies(inputs, train, tmp_path):
    reference, contract = compared(train, tmp_path / "tumours", "tumours"), load_model(inputs / "edit")[1]
    store = Subset.open(train).store
    case_ids = Subset.open(train).case_ids
    gate = CopyGate(reference, 0.5, contract)
    image, levels = np.array(store.image(case_ids[0])), np.array(store.levels(case_ids[0]))
    brain, own = np.array(store.image(case_ids[3])), np.array(store.levels(case_ids[3])) > 0
    brain[:, own] = -0.2
    copied, mask = brain.copy(), np.roll(levels, (0, 1, 2), axis=(0, 1, 2))
    copied[:, mask > 0] = np.roll(image, (0, 1, 2), axis=(1, 2, 3))[:, mask > 0]
    row = [
        reference.nearest_image(reference.coarse_image(reference.view(*case)[0]))[0]
        for case in ((copied, mask), (image, levels))
    ]
    assert row[0].index == row[1].index == 0
    assert row[0].similarity > 0.9
    assert all("its tumour" in reason for reason in gate(copied, mask))


def test_the_gate_of_whole_cases_is_refused_for_cases_in_training_patients(inputs, train, tmp_path):
    reference = compared(train, tmp_path / "cases", "cases")
    with pytest.raises(UserError, match="memorisation/tumours"):
        CopyGate(reference, 0.5, load_model(inputs / "edit")[1])
