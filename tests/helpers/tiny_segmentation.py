"""A cohort of small preprocessed volumes for the tests of segmentation, and short calls of its programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from brats import REGIONS, WRITTEN
from subsets import subset_options

from workflow_scripts.base.files import write_json, write_tsv
from workflow_scripts.cohort.nifti import write_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.programs.segmentation import (
    plan_segmentation,
    pool_real,
    pool_synthetic,
    predict_segmentation,
    train_segmentation,
)
from workflow_scripts.study.arms import Arm

SIZE = (24, 32, 32)
SPACING_MM = 3.0
MODALITIES = ["t1c", "t2f"]
TRAIN, VAL, TEST, OTHERS = ["a1", "a2", "a3"], ["b1"], ["c1", "c2"], ["d1", "d2"]
PLAN_CONFIG = {"modalities": MODALITIES, "regions": list(REGIONS), "patch_size": [16, 16, 16], "batch_size": 2}
PLAN_CONFIG |= {"features_per_stage": [8, 16]}
FAST = {"epochs": 2, "iterations_per_epoch": 3, "val_iterations_per_epoch": 1, "precision": "32", "mirroring": False}


def brain_and_tumour(number: int) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid with a tumour of three shells, place and noise by `number`: image (M, D, H, W), levels (D, H, W)."""
    rng = np.random.default_rng(number)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, edge) for edge in SIZE], indexing="ij"))
    brain = (place**2).sum(axis=0) < 0.8
    distance = np.linalg.norm(place - rng.uniform(-0.3, 0.3, 3)[:, None, None, None], axis=0)
    levels = np.digitize(-distance, [-0.42, -0.3, -0.18]).astype(np.uint8) * brain
    bright = np.stack([np.where(levels == 3, 0.9, -0.4), np.where(levels >= 1, 0.3 + 0.2 * levels, -0.3)])
    image = np.where(brain, np.clip(bright + rng.normal(0, 0.05, bright.shape), -0.95, 1), -1.0)
    return image.astype(np.float32), levels


def affine_of(spacing_mm: float, origin_mm: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Voxel (w, h, d) to RAS mm of an axis-parallel grid."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = origin_mm
    return affine


def save(volumes: Path, case_id: str, image: np.ndarray, levels: np.ndarray, source: dict | None = None) -> None:
    """Put a case in the store; `source` is the grid it came on, by default its own."""
    affine = affine_of(SPACING_MM)
    meta = {"case_id": case_id, "patient_id": case_id, "modalities": MODALITIES[: len(image)], "size": list(SIZE)}
    meta |= {
        "spacing_mm": [SPACING_MM] * 3,
        "affine": affine.tolist(),
        "foreground_volume_ml": 1.0,
        "regions": list(REGIONS),
        "written": WRITTEN.model_dump(),
        "intensity_window": {},
    }
    meta["source"] = source or {"affine": affine.tolist(), "shape": list(SIZE[::-1])}
    VolumeStore(volumes).save(case_id, image, levels, meta)


class Study:
    """A study in a folder; its methods run the programs."""

    def __init__(self, folder: Path, segmenter: str = "nnunet"):
        self.segmenter = segmenter
        self.folder, self.volumes, self.plan, self.pool = (
            folder,
            folder / "volumes",
            folder / "plan.json",
            folder / "pool",
        )
        self.real, self.synthetic = folder / "pool_real.tsv", folder / "synthetic"
        for number, case_id in enumerate([*TRAIN, *VAL, *TEST, *OTHERS]):
            save(self.volumes, case_id, *brain_and_tumour(number))
        splits = {"seed": 0, "test": TEST, "val": VAL, "train": {"3": TRAIN}, "others": {"3": OTHERS}}
        write_json(folder / "splits.json", splits)
        write_tsv(folder / "cases.tsv", pd.DataFrame({"case_id": [*TRAIN, *VAL, *TEST, *OTHERS]}))

    def make_plan(self, **overrides) -> dict:
        config = json.dumps(PLAN_CONFIG | overrides)
        places = ["--segmenter", self.segmenter, "--out", str(self.plan), "--threads", "1"]
        plan_segmentation.main(["--config", config, *subset_options(self.folder, "train"), *places])
        return json.loads(self.plan.read_text())["own"]

    def pool_real(self) -> pd.DataFrame:
        places = ["--plan", str(self.plan), "--pool", str(self.pool), "--out", str(self.real)]
        pool_real.main([*places, *subset_options(self.folder, "train", "val"), "--threads", "1"])
        return pd.read_csv(self.real, sep="\t")

    def pool_others(self) -> Path:
        """Preprocess the other patients of the ladder; returns their table, in their pool."""
        pool = self.folder / "ladder/real"
        places = ["--plan", self.plan, "--pool", pool, "--out", pool / "cases.tsv", "--threads", "1"]
        pool_real.main([*map(str, places), *subset_options(self.folder, "others")])
        return pool / "cases.tsv"

    def synthesize(self, block: int, count: int) -> Path:
        """Write a block of "synthetic" cases and its table."""
        numbers = range(block * count, (block + 1) * count)
        case_ids = [f"SliceAug-{number:05d}-000" for number in numbers]
        for number, case_id in zip(numbers, case_ids, strict=True):
            image, levels = brain_and_tumour(100 + number)
            write_case(self.synthetic / case_id, case_id, image, levels, affine_of(SPACING_MM), MODALITIES, WRITTEN)
        table = self.synthetic / "blocks" / f"{block}.tsv"
        write_tsv(table, pd.DataFrame({"case_id": case_ids, "number": numbers}))
        return table

    def pool_synthetic(self, table: Path, system: str = "sys", pool: Path | None = None) -> Path:
        out = (pool or self.folder / f"pool_{system}") / table.name
        places = ["--plan", str(self.plan), "--pool", str(pool or self.pool), "--out", str(out), "--table", str(table)]
        pool_synthetic.main([*places, "--synthetic", str(self.synthetic), "--system", system, "--threads", "1"])
        return out

    def made(self) -> Path:
        """A table of pooled synthetic cases, as many as training cases; made once."""
        table = self.folder / "pool_sys/0.tsv"
        return table if table.is_file() else self.pool_synthetic(self.synthesize(0, len(TRAIN)))

    def train_arguments(self, out: Path, *more: str, **settings) -> list[str]:
        places = ["--plan", self.plan, "--pool", self.pool, "--real", self.real, "--out", out / "arm.json"]
        places += ["--state", self.folder / "state", "--threads", "1"]
        return [*map(str, places), "--config", json.dumps(FAST | settings), *more]

    def arm(self, name: str, mix: str = "real", seed: int = 0) -> Path:
        """The folder of an arm; `name` tells trainings of the same arm apart."""
        return self.folder / name / Arm.of_folder(f"n_real~3/segmentation/{self.segmenter}/{mix}/seed~{seed}").folder

    def train(self, name: str, mix: str = "real", *more: str, seed: int = 0, **settings) -> Path:
        out = self.arm(name, mix, seed)
        train_segmentation.main(self.train_arguments(out, *more, **settings))
        return out

    def predict(self, *arms: Path, **settings) -> pd.DataFrame:
        """Predict with each of the arms in one run; returns the predictions of the first."""
        places = ["--arm", *(arm / "arm.json" for arm in arms), "--out", *(arm / "predictions.tsv" for arm in arms)]
        places = [*map(str, places), "--plan", str(self.plan), "--threads", "1"]
        predict_segmentation.main([*places, *subset_options(self.folder, "test"), "--config", json.dumps(settings)])
        return pd.read_csv(arms[0] / "predictions.tsv", sep="\t")
