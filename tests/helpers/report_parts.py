"""What a whole report shows beside the small run of report_files: of every other section its files, made up where a
program would train for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from brats import CONDITIONS, REGIONS
from control_files import control, masks
from small_cases import SPACING_MM, anatomy
from study_files import INTERVALS, write_table

from workflow_scripts.base.files import read_tsv, write_text, write_tsv
from workflow_scripts.base.provenance import ROOT
from workflow_scripts.cohort.planes import extent_mm
from workflow_scripts.programs.reporting import make_figure
from workflow_scripts.reporting.figures.control_sweep import ROWS, SweepCell, control_sweep
from workflow_scripts.reporting.figures.memorisation import Pair, nearest_pairs
from workflow_scripts.reporting.figures.real_and_synthetic import real_and_synthetic
from workflow_scripts.reporting.figures.slices import PicturedCase, view
from workflow_scripts.reporting.figures.style import save_figure
from workflow_scripts.reporting.tables.cost import JOB_COLUMNS, cost_table
from workflow_scripts.study import blocks
from workflow_scripts.study.settings.files import merge, read_yaml
from workflow_scripts.study.settings.study import read_study
from workflow_scripts.study.settings.systems import load_systems

SYSTEM = "slice_ldm"
N_REAL = 20
NAMES = ("ladder", "kinds", "exchange", "systems", "compute", "control", "masks", "memorisation", "cost")


def demo_config() -> dict:
    """What the rule of the report gives it for the demo."""
    sweep = {"evaluation": {"control": {"sweep_steps": 3}}}
    study = read_study(
        merge(merge(read_yaml(ROOT / "config/config.yaml"), read_yaml(ROOT / "config/demo.yaml")), sweep)
    )
    return study.asked() | blocks.looks(study.plain())


def add_the_rest(folder: Path) -> list[str]:
    """Add the files of every other section to a run of `small_run`; the options of make_report that name them."""
    tables, figures = folder / "tables", folder / f"figures/n_real~{N_REAL}"
    _system_tables(folder)
    _ladder_tables(folder)
    _control_tables(folder)
    _memorisation_table(folder)
    write_text(tables / "cost.csv", _cost().to_csv(index=False, lineterminator="\n"))
    mask = {
        "case_id": "M-7",
        "file": "masks/M-7-seg.nii.gz",
        "reason": "the mask is empty: no tumour in it. Leave it out",
    }
    write_tsv(folder / "evaluation/reference_masks.rejected.tsv", pd.DataFrame([mask]))
    _draw(figures)
    files = {name: tables / f"{name}.csv" for name in NAMES}
    files["reference-rejected"] = folder / "evaluation/reference_masks.rejected.tsv"
    drawn = [figures / f"{name}_{SYSTEM}.png" for name in ("real_and_synthetic", "memorisation", "control_sweep")]
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    rungs = folder / "figures/ladder.png"
    make_figure.main(["--figure", "ladder", "--ladder", str(tables / "ladder.csv"), "--out", str(rungs)])
    return [*options, "--figures", *map(str, [rungs, *drawn])]


def _ladder_tables(folder: Path) -> None:
    scores = sorted(folder.glob("n_real~*/*/*/seed~*/dice.tsv"))
    system = {SYSTEM: {"autoencoder": {"name": "slice_vae"}}}
    settings = {"tables": INTERVALS, "system": system, "ladder": {"ratio": None}, "ratios": [0, 1, 2]}
    for name in ("ladder", "exchange"):
        write_table(name, folder / f"tables/{name}.csv", settings=settings, scores=scores)
    _kinds_table(folder, scores, settings)


def _kinds_table(folder: Path, scores: list[Path], settings: dict) -> None:
    """Two test cases have no enhancing tumour, and all training cases have one."""
    tables = []
    for number, file in enumerate(scores):
        table = read_tsv(file)
        lacking = table.case_id.isin(sorted(set(table.case_id))[:2]) & (table.region == "enhancing_tumor")
        tables.append(folder / f"kinds/{number}.tsv")
        write_tsv(tables[-1], table.assign(reference_ml=table.reference_ml.where(~lacking, 0.0)))
    tumours = folder / f"kinds/n_real~{N_REAL}/conditions.tsv"
    shares = {f"{region}_fraction": [0.4, 0.2] for region in REGIONS[1:]}
    write_tsv(tumours, pd.DataFrame({"case_id": ["C", "D"], **shares}))
    write_table("kinds", folder / "tables/kinds.csv", settings=settings, scores=tables, conditions=[tumours])


def _system_tables(folder: Path) -> None:
    cost = {"system": SYSTEM, "n_real": N_REAL, "seconds_per_volume": 1.25, "peak_memory_mib": 900.0, "volumes": 3,
            "memory_of": "process", "device": "CPU with 2 threads, fp32", "grid": "48x64x64",
            "sampler": "dpmpp_2m, 20 steps"}  # fmt: skip
    write_tsv(folder / "cost.tsv", pd.DataFrame([cost]))
    size = [48, 64, 64]
    config = {
        "systems": [SYSTEM],
        "system": {SYSTEM: load_systems([SYSTEM], {SYSTEM: {"scale": 0.1}}, size)[SYSTEM].plain()},
        "size": size,
    }
    config |= {"modalities": ["t1n", "t2f"], "regions": list(REGIONS), "comparison_ratio": None}
    config |= {"foreground_channel": True, "rule": "zero_background"}
    tables = folder / "tables"
    write_table("compute", tables / "compute.csv", settings=config, costs=[folder / "cost.tsv"])
    files = {"ratios": [tables / "augmentation_ratio.csv"], "images": [folder / "images.tsv"]}
    write_table("systems", tables / "systems.csv", settings=config, compute=[tables / "compute.csv"], **files)


def _control_tables(folder: Path) -> None:
    write_tsv(folder / "control.tsv", control(noise=0.1))
    write_tsv(folder / "masks.tsv", masks())
    for name in ("control", "masks"):
        write_table(name, folder / f"tables/{name}.csv", **{name: [folder / f"{name}.tsv"]})


def _memorisation_table(folder: Path) -> None:
    """Copies by both measures, and a gate that refused two draws."""
    front = {
        "n_real": N_REAL,
        "system": SYSTEM,
        "action": "refuse",
        "compared": "cases",
        "n_synthetic": 20,
        "n_held_out": 12,
    }
    rows = []
    for origin in ("held_out", "train"):
        for measure in ("image", "features"):
            row = {"thresholds_from": origin, "measure": measure, "copies": 1 + 2 * (measure == "features")}
            row |= {"held_out_above": 1 if origin == "train" else None, "n_control": 20, "control_caught": 8}
            row |= {"n_threshold_patients": 12, "false_positive_rate": 0.076923, "synthetic_above_similarity": 5}
            values = {"margin_threshold": 0.62, "similarity_threshold": 0.91, "synthetic_median_similarity": 0.83}
            values |= {"synthetic_largest_similarity": 0.97, "held_out_median_similarity": 0.8}
            values |= {"held_out_largest_similarity": 0.91, "synthetic_median_mask_dice": 0.4}
            rows.append(front | row | values | {"held_out_median_mask_dice": 0.35, "draws_refused": 2})
    write_tsv(folder / "memorisation_summary.tsv", pd.DataFrame(rows))
    write_table("memorisation", folder / "tables/memorisation.csv", summaries=[folder / "memorisation_summary.tsv"])


def _cost() -> pd.DataFrame:
    stages = ("preprocess", "train_autoencoder", "train_generator", "synthesize", "train_segmentation")
    gpu = "NVIDIA H100 80GB HBM3"
    rows = [(stage, 3600.0 * place, 5000.0 * place, 900.0 * place, min(place, 1), gpu if place else "CPU", place == 2, 3000.0 * place)
            for place, stage in enumerate(stages)]  # fmt: skip
    return cost_table(pd.DataFrame(rows, columns=list(JOB_COLUMNS)), stages)


def _pictured(seed: int, **place) -> PicturedCase:
    """A small head with a tumour; its image in [-1, 1]."""
    images, levels = anatomy(seed=seed, **place)
    image = np.where(images["t2f"] > 0, images["t2f"] / 500.0 - 1.0, -1.0).clip(-1, 1)
    return PicturedCase(f"SliceAug-{seed:05d}-000", image.T.astype(np.float32), levels.T, SPACING_MM[::-1])


def _draw(folder: Path) -> None:
    cases = [_pictured(seed) for seed in range(4)]
    title = f"t2f; system {SYSTEM}, n_real = {N_REAL}"
    figure = real_and_synthetic(cases[:2], cases[2:], list(REGIONS), title)
    save_figure(figure, folder / f"real_and_synthetic_{SYSTEM}.png")
    pairs = [Pair(cases[index], cases[index + 1], f"{cases[index].case_id}: no copy") for index in range(3)]
    save_figure(nearest_pairs(pairs, REGIONS[0], title), folder / f"memorisation_{SYSTEM}.png")
    moves = [_pictured(0, centre=(offset, 10.0, 0.0)) for offset in (-30.0, 0.0, 30.0)]
    asked = {name: dict.fromkeys(CONDITIONS, 20.0) for name in ROWS}
    cells = {
        name: [
            SweepCell(view(case.image, "axial", 12), view(case.levels, "axial", 12), asked[name], asked[name], False)
            for case in moves
        ]
        for name in ROWS
    }
    extents = dict.fromkeys(ROWS, extent_mm("axial", moves[0].levels.shape, moves[0].spacing_mm))
    save_figure(control_sweep(cells, extents, list(REGIONS), title), folder / f"control_sweep_{SYSTEM}.png")
