"""The package sliceaug: what its page in the docs shows, typed as it stands, and what it refuses."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_generator
import warm
from brats import ALL_PARTS
from planted import make_reference
from study_files import INTERVALS, study, write_table
from test_ladder import SYSTEMS
from tiny_generator import GRID, MODALITIES, OPEN_GATE, SYNTHESIS, write_cohort

import sliceaug
import sliceaug.__main__ as command
from sliceaug import metrics
from workflow_scripts.base.files import read_json, read_tsv, write_json, write_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.memorisation.release import write_release
from workflow_scripts.operations.study_file import write_settings
from workflow_scripts.programs.reporting import write_model_card

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
GENERATOR = "results/demo/n_real~3/generator/slice_ldm"


@pytest.fixture(scope="module")
def demo(trained_heads, tmp_path_factory) -> Path:
    """A folder with results/demo: a trained generator with its release, scores, a ladder, a cohort."""
    folder = tmp_path_factory.mktemp("api")
    run = folder / "results/demo"
    model = shutil.copytree(trained_heads / "model", folder / GENERATOR)
    write_release(model, SYNTHESIS | {"gate": OPEN_GATE}, None, None)
    write_settings(run, {"run": "demo", "data_set": ALL_PARTS, "splits": {"n_real": [3]}})
    mixes = [("none", 0.0, False), ("none", 1.0, False, "ceiling"), ("slice_ldm", 1.0, False)]
    files = study(run, (3,), mixes)
    write_tsv(run / "evaluation/scores.tsv", pd.concat([read_tsv(file) for file in files]))
    settings = {"tables": INTERVALS | {"bootstrap_samples": 500}, "system": SYSTEMS, "ladder": {"ratio": None}}
    write_table("ladder", run / "tables/ladder.csv", settings=settings | {"ratios": [0, 1]}, scores=files)
    write_tsv(run / "cohort/cases.tsv", pd.DataFrame({"case_id": ["a", "b", "c"], "note": ["", "odd", ""]}))
    splits = {"seed": 0, "test": ["a"], "val": ["b"], "train": {"3": ["c"]}, "others": {}, "unused": []}
    write_json(run / "cohort/splits.json", splits)
    return folder


@pytest.fixture
def generator(demo):
    return sliceaug.Generator.load(demo / GENERATOR)


def test_the_example_of_the_page_runs_as_it_stands(demo, monkeypatch, capsys):
    """But for the arm, of which the tests of predict_patients type the program."""
    asked = []
    monkeypatch.setattr(sliceaug, "predict", lambda *words: asked.append(words) or pd.DataFrame([dict.fromkeys(("case_id", "file", "whole_tumor_ml"))]))  # fmt: skip
    monkeypatch.chdir(demo)
    space: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, space)
    said = capsys.readouterr().out
    assert "SliceAug-00000-000 (2, 12, 16, 16)" in said and "not checked" in said and "ceiling" in said
    assert asked == [("results/demo/n_real~3/segmentation/monai_dynunet/real/seed~0", "new_patients", "masks")]
    for case in space["cases"]:
        image, levels = read_synthetic_case(Path("results/more", case.case_id), case.case_id, MODALITIES)
        np.testing.assert_allclose(image, case.image, atol=2e-4)
        np.testing.assert_array_equal(levels, case.levels)
        assert case.spacing_mm == tuple(GRID["spacing_mm"]) and case.origins == {}
    table = read_tsv(Path("results/more/cases.tsv"))
    assert list(table.requested_volume_ml) == pytest.approx(list(space["generator"].ranges["volume_ml"]))


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("sliceaug")]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_page_knows_its_options(line, tmp_path, monkeypatch, capsys):
    """Without model, arm or data it fails for their sake, not for an option that it does not know."""
    monkeypatch.setattr(sys, "argv", ["sliceaug"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        command.main(shlex.split(line)[1:])
    error = capsys.readouterr().err
    assert ended.value.code and "usage:" not in error and "Traceback" not in error
    assert re.search(r"results/demo|mine\.yaml|data_root", error), error


def test_the_line_for_a_shell_prints_a_shape(demo):
    (line,) = re.findall(r"^(python -c .*)$", PAGE, flags=re.MULTILINE)
    words = [warm.python(), *shlex.split(line)[1:]]
    done = subprocess.run(words, cwd=demo, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout == "(2, 12, 16, 16)\n", done.stderr


def test_a_generators_folder_is_a_monai_bundle(demo, generator, tmp_path):
    from monai.bundle import run  # seconds: no other test here needs it

    folder = shutil.copytree(demo / GENERATOR, tmp_path / "generator")
    write_model_card.main([*("--model", str(folder), "--release", str(folder / "release.json")), *("--out", str(folder / "README.md"))])  # fmt: skip
    about = read_json(folder / "configs/metadata.json")
    image, levels = about["network_data_format"]["outputs"].values()
    assert image["channel_def"] == dict(zip("01", MODALITIES, strict=True)) and image["spatial_shape"] == GRID["size"]
    assert levels["value_range"] == [0, 3] and "volume_ml" in about["network_data_format"]["inputs"]["conditions"]["channel_def"].values()  # fmt: skip
    words = {"bundle_root": str(folder), "output_dir": str(tmp_path / "out"), "count": 1, "first": 2, "device": "cpu"}
    run("run", config_file=str(folder / "configs/inference.json"), meta_file=str(folder / "configs/metadata.json"), **words)  # fmt: skip
    (case,) = generator.sample(1, first=2)
    image, _ = read_synthetic_case(tmp_path / "out" / case.case_id, case.case_id, MODALITIES)
    np.testing.assert_allclose(image, case.image, atol=2e-4)


def test_a_data_frame_with_gaps_asks_for_what_it_holds(generator):
    low, high = generator.ranges["volume_ml"]
    rows = pd.DataFrame({"volume_ml": [low, None], "centroid_x_mm": [None, 5.0]})
    cases = {case.number: case for case in generator.sample(rows, first=7, progress=False)}
    assert cases[7].requested["volume_ml"] == pytest.approx(low) and cases[7].case_id == "SliceAug-00007-000"
    assert cases[8].requested["centroid_x_mm"] == pytest.approx(5.0)
    again = generator.sample(rows.to_dict("records"), first=7, progress=False)
    assert all(np.array_equal(case.image, cases[case.number].image) for case in again)
    assert generator.conditions == tuple(cases[7].measured) and high > low


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        (0, "no case is asked for"),
        ([], "no case is asked for"),
        ([{"volume_ml": 1e6}], r"row 0, column volume_ml: 1000000\.0 is outside of what the model was trained on"),
        ([{}, {"volume": 3}], "unknown column 'volume'; did you mean volume_ml"),
        ([{"volume_ml": "large"}], "'large' is not a number"),
        ([{"host": "head-00000-000"}], "this model makes whole patients"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(generator, requests, message):
    with pytest.raises(sliceaug.UserError, match=message):
        generator.sample(requests)


def test_what_the_gates_refused_is_said_and_a_case_given_up_raises(demo, generator):
    strict = {"gate": {"min_volume_ml": 1e6}, "max_redraws": 1}
    with pytest.raises(
        sliceaug.UserError, match=r"refused every draw of 1 of 1 cases \(numbers 0; 2 draws each\): 2 x"
    ):
        sliceaug.Generator.load(demo / GENERATOR, settings=strict).sample(1, progress=False)
    assert generator.sample(1, progress=False)[0].refused_by_gate == ()


def test_copies_are_refused_by_the_folders_own_training_set(demo, generator, tmp_path):
    """The generator's first case is declared a training case: it is drawn again, and says so."""
    model = tmp_path / "model"
    shutil.copytree(demo / GENERATOR, model)
    copied = generator.sample(1, progress=False)[0]
    others = tiny_generator.heads(8)[1:]
    write_cohort(tmp_path, model, [(copied.image, copied.levels), *others])
    write_release(model, SYNTHESIS | {"gate": OPEN_GATE}, make_reference(tmp_path, 6, max_shift_mm=10.0), 0.1)
    case = sliceaug.Generator.load(model).sample(1, progress=False)[0]
    assert case.copy_check == "passed" and case.attempts == 1 + len(case.refused_as_copy) > 1
    assert "a copy of training case" in case.refused_as_copy[0] and not np.array_equal(case.image, copied.image)
    allowed = sliceaug.Generator.load(model, allow_copies=True).sample(1, progress=False)[0]
    assert allowed.copy_check == "not checked" and np.array_equal(allowed.image, copied.image)


def test_a_studys_tables_are_numbers_with_gaps(demo):
    found = sliceaug.read_study(demo / "results/demo")
    assert found.tables == ["ladder"] and found.ladder.gain.dtype == float and found.ladder.gain.isna().any()
    assert "no such arm" in set(found.table("ladder", words=True).gain)
    assert len(found.dice) == 3 * 2 * 8 * 3 and list(found.cases.note) == ["", "odd", ""]
    assert found.splits.to_dict("records")[2] == {"case_id": "c", "subset": "train", "n_real": 3}
    assert found.settings["splits"] == {"n_real": [3]} and found.generator("slice_ldm", 3).name == "tiny"


def test_what_is_no_study_and_what_is_not_made_yet_is_said(demo, tmp_path):
    with pytest.raises(sliceaug.UserError, match=r"holds no study: study\.json is not in it; demo in it is one"):
        sliceaug.read_study(demo / "results")
    with pytest.raises(sliceaug.UserError, match="holds no study"):
        sliceaug.read_study(tmp_path / "nowhere")
    found = sliceaug.read_study(demo / "results/demo")
    for ask, words in (
        (
            lambda: found.exchange,
            r"exchange\.csv has not been made yet: run the study to it, `snakemake --cores all tables`",
        ),
        (lambda: found.rejected, r"rejected\.tsv has not been made yet.*all cohort"),
        (lambda: found.synthetic("slice_ldm", 3), "all synthetic"),
        (lambda: found.generator("lsgan_3d", 3), "all generator"),
        (lambda: found.table("dices"), "a study has no table 'dices': it has augmentation_ratio"),
    ):
        with pytest.raises(sliceaug.UserError, match=words):
            ask()


def test_the_tables_of_pooled_folds_are_read_too(demo, tmp_path):
    source = demo / "results/demo"
    shutil.copytree(source / "tables", tmp_path / "tables")
    shutil.copy(source / "evaluation/scores.tsv", tmp_path)
    found = sliceaug.read_study(tmp_path)
    assert found.tables == ["ladder"] and len(found.dice) == 3 * 2 * 8 * 3


def test_metrics_of_features_agree_with_what_is_known_of_them():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((400, 3)), rng.standard_normal((300, 3))
    assert metrics.fid(one, one + 2) == pytest.approx(12.0) and metrics.fid(one, other) < 0.1
    assert abs(metrics.kid(one, other)) < 0.1 < metrics.kid(one, other + 2)
    assert abs(metrics.mmd(one, other)) < 0.02 < metrics.mmd(one, other + 2)
    same, far = (metrics.precision_recall_density_coverage(one, other + shift) for shift in (0, 50))
    assert min(same.values()) > 0.8 and max(far.values()) == 0.0
    with pytest.raises(ValueError, match="two cases or more"):
        metrics.kid(one[:1], other)
    with pytest.raises(ValueError, match="no width"):
        metrics.mmd(np.ones((3, 2)), np.ones((2, 2)))
