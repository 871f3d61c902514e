"""Cases of somebody else's generator, put through their two programs over a small cohort."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from brats import ALL_PARTS, MODALITIES, REGIONS
from planted import make_reference
from small_cases import make_case
from subsets import subset_options

from workflow_scripts.base.files import read_tsv, write_json, write_tsv
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.cohort.tumour_table import measure_case
from workflow_scripts.programs.synthesis import judge_external, read_external

GRID = {"spacing_mm": [8.0, 6.0, 6.0], "size": [16, 32, 32]}
N_REAL = 3
OPEN_GATE = {"min_largest_component_fraction": 0.0, "foreground_volume_tolerance": 100.0, "feature_tolerance": 100.0}


def split(cohort: Path) -> Path:
    """A cohort of five split into three to train, one to validate and one to test, with the tumours of the first measured."""
    ids = list(read_tsv(cohort / "cases.tsv").case_id)
    write_json(cohort / "splits.json", {"train": {str(N_REAL): ids[:3]}, "val": ids[3:4], "test": ids[4:]})
    (manifest,) = subset_options(cohort, "train")[1:]
    train = Subset.open(manifest, "train")
    rows = [measure_case(train.store, case_id, REGIONS) for case_id in train.case_ids]
    write_tsv(cohort / "conditions.tsv", pd.DataFrame(rows))
    make_reference(cohort, N_REAL)
    return cohort


def their_cases(folder: Path, count: int = 4, layout: str = "brats2023") -> Path:
    """Cases of other patients than the cohort's."""
    for number in range(count):
        make_case(folder, f"GAN-{number:03d}", layout, seed=100 + number)
    return folder


def read(cohort: Path, folder: Path, **config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run read_external; its tables of cases and of refused ones."""
    out = cohort / "external/theirs"
    settings = {"dataset": dict(ALL_PARTS), "modalities": list(MODALITIES), "regions": list(REGIONS)}
    settings |= {"on_bad_case": "reject", **GRID, **config}
    words = ["--config", json.dumps(settings), "--cohort", str(cohort / "cases.tsv"), "--cases", str(folder)]
    words += ["--system", "theirs", "--out", str(out / "cases.tsv"), "--rejected", str(out / "rejected.tsv")]
    read_external.main(words)
    return read_tsv(out / "cases.tsv"), read_tsv(out / "rejected.tsv")


def judge(cohort: Path, needed: int = 1, gate: dict | None = None, copies: bool = False) -> tuple[Path, pd.DataFrame]:
    """Run judge_external; the folder of the cases, and the table of the refused ones."""
    out, source = cohort / "n_real~3/synthetic/theirs", cohort / "external/theirs"
    settings = {"regions": list(REGIONS), "gate": OPEN_GATE if gate is None else gate}
    options = ["--refuse-copies", str(cohort / f"n_real~{N_REAL}/memorisation")] if copies else []
    words = ["--config", json.dumps(settings), *subset_options(cohort, "train"), "--system", "theirs", *options]
    words += ["--conditions", str(cohort / "conditions.tsv"), "--needed", str(needed)]
    words += ["--read", str(source / "cases.tsv"), "--unread", str(source / "rejected.tsv")]
    judge_external.main([*words, "--out", str(out / "cases.tsv"), "--rejected", str(out / "rejected.tsv")])
    return out, read_tsv(out / "rejected.tsv")
