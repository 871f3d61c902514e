"""Synthetic cases that are copies of training cases in disguise, and how the audit's programs are run over them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from brats import WRITTEN
from scipy import ndimage
from subsets import subset_options

from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.cohort.nifti import write_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.programs.memorisation import audit_memorisation, calibrate_memorisation, memorisation_reference


def shifted(array: np.ndarray, steps) -> np.ndarray:
    """Moved by whole voxels along the last three axes; the head is far enough from the edges to stay whole."""
    return np.roll(array, steps, axis=(-3, -2, -1))


def in_brain(image: np.ndarray, change) -> np.ndarray:
    return np.where(image > -1, np.clip(change(image), -0.999, 1.0), -1.0)


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.2, image.shape)
    return in_brain(image, lambda values: values + noise)


# name -> (image, levels) of a training case -> those of its disguised copy
DISGUISES = {
    "copy": lambda image, levels: (image, levels),
    "flipped": lambda image, levels: (image[..., ::-1], levels[..., ::-1]),
    "shifted": lambda image, levels: (shifted(image, (1, 0, -1)), shifted(levels, (1, 0, -1))),
    "noisy": lambda image, levels: (noisy(image), levels),
    "other contrast": lambda image, levels: (in_brain(image, lambda values: 0.6 * values + 0.1), levels),
    "blurred": lambda image, levels: (
        in_brain(image, lambda values: ndimage.gaussian_filter(values, (0, 0.7, 0.7, 0.7))),
        levels,
    ),
    "all at once": lambda image, levels: (
        shifted(in_brain(noisy(image)[..., ::-1], lambda values: 0.8 * values), (0, 1, 1)),
        shifted(levels[..., ::-1], (0, 1, 1)),
    ),
}


def plant(cohort: Path, name: str, cases: list[tuple[np.ndarray, np.ndarray]], meta: dict) -> Path:
    """Write images (M, D, H, W) and levels (D, H, W) as synthetic cases, with the tables that gather_synthetic writes."""
    folder, rows = cohort / name, []
    for number, (image, levels) in enumerate(cases):
        case_id = f"SliceAug-{number:05d}-000"
        write_case(folder / case_id, case_id, image, levels, np.array(meta["affine"]), meta["modalities"], WRITTEN)
        rows.append({"case_id": case_id, "number": number, "attempts": 1})
    write_tsv(folder / "cases.tsv", pd.DataFrame(rows, columns=["case_id", "number", "attempts"]))
    write_tsv(folder / "rejected.tsv", pd.DataFrame(columns=["number", "attempt", "reason"]))
    return folder


def volumes_of(cohort: Path, case_id: str) -> tuple[np.ndarray, np.ndarray]:
    store = VolumeStore(cohort / "volumes")
    return np.array(store.image(case_id), dtype=np.float32), np.array(store.levels(case_id))


def make_reference(cohort: Path, n_real: int, **config) -> Path:
    """Run memorisation_reference; its folder."""
    out = cohort / f"n_real~{n_real}/memorisation"
    memorisation_reference.main(
        [*subset_options(cohort, "train", n_real=n_real), "--config", json.dumps(config), "--out", str(out)]
    )
    return out


def calibrate(cohort: Path, n_real: int, **config) -> pd.DataFrame:
    """Run memorisation_reference and calibrate_memorisation; real.tsv."""
    reference, folder = make_reference(cohort, n_real), cohort / f"evaluation/n_real~{n_real}/memorisation"
    outputs = ["--out", str(folder / "real.tsv"), "--features", str(folder / "train_features.safetensors")]
    calibrate_memorisation.main(
        [
            *subset_options(cohort, "train", "val", "test", n_real=n_real),
            "--reference",
            str(reference),
            *outputs,
            "--config",
            json.dumps(config),
            "--threads",
            "1",
        ]
    )
    return read_tsv(folder / "real.tsv")


def audit(cohort: Path, n_real: int, synthetic: Path, **config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run audit_memorisation after `calibrate`; memorisation.tsv and memorisation_summary.tsv."""
    folder, out = cohort / f"evaluation/n_real~{n_real}/memorisation", synthetic / "audit"
    inputs = ["--real", folder / "real.tsv", "--features", folder / "train_features.safetensors"]
    inputs += ["--reference", cohort / f"n_real~{n_real}/memorisation", "--synthetic", synthetic]
    inputs += ["--table", synthetic / "cases.tsv", "--rejected", synthetic / "rejected.tsv"]
    outputs = ["--out", out / "memorisation.tsv", "--summary", out / "memorisation_summary.tsv"]
    names = [
        *subset_options(cohort, "train", n_real=n_real),
        "--system",
        "slice_ldm",
        "--config",
        json.dumps({"action": "audit"} | config),
        "--threads",
        "1",
    ]
    audit_memorisation.main([*map(str, (*inputs, *outputs)), *names])
    return read_tsv(out / "memorisation.tsv"), read_tsv(out / "memorisation_summary.tsv")
