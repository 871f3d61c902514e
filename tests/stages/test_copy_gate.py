"""The release gate in synthesize: a generator that reproduces its training cases has them refused, listed and drawn again.

The generator is the tiny one. What it makes without the gate is declared to be its training cases: then it reproduces
them exactly, and draws that come out otherwise are other cases.
"""

import json
import shutil

import numpy as np
import pytest
import tiny_generator
from planted import make_reference, plant, shifted
from safetensors.torch import load_file, save_file
from subsets import subset_options
from tiny_generator import MODALITIES, OPEN_GATE, SYNTHESIS, write_cohort

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_json
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.memorisation.copy_gate import CopyGate, is_copy_reason
from workflow_scripts.memorisation.reference import load_reference
from workflow_scripts.memorisation.release import write_release
from workflow_scripts.programs.memorisation import audit_memorisation, calibrate_memorisation
from workflow_scripts.programs.synthesis import synthesize
from workflow_scripts.training.latents import LATENTS
from workflow_scripts.training.model_files import load_model


@pytest.fixture(scope="module")
def inputs(trained_heads, tmp_path_factory):
    return shutil.copytree(trained_heads, tmp_path_factory.mktemp("heads") / "inputs")


@pytest.fixture(scope="module")
def model(inputs):
    return inputs / "model"


def run(model, out, *arguments, **config):
    config = json.dumps(SYNTHESIS | {"gate": OPEN_GATE} | config)
    synthesize.main(
        ["--model", str(model), "--out", str(out), "--threads", "1", "--config", config, *map(str, arguments)]
    )
    return out


def volume_of(folder, number):
    case_id = f"SliceAug-{number:05d}-000"
    return read_synthetic_case(folder / case_id, case_id, MODALITIES)


@pytest.fixture(scope="module")
def memorised(model, tmp_path_factory):
    """Without the gate: cases 0 to 7. Cases 0, 1 and 2 are declared training cases, the others are real heads."""
    folder = tmp_path_factory.mktemp("memorised")
    free = run(model, folder / "free", "--count", 3)
    heads = tiny_generator.heads(8)
    rng = np.random.default_rng(0)

    def textured(image):
        return np.where(image > -1, np.clip(image + rng.normal(0, 0.3, image.shape), -0.99, 1), -1)

    strangers = [(textured(image), levels) for image, levels in heads[3:]]
    ids = write_cohort(folder, model, [volume_of(free, number) for number in range(3)] + strangers)
    make_reference(folder, 6, max_shift_mm=10.0)
    return folder, ids


def test_copies_are_refused_listed_and_drawn_again(model, memorised, tmp_path):
    folder, ids = memorised
    run(model, tmp_path, "--count", 5, *gate_options(folder))
    table, refused = read_tsv(tmp_path / "cases.tsv"), read_tsv(tmp_path / "rejected.tsv")
    copies = refused[refused.attempt == 0].set_index("number")
    for number in range(3):
        assert f"a copy of training case {ids[number]}: similarity 1.000" in copies.reason[number]
        assert table.set_index("number").attempts[number] > 1
        assert not np.array_equal(volume_of(tmp_path, number)[0], volume_of(folder / "free", number)[0])
    assert refused.reason.map(is_copy_reason).all()
    assert list(table.number) == [0, 1, 2, 3, 4], "each case is drawn again until it is none"
    gate = CopyGate(load_reference(folder / "n_real~6/memorisation"), 0.1, load_model(model)[1])
    assert not any(gate(*volume_of(tmp_path, number)) for number in table.number)
    again = run(model, tmp_path / "again", "--count", 5, *gate_options(folder))
    assert (again / "rejected.tsv").read_bytes() == (tmp_path / "rejected.tsv").read_bytes()


def gate_options(folder):
    return ["--refuse-copies", folder / "n_real~6/memorisation", "--false-positive-rate", "0.1"]


def test_without_the_gate_copies_pass(model, memorised):
    folder, _ = memorised
    refused = read_tsv(folder / "free" / "rejected.tsv")
    assert not refused.reason.map(is_copy_reason).any()


def test_a_mirrored_copy_is_refused_as_well(model, memorised):
    folder, _ = memorised
    gate = CopyGate(load_reference(folder / "n_real~6/memorisation"), 0.1, load_model(model)[1])
    image, levels = volume_of(folder / "free", 1)
    assert gate(image, levels) and gate(image[..., ::-1], levels) and gate(shifted(image, (0, 1, -1)), levels)


def test_a_generator_that_copies_and_nothing_else_ends_in_a_sentence_that_says_so(model, memorised, tmp_path):
    folder, _ = memorised
    with pytest.raises(UserError) as caught:
        run(model, tmp_path, "--count", 1, *gate_options(folder), max_redraws=0)
    message = str(caught.value)
    for words in (
        "every draw of 1 of 1 cases",
        "1 x copy of a training case (memorisation)",
        "for fewer steps",
        "action: warn",
    ):
        assert words in message
    assert "Train the generator longer" not in message
    assert len(read_tsv(tmp_path / "rejected.failed.tsv")) == 1
    assert not (tmp_path / "cases.tsv").exists()


def test_the_training_set_of_another_model_is_refused(model, memorised, tmp_path):
    folder, _ = memorised
    source = folder / "n_real~6/memorisation"
    (tmp_path / "reference.safetensors").write_bytes((source / "reference.safetensors").read_bytes())
    description = read_json(source / "reference.json")
    for key, value, words in (
        ("case_ids", [f"someone-{k}" for k in range(6)], "trained on 6 cases that are not the 6"),
        ("spacing_mm", [1.0, 1.0, 1.0], "differ in modalities or grid"),
    ):
        write_json(tmp_path / "reference.json", description | {key: value})
        with pytest.raises(UserError, match=words):
            run(model, tmp_path / "out", "--count", 1, "--refuse-copies", tmp_path)


def test_the_audit_decodes_training_latents_as_its_control(tmp_path):
    """The training cases are the true heads, by an autoencoder that knows them well enough on every machine."""
    inputs, folder = tiny_generator.make_inputs(tmp_path / "heads", steps=1000), tmp_path / "control"
    short = tiny_generator.CONFIG | {"diffusion": {"training": tiny_generator.TRAINING | {"steps": 5}}}
    model = tiny_generator.train(inputs, tmp_path / "state", tmp_path / "model", short)
    ids = write_cohort(folder, model, tiny_generator.heads(8))
    reference = make_reference(folder, 6, max_shift_mm=0.0)  # moved by 6 mm some of these heads are others
    cohort = subset_options(folder, "train", "val", "test")
    real, features = folder / "real.tsv", folder / "features.safetensors"
    common = ["--reference", reference, "--features", features]
    calibrate_memorisation.main([*map(str, [*cohort, *common, "--out", real]), "--threads", "1"])
    store = VolumeStore(folder / "volumes")
    case = np.array(store.image("other-0"), dtype=np.float32), np.array(store.levels("other-0"))
    made = plant(folder, "synthetic", [case], store.meta("other-0"))
    tables = ["--real", real, "--synthetic", made, "--table", made / "cases.tsv", "--rejected", made / "rejected.tsv"]
    outputs = ["--out", folder / "memorisation.tsv", "--summary", folder / "summary.tsv"]
    names = [*subset_options(folder, "train"), "--system", "tiny", "--threads", 1]
    control = ["--model", model, "--latents", inputs / "latents"]
    latents = load_file(inputs / "latents/latents.safetensors")
    copies = {f"{LATENTS}{case_id}": latents[case_id].flip(-1)[None] for case_id in ids}
    save_file(latents | copies, inputs / "latents/latents.safetensors")  # changed copies of cases are no further cases
    audit_memorisation.main([str(part) for part in (*common, *tables, *outputs, *names, *control)])
    table, summary = read_tsv(folder / "memorisation.tsv"), read_tsv(folder / "summary.tsv")
    decoded = table[table.group == "control"]
    assert list(decoded.case_id) == ids
    assert list(decoded.nearest_train_id) == ids, "each is traced to the case that it was encoded from"
    assert (decoded.similarity > 0.8).all()
    assert (summary.n_control == 6).all()
    image = summary[summary.measure == "image"].set_index("thresholds_from")
    assert image.control_caught["train"] == decoded.gate_refuses.sum()
    with pytest.raises(UserError, match="give both --model and --latents"):
        audit_memorisation.main([str(part) for part in (*common, *tables, *outputs, *names, "--model", model)])


def test_a_model_carries_its_gates_to_wherever_it_is_used(model, memorised, tmp_path):
    """The README's command: no option names a gate, and still nothing that the study refused is released."""
    folder, ids = memorised
    carried = tmp_path / "model"
    shutil.copytree(model, carried)
    write_release(carried, SYNTHESIS | {"gate": OPEN_GATE}, folder / "n_real~6/memorisation", 0.1)
    plain = ["--model", str(carried), "--threads", "1", "--count", "3"]
    synthesize.main([*plain, "--out", str(tmp_path / "out")])
    refused = read_tsv(tmp_path / "out/rejected.tsv")
    assert all(f"a copy of training case {ids[number]}" in str(list(refused.reason)) for number in range(3))
    assert read_json(tmp_path / "out/cases.made.json")["copies_refused_at_rate"] == 0.1
    synthesize.main([*plain, "--out", str(tmp_path / "allowed"), "--allow-copies"])
    assert not read_tsv(tmp_path / "allowed/rejected.tsv").reason.map(is_copy_reason).any()
    assert read_json(tmp_path / "allowed/cases.made.json")["copies_refused_at_rate"] is None
    (carried / "copies/reference.json").write_text("{}")
    with pytest.raises(UserError, match=r"not the file that release\.json names"):
        synthesize.main([*plain, "--out", str(tmp_path / "damaged")])


@pytest.mark.parametrize("damage", [{"modalities": ["../../../P1_t1"] * 4}, {"written": {"files": "../{case}_{part}"}}])
def test_no_model_folder_writes_outside_of_the_folder_that_it_is_given(model, tmp_path, damage):
    carried = tmp_path / "model"
    shutil.copytree(model, carried)
    contract = read_json(carried / "model.json")
    damage = {"written": contract["written"] | damage["written"]} if "written" in damage else damage
    write_json(carried / "model.json", contract | damage)
    with pytest.raises(UserError, match=r"model"):
        run(carried, tmp_path / "a/b/out", "--count", 1)
    assert {path.name for path in tmp_path.rglob("*.nii.gz")} == set()
