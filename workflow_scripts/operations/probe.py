"""A short measurement: the workflow itself, on a few simulated patients at the study's own shapes, for a few steps."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..base.errors import UserError
from ..base.provenance import PACKAGE, PROJECT, ROOT
from ..study.blocks import picked

TRAIN, VAL, TEST = 4, 1, 2  # patients
RUN = "probe"
PARTS = ("Snakefile", "rules", "config", "envs", "profiles", PACKAGE)
SHAPES = ("segmenters", "patch_size", "batch_size", "features_per_stage")
SHAPES += ("augmentation", "mirroring", "precision", "workers")
# Nothing is made that needs synthetic cases: a generator of a few steps makes none that the gate lets through. What uses
# them does the same to real ones (`estimate_work.LIKE`). Tables and figures of so little would say nothing.
OMITTED = ("synthesize", "make_table", "make_figure")


def probe_settings(config: Mapping[str, Any], asked: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """A study like the one of `config` (`Study.plain`; `asked`: `Study.asked`) in all that decides what a step or a case costs.

    steps : of each training
    """
    few = {"steps": steps, "warmup_steps": 1, "checkpoint_minutes": 1000, "log_every_steps": max(1, steps // 4)}
    systems: dict[str, dict] = {}
    seen: set[str | None] = set()
    for name, system in config["system"].items():
        own = dict(asked["system_settings"].get(name) or {})
        shared = system["autoencoder"] and system["autoencoder"]["name"] in seen  # set by the first that uses it
        seen.add((system["autoencoder"] or {}).get("name"))
        for part, block in system.items():
            if system.get("generator") or (shared and part == "autoencoder"):  # set where its model is
                continue
            if isinstance(block, Mapping) and isinstance(block.get("training"), Mapping):
                own[part] = {**(own.get(part) or {}), "training": {**block["training"], **few}}
        systems[name] = own
    spacing = config["demo_cohort"]["spacing_mm"] if asked["data_root"] == "demo" else 1.0
    evaluation = config["evaluation"]
    return {
        **asked,
        "container": "none",
        "patients": "none",
        "layout": "auto",
        "run": RUN,
        "results": "results",
        "data_root": "demo",
        "demo_cohort": {"cases": TRAIN + VAL + TEST, "spacing_mm": spacing},
        "preprocessing": {**config["preprocessing"], "shards": 1},
        "splits": {"n_real": [TRAIN], "val": VAL, "test": TEST},
        "system_settings": systems,
        "synthesis": {"block_size": TRAIN, "slices_per_batch": config["synthesis"]["slices_per_batch"]},
        "memorisation": dict(config["memorisation"]),
        "segmentation": {
            **picked(config["segmentation"], SHAPES),
            "ratios": [0, 1],
            "synthetic_only_ratios": [],
            "mixing": ["replace"],
            "ladder": None,
            "learning_curve": [],
            "controls": {"switch_augmentation": False, "oversampled_ratios": []},
            "seeds": [0],
            "epochs": 1,
            "iterations_per_epoch": steps,
            "val_iterations_per_epoch": 1,
            "checkpoint_minutes": 1000,
        },
        "evaluation": {
            "images": {**evaluation["images"], "neighbours": 2, "jackknife_groups": 0},
            "cost": {"volumes": 1},
            "control": {"requests": TEST, "sweep_steps": min(2, evaluation["control"]["sweep_steps"])},
            "masks": {"permutations": 19},
            "comparison_ratio": None,
            "tables": {"bootstrap_samples": 100},
            "figures": {"cases": 2},
        },
    }


def run_probe(folder: Path, settings: Mapping[str, Any], cores: int, profile: str | None) -> tuple[Path, Path]:
    """Run it in `folder`, in a copy of the project: the study's own folder, lock and events stay as they are.

    profile : of the workflow, as the study will have it; None: profiles/default

    Returns its configuration's file and the folder of its results. Raises UserError where nothing could be measured.
    """
    for part in PARTS:
        source = (ROOT if part == PACKAGE else PROJECT) / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    file = folder / "probe.yaml"
    file.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "workflow_scripts.programs.operations.watch", "--cores", str(cores)]
    command += ["--workflow-profile", profile] if profile else []
    done = subprocess.run([*command, "--configfile", str(file), "--keep-going", "--omit-from", *OMITTED], cwd=folder)
    if done.returncode and not (folder / "results" / RUN / "benchmarks").is_dir():
        raise UserError(
            "the short measurement failed; what it wrote is above. Or take an earlier run: --earlier <its config>"
        )
    return file, folder / "results" / RUN
