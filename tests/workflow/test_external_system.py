"""A system whose cases are a folder: said in the configuration, counted before anything runs, and no generator anywhere."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from parsed_workflow import parsed
from raw_folders import MR, raw_folder
from small_cases import make_case
from test_config import DEFAULT, read
from workflow import ROOT, snakemake

from workflow_scripts.base.errors import UserError
from workflow_scripts.operations.external import check_counts
from workflow_scripts.study.files import Files
from workflow_scripts.study.settings.files import merge
from workflow_scripts.study.settings.study import read_study

OF_THE_DOCS = """
systems: {slice_ldm: {}, theirs: {cases: /data/their_cases}}
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    for number in range(5):
        make_case(folder, f"GAN-{number:03d}", seed=number)
    return folder


@pytest.mark.parametrize("form", ["mapping", "settings"])
def test_both_forms_name_a_folder(theirs, form):
    own = {"theirs": {"cases": str(theirs)}}
    named = yaml.safe_load(OF_THE_DOCS.replace("/data/their_cases", str(theirs)))
    both = named if form == "mapping" else {"systems": ["slice_ldm", "theirs"], "system_settings": own}  # fmt: skip
    study = read_study(DEFAULT | both)
    assert study.systems == ["slice_ldm", "theirs"] and study.system["theirs"].kind == "external"
    plain = study.plain()
    assert plain["system"]["theirs"]["cases"] == str(theirs) and read_study(study.asked()).plain() == plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cases": "/no/such/folder"}, "'/no/such/folder' is no folder that can be read"),
        ({"cases": None}, "cases is missing"),
        ({"cases": "."}, None),
        ({"cases": ".", "denoiser": {}}, "denoiser does not go with `kind: external`"),
        ({"cases": ".", "kind": "gan"}, "cases is set: it goes with `kind: external`"),
        ({"case": "."}, "config/systems/theirs.yaml does not exist"),
    ],
)
def test_settings_that_cannot_be_are_a_sentence(settings, message):
    if message is None:
        assert read(systems={"theirs": settings}).systems == ["theirs"]
        return
    with pytest.raises(UserError, match=message):
        read(systems={"theirs": settings})


def test_real_cases_are_no_synthetic_ones(theirs, tmp_path):
    shutil.copytree(theirs / "GAN-000", tmp_path / "real/GAN-000")
    with pytest.raises(UserError, match="lie in each other"):
        read(data_root=str(tmp_path), systems={"theirs": {"cases": str(tmp_path / "real")}})


def test_too_few_cases_are_told_before_anything_runs(theirs):
    def check(n_real: int) -> None:
        study = read(systems={"theirs": {"cases": str(theirs)}}, splits={"n_real": [n_real]}, segmentation={"ratios": [0, 1, 2], "synthetic_only_ratios": []})  # fmt: skip
        check_counts(study, Files(study.plain()))

    check(2)
    with pytest.raises(
        UserError, match=r"holds 5 complete cases, but the arms of n_real 4 need 8(.|\n)*ratios: \[0, 1\]"
    ):
        check(4)


@pytest.fixture(scope="module")
def study_file(theirs, tmp_path_factory):
    tiny = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    del tiny["system_settings"]
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(yaml.safe_dump(tiny | {"run": "external", "systems": {"theirs": {"cases": str(theirs)}}}))
    return path


def test_a_study_of_external_cases_alone_trains_no_generator_and_has_its_arms_and_tables(study_file):
    jobs = parsed(configfiles=(str(study_file),), config="{}")["jobs"]
    rules = {job["rule"] for job in jobs}
    assert not rules & {"train_autoencoder", "train_generator", "synthesize", "gather_synthetic", "evaluate_control", "measure_cost", "sample_control_sweep"}  # fmt: skip
    assert {"read_external", "judge_external", "audit_memorisation", "evaluate_images", "evaluate_masks", "pool_synthetic"} <= rules  # fmt: skip
    arms = {job["wildcards"]["arm"] for job in jobs if job["rule"] == "train_segmentation"}
    assert {"theirs/ratio~1", "theirs/synthetic_only~1"} <= arms
    tables = {job["wildcards"]["table"] for job in jobs if job["rule"] == "make_table"}
    assert {"ladder", "systems", "images", "masks", "memorisation"} <= tables and not tables & {"control", "compute"}


def test_the_command_line_takes_the_short_form_and_an_empty_folder_is_a_sentence(tmp_path):
    done = snakemake(ROOT, "-n", "--configfile", "tests/tiny.yaml", "--config", f"systems={{slice_ldm: {{}}, theirs: {{cases: {tmp_path}}}}}")  # fmt: skip
    assert (
        done.returncode != 0 and f"system_settings.theirs.cases '{tmp_path}': the folder holds no files" in done.stdout
    )


@pytest.mark.slow
def test_an_external_arm_reaches_its_dice_ladder_fid_and_audit(tmp_path):
    """Patients and somebody else's cases in nnU-Net's form, two channels and two organs: from raw folders to the report."""
    root = raw_folder(tmp_path / "Dataset123_X", MR, 8, numbered=True, apart=True)
    raw_folder(tmp_path / "theirs", MR, 6, numbered=True, apart=True, first_seed=100)
    less = {
        "preprocessing": {"shards": 1},
        "synthesis": {"block_size": 4},
        "segmentation": {
            "synthetic_only_ratios": [],
            "controls": {"switch_augmentation": False, "oversampled_ratios": []},
        },
        "memorisation": {"action": "warn"},  # beside four patients so much alike, new ones look like copies
    }
    tiny = merge(yaml.safe_load((ROOT / "tests/tiny.yaml").read_text()), less)
    tiny |= {"run": "raw", "dataset": "nnunet", "data_root": str(root), "system_settings": {}}
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump(tiny | {"systems": {"theirs": {"cases": str(tmp_path / "theirs")}}})
    )
    done = snakemake(ROOT, "--directory", tmp_path, "--configfile", tmp_path / "study.yaml")
    assert done.returncode == 0, done.stdout[-6000:]
    tables = tmp_path / "results/raw/tables"
    dice = pd.read_csv(tables / "augmentation_ratio.csv")
    assert {"theirs", "none"} <= set(dice.system) and {"PZ_and_TZ", "TZ"} <= set(dice.region)
    assert "theirs" in set(pd.read_csv(tables / "ladder.csv").system)
    images = pd.read_csv(tables / "images.csv").query(
        "system == 'theirs' and metric == 'fid' and comparison == 'synthetic'"
    )
    assert len(images) and np.isfinite(images.value.astype(float)).all()
    assert "theirs" in set(pd.read_csv(tables / "memorisation.csv").system)
    assert "PZ alone has no score" in (tmp_path / "results/raw/report.html").read_text("utf-8")
