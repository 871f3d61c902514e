"""A small run for tests of the report: the files that its sections read, through the programs where that is quick."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from brats import LOOKS, REGIONS, WRITTEN
from study_files import study, write_table
from subsets import subset_options

from workflow_scripts.base.files import read_tsv, write_json, write_tsv
from workflow_scripts.cohort.nifti import write_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.evaluation.metrics import COLUMNS
from workflow_scripts.programs.reporting import make_figure, make_report, pack_viewer

FID_BOUNDS = {"synthetic": (59.0, 64.0), "floor": (22.0, 25.5)}


def images_table(n_samples):
    """Rows of images.tsv as evaluate_images writes them; its values made up."""
    values = {"fid": (61.25, 23.5), "kid": (0.01234, -0.0005), "mmd": (0.2, 0.01), "precision": (0.5, 0.75)}
    values |= {"gradient_ratio": (1.5, 1.25), "ms_ssim": (0.9, 0.8)}
    rows = []
    for metric, pair in values.items():
        alone = metric in ("gradient_ratio", "ms_ssim")
        kinds = ("synthetic", "real" if alone else "floor")
        for plane in ("volume",) if alone else ("axial", "sagittal", "coronal", "joint"):
            for modality in ("all",) if alone or plane == "joint" else ("t1n", "all"):
                for comparison, value in zip(kinds, pair, strict=True):
                    row = dict.fromkeys(COLUMNS) | {"metric": metric, "plane": plane, "modality": modality}
                    row |= {
                        "comparison": comparison,
                        "value": value,
                        "n_cases": 3,
                        "n_samples": 3,
                        "note": "5 neighbours",
                    }
                    row |= {"n_slices": n_samples // 4, "n_samples": n_samples} if metric == "fid" else {}
                    bounds = FID_BOUNDS[comparison] if metric == "fid" else (value - 0.001, value + 0.002)
                    rows.append(row | dict(zip(("lower", "upper"), bounds, strict=True)))
    about = {"feature_network": "EfficientNet-Lite0 (ImageNet)", "feature_dimension": 1280, "slice_size": 64}
    about |= {
        "weights_sha256": "abcdef0123456789" * 4,
        "confidence": 0.95,
        "bootstrap_samples": 2000,
        "modalities": "t1n",
    }
    return pd.DataFrame(rows).assign(n_real=20, system="slice_ldm", **about)


def write_images(folder, table):
    write_tsv(folder / "images.tsv", table)
    write_table("images", folder / "tables/images.csv", images=[folder / "images.tsv"])


def small_run(folder: Path) -> SimpleNamespace:
    """The files of a small run, with an evil word in every place where data are printed."""
    files = study(folder)
    table = folder / "tables/augmentation_ratio"
    write_table("augmentation_ratio", f"{table}.csv", scores=files)
    figure = folder / "figures/dice_vs_ratio.png"
    make_figure.main(
        ["--figure", "dice_vs_ratio", "--scores", *files, "--ratios", f"{table}.csv", "--out", str(figure)]
    )
    cases = pd.DataFrame({"case_id": ["A", "B"], "note": ["", "label 4 (resection cavity): 12 voxels"]})
    rejected = pd.DataFrame(
        {"case_id": ["C<script>"], "file": ["/data/C/C-seg.nii.gz"], "reason": ["the mask is empty & <b>useless</b>"]}
    )
    made = pd.DataFrame({"case_id": ["SliceAug-00000-000"], "number": [0], "attempts": [3]})
    reason = "the tumour has {} ml; min_volume_ml asks for 0.5"
    reasons = [reason.format(0.31), reason.format(4e-2), "the tumour is empty"]
    refused = pd.DataFrame({"number": [0, 0, 1], "attempt": [0, 1, 0], "reason": reasons})
    psnr = {"case_id": ["A", "B"], "plane": "axial", "channel": "t1c", "metric": "psnr", "value": [24.0, 26.0]}
    synthetic = folder / "n_real~20/synthetic/slice_ldm"
    write_tsv(folder / "cohort/cases.tsv", cases)
    write_tsv(folder / "cohort/rejected.tsv", rejected)
    write_json(folder / "cohort/splits.json", {"seed": 0, "test": ["A"], "val": ["B"], "train": {"20": ["C", "D"]}})
    write_tsv(synthetic / "cases.tsv", made)
    write_tsv(synthetic / "rejected.tsv", refused)
    write_tsv(folder / "n_real~20/autoencoder/slice_vae/reconstruction.tsv", pd.DataFrame(psnr))
    write_images(folder, images_table(400))
    return SimpleNamespace(folder=folder, figure=figure, synthetic=synthetic)


def write_report(run: SimpleNamespace, *options: str) -> Path:
    """Make report.html of the run, through the program."""
    folder = run.folder
    config = {"run": "small", "data_root": None, "evaluation": {"tables": {"seed": 7}}, "looks": LOOKS}
    make_report.main(
        [
            *("--augmentation-ratio", str(folder / "tables/augmentation_ratio.csv"), "--figures", str(run.figure)),
            *("--images", str(folder / "tables/images.csv"), "--synthetic", str(run.synthetic / "cases.tsv")),
            *("--synthetic-rejected", str(run.synthetic / "rejected.tsv")),
            *("--reconstruction", str(folder / "n_real~20/autoencoder/slice_vae/reconstruction.tsv")),
            *("--cases", str(folder / "cohort/cases.tsv"), "--rejected", str(folder / "cohort/rejected.tsv")),
            *("--splits", str(folder / "cohort/splits.json"), "--out", str(folder / "report.html")),
            *("--config", json.dumps(config), *options),
        ]
    )
    return folder / "report.html"


def add_synthetic(cohort: Path) -> Path:
    """Splits of a preprocessed cohort, and "synthetic" cases made of two of its own."""
    ids = list(read_tsv(cohort / "cases.tsv").case_id)
    write_json(cohort / "splits.json", {"seed": 0, "test": ids[:1], "val": ids[1:2], "train": {"3": ids[2:]}})
    store, rows = VolumeStore(cohort / "volumes"), []
    for number, case_id in enumerate(ids[:2]):
        name, meta = f"SliceAug-{number:05d}-000", store.meta(case_id)
        image, levels = np.array(store.image(case_id), dtype=np.float32), np.array(store.levels(case_id))
        where = cohort / "synthetic" / name
        write_case(where, name, image, levels, np.array(meta["affine"]), meta["modalities"], WRITTEN)
        rows.append({"case_id": name, "number": number, "attempts": 1})
    for table in ("blocks/0.tsv", "cases.tsv"):
        write_tsv(cohort / "synthetic" / table, pd.DataFrame(rows))
    return cohort


def viewer_file(cohort: Path, out: Path, *options: str, **config) -> Path:
    """Pack the cohort's volumes for the viewer, through the program."""
    config = {"cases": 2, "modalities": ["t1c", "t2f"], "regions": REGIONS} | config
    pack_viewer.main(
        [
            *("--config", json.dumps(config), *subset_options(cohort, "train")),
            *("--tables", str(cohort / "synthetic/cases.tsv"), "--out", str(out), *options),
        ]
    )
    return out
