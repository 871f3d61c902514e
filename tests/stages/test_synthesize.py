"""Synthesis through its program: numbered cases that depend on nothing else, requests, the gate, and bad input."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tiny_generator
from brats import CONDITIONS, REGIONS
from tiny_generator import GRID, MODALITIES, OPEN_GATE, SYNTHESIS

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.cohort.tumours import measure
from workflow_scripts.memorisation.release import write_release
from workflow_scripts.programs.synthesis import gather_synthetic, synthesize
from workflow_scripts.training.devices import default_device, describe


@pytest.fixture(scope="module")
def inputs(trained_heads, tmp_path_factory):
    return shutil.copytree(trained_heads, tmp_path_factory.mktemp("heads") / "inputs")


@pytest.fixture(scope="module")
def model(inputs):
    return inputs / "model"


def run(model, out, *arguments, **config):
    config = json.dumps(SYNTHESIS | config)
    synthesize.main(
        ["--model", str(model), "--out", str(out), "--threads", "1", "--config", config, *map(str, arguments)]
    )
    return out


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.nii.gz"))}


@pytest.fixture(scope="module")
def six(model, tmp_path_factory):
    return run(model, tmp_path_factory.mktemp("six"), "--count", 6)


def test_cases_come_out_in_brats_2023_layout_with_a_true_affine(six):
    table = read_tsv(six / "cases.tsv")
    assert list(table["case_id"]) == [f"SliceAug-{number:05d}-000" for number in range(6)]
    for case_id in table["case_id"]:
        names = {f"{case_id}-{part}.nii.gz" for part in (*MODALITIES, "seg")}
        assert {path.name for path in (six / case_id).iterdir()} == {*names, f"{case_id}.json"}
        for name in names:
            image = nib.load(six / case_id / name)
            assert image.get_data_dtype() == np.int16
            assert image.shape == tuple(GRID["size"][::-1])
            assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
            np.testing.assert_allclose(image.header.get_zooms(), GRID["spacing_mm"][::-1])
            centre = image.affine @ [*(np.array(image.shape) - 1) / 2, 1]
            np.testing.assert_allclose(centre[:3], 0, atol=1e-5)


def test_the_background_is_exactly_zero_and_the_tumour_lies_in_the_brain(six):
    for case_id in read_tsv(six / "cases.tsv")["case_id"]:
        image, levels = read_synthetic_case(six / case_id, case_id, MODALITIES)
        brain = (image > -1).all(axis=0)
        np.testing.assert_array_equal((image > -1).any(axis=0), brain)
        assert 0.2 < brain.mean() < 0.8
        assert not brain[:, 0, 0].any()
        assert (levels > 0).any()
        assert not (levels > 0)[~brain].any()


def test_the_volumes_are_heads_with_a_bright_tumour(six):
    for case_id in read_tsv(six / "cases.tsv")["case_id"]:
        image, levels = read_synthetic_case(six / case_id, case_id, MODALITIES)
        brain = (image > -1).all(axis=0)
        assert image[1][levels > 0].mean() > image[1][brain & (levels == 0)].mean() + 0.4
        assert np.corrcoef(brain.ravel(), tiny_generator.ball((60, 64, 64), 54).ravel())[0, 1] > 0.8


def test_the_table_has_what_was_asked_for_and_what_was_measured_in_the_files(six):
    table = read_tsv(six / "cases.tsv")
    assert list(table.columns[:3]) == ["case_id", "number", "attempts"]
    assert {f"{kind}_{name}" for kind in ("requested", "measured") for name in CONDITIONS} < set(table.columns)
    for row in table.to_dict("records"):
        _, levels = read_synthetic_case(six / row["case_id"], row["case_id"], MODALITIES)
        for name, value in measure(levels, GRID["spacing_mm"], REGIONS).items():
            assert row[f"measured_{name}"] == pytest.approx(value)
    refused = read_tsv(six / "rejected.tsv")
    assert table["attempts"].sum() - len(table) == len(refused)


def test_drawn_conditions_stay_inside_the_training_range(inputs, six):
    real, drawn = read_tsv(inputs / "latents" / "conditions.tsv"), read_tsv(six / "cases.tsv")
    for name in CONDITIONS:
        assert drawn[f"requested_{name}"].between(real[name].min() - 1e-3, real[name].max() + 1e-3).all(), name


def test_a_case_is_the_same_in_whatever_block_it_is_made(model, six, tmp_path):
    blocks = tmp_path / "blocks_of_two"
    for block in (2, 0):
        run(model, blocks, "--block", block, "--block-size", 2)
    run(model, tmp_path / "one", "--count", 1, "--first", 5)
    whole = files_of(six)
    assert {name[:18] for name in files_of(blocks)} == {f"SliceAug-{number:05d}-000" for number in (0, 1, 4, 5)}
    for folder in (blocks, tmp_path / "one"):
        for name, content in files_of(folder).items():
            assert whole[name] == content, name
    joined = read_tsv(blocks / "blocks" / "0.tsv")
    expected = read_tsv(six / "cases.tsv").iloc[:2]
    assert joined.to_dict("records") == expected.to_dict("records")


def test_another_seed_makes_other_cases(model, six, tmp_path):
    other = files_of(run(model, tmp_path, "--count", 1, seed=1, gate=OPEN_GATE))
    assert all(files_of(six)[name] != content for name, content in other.items())


@pytest.mark.parametrize("sampler", [{"name": "ddpm", "steps": 12}, {"name": "ddim", "steps": 12, "eta": 0.5}])
def test_stochastic_samplers_repeat_themselves(model, tmp_path, sampler):
    first, second = (
        files_of(run(model, tmp_path / name, "--count", 2, sampler=sampler, gate=OPEN_GATE)) for name in ("a", "b")
    )
    assert first == second


def test_cases_made_together_are_those_made_alone_up_to_rounding(model, six, tmp_path):
    together = run(model, tmp_path, "--count", 6, cases_per_batch=4)
    for case_id in read_tsv(six / "cases.tsv")["case_id"]:
        one, other = (read_synthetic_case(folder / case_id, case_id, MODALITIES)[0] for folder in (six, together))
        assert np.abs(one - other).mean() < 0.01


def test_slices_per_batch_changes_memory_and_nothing_else(model, six, tmp_path):
    fewer = run(model, tmp_path, "--count", 1, slices_per_batch=5)
    for case_id in ("SliceAug-00000-000",):
        one, other = (read_synthetic_case(folder / case_id, case_id, MODALITIES)[0] for folder in (six, fewer))
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_requested_tumours_are_asked_for_as_written(model, tmp_path):
    (tmp_path / "tumours.csv").write_text("centroid_x_mm,volume_ml\n-17,40\n17,\n")
    run(model, tmp_path, "--requests", tmp_path / "tumours.csv", "--first", 10, gate=OPEN_GATE)
    table = read_tsv(tmp_path / "cases.tsv")
    assert table["number"].tolist() == [10, 11]
    assert table["requested_centroid_x_mm"].tolist() == [-17.0, 17.0]
    assert table["requested_volume_ml"][0] == 40.0


def test_a_tumour_goes_to_the_side_that_was_asked_for(model, tmp_path):
    (tmp_path / "tumours.csv").write_text("centroid_x_mm\n" + "-18\n" * 12 + "18\n" * 12)
    run(model, tmp_path, "--requests", tmp_path / "tumours.csv", sampler={"guidance": 2.0})
    measured = read_tsv(tmp_path / "cases.tsv")["measured_centroid_x_mm"]
    # a toy model misses now and then: the twelve on each side must lie apart as a group
    assert measured[12:].mean() - measured[:12].mean() > 12


def test_an_extrapolation_must_be_asked_for(model, tmp_path):
    (tmp_path / "tumours.csv").write_text("volume_ml\n200\n")
    with pytest.raises(UserError, match=r"row 2, column volume_ml: 200 is outside.*--allow-extrapolation"):
        run(model, tmp_path, "--requests", tmp_path / "tumours.csv")
    assert not (tmp_path / "cases.tsv").exists()
    run(model, tmp_path, "--requests", tmp_path / "tumours.csv", "--allow-extrapolation")
    assert read_tsv(tmp_path / "cases.tsv")["requested_volume_ml"][0] == 200.0


def test_the_gate_refuses_redraws_and_lists(model, tmp_path):
    """A gate that wants tumours of more than their median size refuses about half of the draws."""
    run(model, tmp_path / "all", "--count", 6, gate=OPEN_GATE)
    median = read_tsv(tmp_path / "all" / "cases.tsv")["measured_volume_ml"].median()
    run(model, tmp_path / "large", "--count", 6, gate=OPEN_GATE | {"min_volume_ml": median}, max_redraws=40)
    table, refused = (read_tsv(tmp_path / "large" / f"{name}.tsv") for name in ("cases", "rejected"))
    assert len(table) == 6
    assert (table["measured_volume_ml"] >= median).all()
    assert len(refused) == (table["attempts"] - 1).sum() >= 3
    assert (refused["measured_volume_ml"] < median).all()
    assert refused["reason"].str.contains("min_volume_ml asks for").all()


def test_cases_that_stay_refused_end_in_a_sentence_that_names_the_keys(model, tmp_path):
    with pytest.raises(UserError) as caught:
        run(model, tmp_path, "--count", 2, gate={"min_volume_ml": 5000}, max_redraws=1)
    message = str(caught.value)
    assert "every draw of 2 of 2 cases (numbers 0, 1; 2 draws each)" in message
    for key in ("min_volume_ml", "synthesis.max_redraws (now 1)", "diffusion.training.steps", "rejected.failed.tsv"):
        assert key in message
    assert len(read_tsv(tmp_path / "rejected.failed.tsv")) == 4
    assert not (tmp_path / "cases.tsv").exists()


def test_blocks_are_gathered_by_number(model, tmp_path):
    for block in (1, 0):
        run(model, tmp_path, "--block", block, "--block-size", 2)
    tables = [tmp_path / "blocks" / f"{block}.tsv" for block in (1, 0)]
    gather(tables, tmp_path)
    assert read_tsv(tmp_path / "cases.tsv")["number"].tolist() == [0, 1, 2, 3]
    refused = sum(len(read_tsv(table.with_suffix(".rejected.tsv"))) for table in tables)
    assert len(read_tsv(tmp_path / "rejected.tsv")) == refused
    with pytest.raises(UserError, match="case number 0 is in two of the tables"):
        gather([tables[1], tables[1]], tmp_path)


def gather(tables, out):
    rejected = [table.with_suffix(".rejected.tsv") for table in tables]
    arguments = ["--tables", *tables, "--rejected-tables", *rejected]
    gather_synthetic.main([*map(str, arguments), "--cases", f"{out}/cases.tsv", "--rejected", f"{out}/rejected.tsv"])


def test_by_hand_it_says_where_it_runs_and_where_the_cases_are(model, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="sliceaug"):
        run(model, tmp_path, "--count", 1)
    lines = [record.getMessage() for record in caplog.records]
    assert "copies of training cases are not refused" in lines[0]
    assert lines[1].endswith(f"on {describe(default_device(), '32')}")
    assert "1 cases of 12x16x16 voxels, dpmpp_2m, 20 steps" in lines[1]
    assert "1 synthetic cases are in" in lines[-1]
    assert str(tmp_path / "cases.tsv") in lines[-1]


def test_it_says_why_copies_are_not_refused(model, tmp_path, caplog):
    folder = shutil.copytree(model, tmp_path / "model")
    run(folder, tmp_path / "unsaid", "--count", 1)
    write_release(folder, SYNTHESIS, None, None)
    run(folder, tmp_path / "not by its study", "--count", 1)
    said = [record.getMessage() for record in caplog.records if "copies of training cases" in record.getMessage()]
    assert "has no release.json" in said[0]
    assert "its study refused none (memorisation.action was not refuse)" in said[1]


def test_a_user_sees_one_sentence_and_no_traceback(tmp_path):
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.programs.synthesis.synthesize",
        "--model",
        str(tmp_path),
        "--count",
        "1",
        "--out",
        "x",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "holds no trained model" in last
    assert "Traceback" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_autoencoder_is_no_generator(inputs, tmp_path):
    with pytest.raises(UserError, match="holds a trained autoencoder: give the folder of a generator"):
        run(inputs / "autoencoder", tmp_path, "--count", 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"seeds": 1}, "unknown key 'seeds'"),
        ({"seed": -1}, "seed is -1"),
        ({"slices_per_batch": 0}, "slices_per_batch is 0"),
        ({"max_redraws": 2.5}, r"max_redraws is 2\.5"),
        ({"smoothing": "some"}, "smoothing is 'some'"),
        ({"case_prefix": "../up"}, "case_prefix is '../up'"),
        ({"precision": "fp8"}, "precision is 'fp8'"),
        ({"gate": 3}, "gate is 3"),
        ({"gate": {"min_volume": 3}}, "unknown key 'min_volume' under 'synthesis.gate'"),
        ({"sampler": {"name": "heun"}}, "'heun'"),
        ({"sampler": {"steps": 201}}, r"steps is 201.*from 1 to 200"),
    ],
)
def test_a_wrong_config_is_refused_in_a_sentence(model, tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        run(model, tmp_path, "--count", 1, **config)


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--block", "0", "--block-size", "0"]])
def test_no_cases_at_all_is_a_mistake(model, tmp_path, arguments):
    with pytest.raises(UserError, match="must be 1 or more"):
        run(model, tmp_path, *arguments)


@pytest.mark.parametrize("arguments", [["--count", "-3"], ["--count", "many"], [], ["--count", "1", "--block", "0"]])
def test_wrong_arguments_are_refused_by_the_command_line(model, tmp_path, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        run(model, tmp_path, *arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
