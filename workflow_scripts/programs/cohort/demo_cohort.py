"""Simulate the embedded demo cohort: brains with tumours as NIfTI files in BraTS-2023 layout, and what they truly hold.

Config: {"cases": 20, "spacing_mm": 2.5, "tumour_volume_ml": [5, 120], "seed": 0}. A simulation, never evidence.
Patient i depends on the seed and i alone: more cases leave the first ones as they are. Case folders that an earlier,
larger cohort left in the output folder are removed.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.nifti import write_nifti
from workflow_scripts.cohort.phantom.patient import Patient, simulate_patient
from workflow_scripts.study.settings.cohort import DemoCohort

_CASE_FOLDER = re.compile(r"DEMO-\d{5}-000")


def main(argv: Sequence[str] | None = None) -> None:
    paths = {"out": "folder for the case folders", "manifest": "table to write: a row a case, its true tumour"}
    args = program_parser(__doc__, **paths).parse_args(argv)
    settings = DemoCohort.read(args.config, "demo_cohort")
    # The manifest vouches for the files: it goes first and comes last.
    args.manifest.unlink(missing_ok=True)
    case_ids = [f"DEMO-{number:05d}-000" for number in range(1, settings.cases + 1)]
    _remove_others(args.out, set(case_ids))
    low_ml, high_ml = map(float, settings.tumour_volume_ml)
    make = partial(
        write_patient, args.out, settings.seed, float(settings.spacing_mm), (low_ml, high_ml), settings.contrast_spread
    )
    rows = []
    with track(len(case_ids), "simulating patients", unit="patient") as progress:
        for row in _each(make, range(1, len(case_ids) + 1), min(args.threads, len(case_ids))):
            rows.append(row)
            progress.update(1)
    write_tsv(args.manifest, pd.DataFrame(rows))


def write_patient(
    out: Path, seed: int, spacing_mm: float, volume_ml: tuple[float, float], contrast_spread: float, number: int
) -> dict[str, object]:
    """Simulate patient `number`, write the five files, and return the manifest's row."""
    patient = simulate_patient(seed, number, spacing_mm, volume_ml, contrast_spread)
    case_id = f"DEMO-{number:05d}-000"
    for name, volume in {**patient.images, "seg": patient.labels.astype(np.int16)}.items():
        # BraTS stores voxels left-posterior-superior: x and y run backwards
        array = volume.transpose(2, 1, 0)[::-1, ::-1]
        write_nifti(out / case_id / f"{case_id}-{name}.nii.gz", array, _lps_affine(patient))
    voxel_ml = spacing_mm**3 / 1000
    plan = patient.plan
    return {
        "case_id": case_id,
        "patient_id": case_id.removesuffix("-000"),
        "seed": seed,
        "number": number,
        "whole_tumor_ml": float(np.count_nonzero(patient.labels) * voxel_ml),
        "tumor_core_ml": float(np.isin(patient.labels, (1, 3)).sum() * voxel_ml),
        "enhancing_tumor_ml": float(np.count_nonzero(patient.labels == 3) * voxel_ml),
        "brain_ml": float(np.count_nonzero(patient.images["t1n"]) * voxel_ml),
        "planned_volume_ml": plan.volume_ml,
        "planned_core_share": plan.core_share,
        "rim_mm": plan.rim_mm,
        "front_width_mm": plan.front_width_mm,
        "white_to_grey_diffusivity": plan.white_to_grey,
        "push": plan.push,
        **{f"start_{axis}_mm": value for axis, value in zip("zyx", patient.start_mm, strict=True)},
    }


def _lps_affine(patient: Patient) -> np.ndarray:
    """Affine 4 x 4 from voxel (x, y, z) of the stored array to RAS mm."""
    grid = patient.grid
    z, y, x = (grid.axis_mm(axis) for axis in range(3))
    affine = np.diag([-grid.spacing_mm, -grid.spacing_mm, grid.spacing_mm, 1.0])
    affine[:3, 3] = x[-1], y[-1], z[0]
    return affine


def _each(make: partial, numbers: range, n_processes: int) -> Iterator[dict[str, object]]:
    """Rows in the order of the numbers, from this process or from several."""
    if n_processes == 1:
        yield from map(make, numbers)
        return
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make, numbers)


def _remove_others(out: Path, keep: set[str]) -> None:
    """Remove case folders of an earlier, larger cohort: whoever reads the folder would take them for cases."""
    for folder in out.glob("DEMO-*"):
        if folder.is_dir() and _CASE_FOLDER.fullmatch(folder.name) and folder.name not in keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    run_program(main)
