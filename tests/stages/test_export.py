"""What leaves a study: mixes that nnU-Net reads, datasheets that say what synthetic cases are, cards of generators."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from brats import MODALITIES, REGIONS
from external_system import GRID, N_REAL, judge, read, split, their_cases
from subsets import subset_options

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, sha256_file, write_json, write_tsv
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.programs.reporting import describe_synthetic, write_model_card
from workflow_scripts.programs.segmentation import export_mix, export_real
from workflow_scripts.study.arms import Arm
from workflow_scripts.study.exports import exported, numbered
from workflow_scripts.study.generators import AUGMENTATION_ONLY

SUMMARY = {"measure": ["image"], "thresholds_from": ["held_out"], "copies": [1], "n_synthetic": [3]}
SUMMARY |= {"held_out_above": [0], "n_held_out": [2], "draws_refused": [4]}


@pytest.fixture(scope="module")
def run(tmp_path_factory, preprocessed_cohort):
    """A cohort with an external system's cases, their audit, and the real cases of the export."""
    cohort = split(preprocessed_cohort(tmp_path_factory.mktemp("export") / "run", cases=5))
    read(cohort, their_cases(cohort.parent / "theirs", 3))
    judge(cohort, needed=3)
    audit = {"group": "synthetic", "case_id": ["theirs_GAN-000", "theirs_GAN-001", "theirs_GAN-002"]}
    audit |= {"is_copy": [False, True, False], "nearest_train_id": "x", "similarity": 0.5, "margin": 0.1}
    write_tsv(cohort / "memorisation.tsv", pd.DataFrame(audit))
    write_tsv(cohort / "summary.tsv", pd.DataFrame(SUMMARY))
    out = ["--out", str(cohort / "export/n_real~3/real/cases.tsv")]
    export_real.main(
        [*subset_options(cohort, "train", "val"), "--config", json.dumps({"regions": list(REGIONS)}), *out]
    )
    return cohort


def export(run: Path, folder: str, ratio: float = 1, **settings) -> Path:
    """Run export_mix; the data set's folder."""
    synthetic, out = run / "n_real~3/synthetic/theirs", run / f"export/nnUNet_raw/{folder}"
    config = {"run": "study", "modalities": list(MODALITIES), "regions": list(REGIONS), "n_real": N_REAL}
    config |= {"ratio": ratio, **settings}
    words = [
        "--config",
        json.dumps(config),
        "--real",
        run / "export/n_real~3/real/cases.tsv",
        "--out",
        out / "dataset.json",
    ]
    if ratio:
        words += ["--tables", synthetic / "cases.tsv", "--synthetic", synthetic, "--system", "theirs"]
        words += ["--audit", run / "memorisation.tsv"]
    export_mix.main(list(map(str, words)))
    return out


def test_a_mix_holds_the_cases_of_its_arm_and_says_of_each_where_it_is_from(run):
    folder = export(run, "Dataset501_mix")
    splits, table = read_json(folder / "splits_final.json"), read_tsv(folder / "provenance.tsv")
    of_kind = {kind: list(part.source_case_id) for kind, part in table[table.split == "train"].groupby("kind")}
    ids = list(read_tsv(run / "cases.tsv").case_id)
    assert of_kind == {"real": ids[:3], "synthetic": ["theirs_GAN-000", "theirs_GAN-001", "theirs_GAN-002"]}
    assert splits == [{"train": sorted(table.case_id[table.split == "train"]), "val": [f"real_{ids[3]}"]}]
    assert ids[4] not in table.to_string(), "a test case"
    made = table[table.kind == "synthetic"]
    assert set(made.system) == {"theirs"} and set(made.provenance) == {"external"}
    assert list(made.is_copy) == [False, True, False] and made.case_id.str.startswith("synthetic_theirs_").all()
    files = {file.name for file in (folder / "imagesTr").iterdir()}
    assert files == {f"{case}_{channel:04d}.nii.gz" for case in table.case_id for channel in range(4)}
    assert read_json(folder / "dataset.json")["numTraining"] == len(table) == 7


def test_images_and_labels_are_those_of_the_study_in_nnunets_form(run):
    folder, own = export(run, "Dataset502_mix"), read_tsv(run / "cases.tsv").case_id[0]
    store = VolumeStore(run / "volumes")
    image = nibabel.load(folder / f"imagesTr/real_{own}_0001.nii.gz")
    label = nibabel.load(folder / f"labelsTr/real_{own}.nii.gz")
    np.testing.assert_allclose(image.affine, store.meta(own)["affine"])
    expected = (np.array(store.image(own)[1], np.float32).transpose(2, 1, 0) + 1) * 5000
    np.testing.assert_allclose(np.asarray(image.dataobj), expected, atol=0.51)
    np.testing.assert_array_equal(np.asarray(label.dataobj), store.levels(own).transpose(2, 1, 0))
    description = read_json(folder / "dataset.json")
    assert description["labels"] == {
        "background": 0,
        "whole_tumor": [1, 2, 3],
        "tumor_core": [2, 3],
        "enhancing_tumor": 3,
    }
    assert description["regions_class_order"] == [1, 2, 3]
    assert (folder / f"imagesTr/real_{own}_0000.nii.gz").stat().st_nlink > 1, "no second copy on the disk"


def test_real_alone_synthetic_alone_and_too_few(run):
    real = read_tsv(export(run, "Dataset503_real", ratio=0) / "provenance.tsv")
    assert list(real.kind) == ["real"] * 4
    alone = read_tsv(export(run, "Dataset504_only", synthetic_only=True) / "provenance.tsv")
    assert list(alone.kind[alone.split == "train"]) == ["synthetic"] * 3 and list(alone.kind[alone.split == "val"]) == [
        "real"
    ]
    with pytest.raises(UserError, match="theirs has 3 synthetic cases, but the mix needs 6"):
        export(run, "Dataset505_more", ratio=2)


def test_what_is_not_for_release_stays_marked_as_such(run):
    table = run / "n_real~3/synthetic/theirs/cases.tsv"
    kept = read_tsv(table)
    try:
        write_tsv(table, kept.assign(use=AUGMENTATION_ONLY, host="BraTS-GLI-00000-000"))
        folder = export(run, "Dataset506_hosts")
        made = read_tsv(folder / "provenance.tsv").query("kind == 'synthetic'")
        assert set(made.use) == {AUGMENTATION_ONLY} and set(made.host) == {"BraTS-GLI-00000-000"}
        assert AUGMENTATION_ONLY in read_json(folder / "dataset.json")["use"]
        assert AUGMENTATION_ONLY in datasheet(run)["description"]
    finally:
        write_tsv(table, kept)


def test_an_export_made_again_holds_no_case_of_the_former(run):
    folder = export(run, "Dataset507_mix")
    export(run, "Dataset507_mix", ratio=0)
    assert not [file for file in folder.rglob("*") if "synthetic" in file.name]


# nnU-Net's own command, but for two things that cost minutes on a loaded machine and check nothing here: each of its three
# pools starts processes that import torch, and its fingerprint draws 10^8 voxels (4 GB) from however few cases.
NNUNET = """
import multiprocessing, multiprocessing.dummy
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor as Extractor
from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry
context = multiprocessing.get_context
multiprocessing.get_context = lambda method=None: multiprocessing.dummy if method == "spawn" else context(method)
analyze = Extractor.analyze_case
Extractor.analyze_case = staticmethod(lambda images, label, reader, samples: analyze(images, label, reader, 1000))
plan_and_preprocess_entry()
"""


@pytest.mark.slow
def test_nnunet_accepts_a_mix(run, tmp_path):
    shutil.copytree(export(run, "Dataset508_mix"), tmp_path / "raw/Dataset508_mix")
    places = {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}
    options = "-d 508 --verify_dataset_integrity -c 3d_fullres -np 1 -npfp 1 --no_pbar"
    command = [sys.executable, "-c", NNUNET, *options.split()]
    done = subprocess.run(command, env=os.environ | places, capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0 and "verify_dataset_integrity Done" in done.stdout, done.stdout + done.stderr
    assert len(list((tmp_path / "preprocessed/Dataset508_mix").rglob("*.pkl"))) == 7


def test_ids_follow_from_names_and_are_unlike():
    names = [f"study_n{n}_slice_ldm_{ratio}x" for n in range(20) for ratio in range(10)]
    folders = numbered(names)
    assert len({folder[:10] for folder in folders.values()}) == len(names)
    assert all(500 <= int(folder[7:10]) <= 999 for folder in folders.values()), "three digits, as nnU-Net reads them"
    assert numbered(names[:1])[names[0]] == folders[names[0]]
    arms = [Arm(4, "one", 0.5, mixing=way, seed=seed) for way in ("replace", "real_share") for seed in (0, 1)]
    found = exported([*arms, Arm(4, control="no_augmentation", seed=0), Arm(9, seed=0)], [4], "study")
    assert list(found.values()) == [Arm(4, "one", 0.5)] and next(iter(found)).endswith("_study_n4_one_0p5x")


def datasheet(run: Path) -> dict:
    folder = run / "n_real~3/synthetic/theirs"
    settings = {
        "run": "study",
        "system": "theirs",
        "label": "a GAN",
        "kind": "external",
        "n_real": 3,
        "simulated": False,
    }
    settings |= {"modalities": list(MODALITIES), "regions": list(REGIONS), **GRID}
    files = {"table": folder / "cases.tsv", "rejected": folder / "rejected.tsv", "audit": run / "summary.tsv"}
    files["out"] = run / "croissant.json"
    describe_synthetic.main(
        ["--config", json.dumps(settings), *(word for name, file in files.items() for word in (f"--{name}", str(file)))]
    )
    return read_json(run / "croissant.json")


def test_a_datasheet_says_what_the_cases_are_from_whom_and_with_which_audit(run):
    sheet = datasheet(run)
    assert sheet["conformsTo"] == "http://mlcommons.org/croissant/1.0" and sheet["@type"] == "sc:Dataset"
    assert "3 synthetic cases" in sheet["description"] and "Provenance: external" in sheet["rai:dataCollection"]
    assert "1 of 3 are, 0 of 2 held-out patients" in sheet["rai:personalSensitiveInformation"]
    file, volumes = sheet["distribution"]
    table = run / "n_real~3/synthetic/theirs/cases.tsv"
    assert file["sha256"] == sha256_file(table) and (table.parent / file["contentUrl"]).is_file()
    assert len(list(table.parent.glob(volumes["includes"]))) == 15, "links are followed"
    (records,) = sheet["recordSet"]
    assert [field["name"] for field in records["field"]] == list(read_tsv(table).columns)
    prefixes = {key.split(":")[0] for key in sheet if ":" in key}
    assert prefixes <= set(sheet["@context"]), "every prefix is said in the context"


def test_a_generators_card_says_what_it_was_made_from_and_how_its_cases_are_released(tmp_path):
    contract = {"kind": "generator", "name": "slice_ldm", "generator": {"kind": "diffusion"}, "seed": 0}
    contract |= {"modalities": ["t1c"], "regions": ["whole_tumor"], "training_case_ids": ["a", "b"], "grid": GRID}
    contract |= {
        "features": {"names": ["volume_ml"], "min": [5.0], "max": [90.0]},
        "autoencoder": {"kind": "slice_vae"},
    }
    contract |= {"training": {"steps": 500}, "config_digest": "c" * 64, "code_digest": "d" * 16}
    write_json(tmp_path / "model.json", contract)
    write_json(tmp_path / "release.json", {"synthesis": {}, "false_positive_rate": 0.05, "copies": {}})
    out = tmp_path / "README.md"
    write_model_card.main(["--model", str(tmp_path), "--release", str(tmp_path / "release.json"), "--out", str(out)])
    card = out.read_text()
    assert "from 2 real cases" in card and "| volume_ml | 5 | 90 |" in card and "500 steps" in card
    assert "refused, at a false-alarm rate of 0.05" in card and not out.with_suffix(".json").exists()
