"""Control of a trained generator, through its programs: held-out requests, no gate, the sweep, and bad input."""

import json
import shutil

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import tiny_generator
from brats import CONDITIONS, REGIONS
from subsets import manifest_alone
from tiny_generator import GRID, SYNTHESIS

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_tsv
from workflow_scripts.cohort.planes import extent_mm
from workflow_scripts.cohort.tumours import measure
from workflow_scripts.diffusion.conditions import ConditionTable
from workflow_scripts.evaluation.agreement import ALL, INSIDE, control_summary
from workflow_scripts.evaluation.control_draws import sweep, typical_tumour, unnested_fraction
from workflow_scripts.evaluation.control_slices import SWEPT
from workflow_scripts.evaluation.mask_validity import VALIDITY, validity
from workflow_scripts.programs.evaluation import evaluate_control, sample_control_sweep
from workflow_scripts.programs.reporting import make_figure
from workflow_scripts.reporting.figures.control_sweep import centre_in_view
from workflow_scripts.reporting.figures.slices import view

SAMPLING = {key: SYNTHESIS[key] for key in ("precision",)}


@pytest.fixture(scope="module")
def inputs(trained_heads, tmp_path_factory):
    return shutil.copytree(trained_heads, tmp_path_factory.mktemp("heads") / "inputs")


@pytest.fixture(scope="module")
def model(inputs):
    return inputs / "model"


@pytest.fixture(scope="module")
def held_out(inputs):
    """Tumours of patients that the generator has not seen: like those of training, two of them out of range."""
    rows = []
    for index, (_, levels) in enumerate(tiny_generator.heads(6) * 2):
        features = {name: measure(levels, GRID["spacing_mm"], REGIONS)[name] for name in CONDITIONS}
        features["volume_ml"] *= 3.0 if index >= 10 else 1.0
        rows.append({"case_id": f"unseen-{index:05d}-000", "split": "val" if index < 3 else "test", **features})
    write_tsv(inputs / "held_out.tsv", pd.DataFrame(rows))
    return inputs / "held_out.tsv"


def six_patients(out):
    return ["--train", str(manifest_alone(out.parent / "train", [f"head-{index:05d}-000" for index in range(6)]))]


def control(model, held_out, out, **config):
    config = json.dumps(SAMPLING | config)
    arguments = ["--model", str(model), "--held-out", str(held_out), *six_patients(out), "--out", str(out)]
    evaluate_control.main([*arguments, "--threads", "1", "--config", config])
    return read_tsv(out)


@pytest.fixture(scope="module")
def twelve(model, held_out, tmp_path_factory):
    return control(model, held_out, tmp_path_factory.mktemp("control") / "control.tsv", sampler={"guidance": 4.0})


def test_every_held_out_tumour_is_requested_as_it_is_and_none_is_refused(twelve, held_out):
    real = read_tsv(held_out)
    assert twelve.case_id.tolist() == real.case_id.tolist() and twelve.number.tolist() == list(range(12))
    for name in CONDITIONS:
        np.testing.assert_array_equal(twelve[f"requested_{name}"], real[name])
    assert set(twelve.system) == {"tiny"} and set(twelve.n_real) == {6}
    assert set(VALIDITY) <= set(twelve.columns)


def test_requests_out_of_the_training_range_are_flagged_by_name(twelve):
    notes = twelve.out_of_range_note
    assert (notes[:10] == "").all()
    assert (notes[10:] == "volume_ml").all()


def test_a_trained_generator_follows_and_the_summary_sees_it(twelve):
    summary = control_summary(twelve, 200, 0.95, 0).set_index(["feature", "requests"])
    assert summary.r2_correlation["volume_ml", INSIDE] > 0.5, "a toy model learns the size, and little of the rest"
    assert summary.n["volume_ml", INSIDE] == 10 and summary.n["volume_ml", ALL] == 12
    assert summary.n["sphericity", ALL] == 12 - twelve["empty"].sum()


def test_masks_that_the_gate_would_refuse_stay_in(model, held_out, tmp_path):
    """One sampling step, guided far too strongly, makes poor masks; whatever they are, each request has its row."""
    table = control(model, held_out, tmp_path / "control.tsv", sampler={"steps": 1, "guidance": 30.0})
    assert len(table) == 12
    poor = (table["empty"] == 1) | (table["pieces"] > 1) | (table["outside_foreground_fraction"] > 0.05)
    assert poor.mean() > 0.5


def test_the_same_bytes_again_and_a_smaller_number_of_requests_is_a_seeded_choice(model, held_out, tmp_path):
    control(model, held_out, tmp_path / "a.tsv", requests=3)
    table = control(model, held_out, tmp_path / "b.tsv", requests=3)
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    assert len(table) == 3
    others = [control(model, held_out, tmp_path / "c.tsv", requests=3, seed=seed).case_id.tolist() for seed in (1, 2)]
    assert any(other != table.case_id.tolist() for other in others)


def test_a_case_that_the_generator_was_trained_on_cannot_test_it(model, held_out, tmp_path):
    trained = read_json(model / "model.json")["training_case_ids"][0]
    write_tsv(tmp_path / "leak.tsv", read_tsv(held_out).assign(case_id=[trained, *map(str, range(11))]))
    with pytest.raises(UserError, match=f"was trained on case {trained}, which must not test it"):
        control(model, tmp_path / "leak.tsv", tmp_path / "control.tsv")
    assert not (tmp_path / "control.tsv").exists()


@pytest.mark.parametrize(
    ("change", "config", "words"),
    [
        (
            lambda t: t.drop(columns="sphericity"),
            {},
            "lacks the columns sphericity: run `snakemake -R measure_held_out`",
        ),
        (lambda t: t.iloc[:0], {}, "holds no tumour to ask for"),
        (lambda t: t, {"requests": 0}, "requests is 0, but must be a whole number of at least 1"),
        (lambda t: t, {"max_redraw": 2}, "unknown key 'max_redraw'"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(model, held_out, tmp_path, change, config, words):
    write_tsv(tmp_path / "held_out.tsv", change(read_tsv(held_out)))
    with pytest.raises(UserError, match=words):
        control(model, tmp_path / "held_out.tsv", tmp_path / "control.tsv", **config)


# --- masks of one draw ------------------------------------------------------------------------------------------------
def test_validity_of_a_mask_by_hand():
    levels = np.zeros((8, 8, 8), np.uint8)
    levels[1:3, 1:3, 1:3] = 2
    levels[3, 3, 3] = 1  # touches by a corner: the same piece
    levels[6, 6, 6] = 1
    brain = np.zeros((8, 8, 8), bool)
    brain[:4] = True
    found = validity(levels, brain)
    assert found == {"empty": 0, "pieces": 2, "largest_piece_fraction": 0.9, "outside_foreground_fraction": 0.1,
                     "unnested_fraction": 0}  # fmt: skip
    nothing = validity(np.zeros_like(levels), brain)
    assert nothing["empty"] == 1 and nothing["pieces"] == 0 and np.isnan(nothing["outside_foreground_fraction"])


def test_voxels_that_break_the_nesting_are_counted():
    channels = np.zeros((3, 1, 1, 10), np.float32)
    channels[0, ..., :6] = 0.9  # whole tumour
    channels[1, ..., 4:8] = 0.9  # core: two voxels of it outside of the whole tumour
    channels[2, ..., 0] = 0.9  # enhancing, within the tumour but not within the core
    assert unnested_fraction(channels) == pytest.approx(3 / 8)
    assert unnested_fraction(channels[:1]) == 0
    assert np.isnan(unnested_fraction(channels * 0))


# --- the sweep --------------------------------------------------------------------------------------------------------
def features(count=30):
    rng = np.random.default_rng(0)
    return ConditionTable(CONDITIONS, rng.uniform(1, 10, (count, len(CONDITIONS))) * np.linspace(1, 4, len(CONDITIONS)))


def column(requests, name):
    return requests[:, CONDITIONS.index(name)]


def test_a_growing_tumour_keeps_its_form():
    table = features()
    requests = sweep(table, "volume_ml", 5)
    volume = column(requests, "volume_ml")
    assert (volume[0], volume[-1]) == (pytest.approx(table.lowest[0]), pytest.approx(table.highest[0]))
    np.testing.assert_allclose(volume[1:] / volume[:-1], volume[1] / volume[0])
    np.testing.assert_allclose(np.ptp(column(requests, "surface_mm2") ** 3 / volume**2), 0, atol=1e-6)
    box = np.prod([column(requests, f"box_{side}_mm") for side in ("width", "height", "depth")], axis=0)
    np.testing.assert_allclose(box / volume, (box / volume)[0])
    for name in ("sphericity", "centroid_x_mm", "tumor_core_fraction"):
        assert np.ptp(column(requests, name)) == 0


@pytest.mark.parametrize("name", list(SWEPT)[1:])
def test_a_moving_tumour_changes_its_place_alone(name):
    table = features()
    requests = sweep(table, name, 4)
    index = CONDITIONS.index(name)
    np.testing.assert_allclose(requests[:, index], np.linspace(table.lowest[index], table.highest[index], 4))
    np.testing.assert_array_equal(
        np.delete(requests, index, 1), np.delete(typical_tumour(table)[None], index, 1).repeat(4, 0)
    )


def figure(model, out, *options, **config):
    table, slices = out.with_suffix(".tsv"), out.with_suffix(".safetensors")
    config = SAMPLING | {"sweep_steps": 2, "sampler": {"steps": 5}} | config
    places = ["--model", str(model), *six_patients(out), "--table", str(table), "--slices", str(slices)]
    sample_control_sweep.main([*places, "--threads", "1", "--config", json.dumps(config)])
    redraw(out, *options)
    return read_tsv(table)


def redraw(out, *options, modality="t2f"):
    drawn = ["--config", json.dumps({"figures": {"modality": modality}}), "--system", "tiny", "--n-real", "6"]
    files = ["--sweep", str(out.with_suffix(".tsv")), "--slices", str(out.with_suffix(".safetensors"))]
    make_figure.main(["--figure", "control_sweep", *drawn, *files, "--out", str(out), *options])


def test_the_sweep_is_drawn_with_what_was_requested_and_measured(model, inputs, tmp_path):
    table = figure(model, tmp_path / "sweep.svg", "--simulated")
    assert table.swept.tolist() == [name for name in SWEPT for _ in range(2)]
    real = read_tsv(inputs / "latents/conditions.tsv")
    for name in SWEPT:
        asked = table.loc[table.swept == name, f"requested_{name}"]
        np.testing.assert_allclose(asked, [real[name].min(), real[name].max()], rtol=1e-5)
    text = (tmp_path / "sweep.svg").read_text()
    for words in (
        "SIMULATED COHORT",
        "The same noise",
        "fixed sphericity",
        f"requested {real.volume_ml.min():.1f}",
        "system tiny",
    ):
        assert words in text
    measured = table.measured_volume_ml[0]
    assert f"measured {measured:.1f} ml" in text
    picture = tmp_path / "sweep.png"
    figure(model, picture)
    first = picture.read_bytes()
    figure(model, picture)
    assert first == picture.read_bytes()
    assert matplotlib.image.imread(picture)[..., :3].std() > 0.05


def test_one_noise_makes_one_volume_whatever_row_it_is_in(model, inputs, tmp_path):
    """The typical head has the largest x and z: two rows end in its tumour, and show the same one."""
    table = figure(model, tmp_path / "sweep.png")
    groups = table.round(6).groupby(list(table.filter(regex="^requested_").columns))
    twins = [group for _, group in groups if len(group) > 1]
    assert [group.swept.tolist() for group in twins] == [["centroid_x_mm", "centroid_z_mm"]]
    measured = twins[0].filter(regex="^measured_").fillna(-1)
    assert (measured == measured.iloc[0]).all(axis=None)
    assert measured.nunique().max() == 1 < table.measured_surface_mm2.nunique()


def test_a_sweep_that_cannot_be_drawn_is_refused_in_words(model, tmp_path):
    with pytest.raises(UserError, match="sweep_steps is 1: a sweep needs two volumes"):
        figure(model, tmp_path / "sweep.png", sweep_steps=1)
    figure(model, tmp_path / "sweep.png")
    with pytest.raises(UserError, match="modality 't1n' is not in the volumes: t1c, t2f"):
        redraw(tmp_path / "sweep.png", modality="t1n")
    (tmp_path / "sweep.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"sweep\.safetensors holds no slices"):
        redraw(tmp_path / "sweep.png")


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_the_cross_lies_on_the_centre_of_the_tumour(plane):
    size, spacing = (10, 12, 14), (3.0, 2.0, 1.5)
    place = (7, 2, 11)
    levels = np.zeros(size, np.uint8)
    levels[place] = 1
    centre = measure(levels, spacing)
    index = place[("axial", "coronal", "sagittal").index(plane)]
    row, col = np.argwhere(view(levels, plane, index))[0]
    extent = extent_mm(plane, size, spacing)
    rows, columns = view(levels, plane, index).shape
    expected = (col + 0.5) * extent[1] / columns, extent[3] - (row + 0.5) * extent[3] / rows
    assert centre_in_view(plane, extent, centre) == pytest.approx(expected)
