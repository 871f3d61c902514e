"""Splits by patient: test, validation, and nested train subsets, each spread over the range of tumour volumes.

One ordering of the patients does it all. Patients are sorted into strata of equal size by tumour volume, shuffled
within each stratum, and the strata are then dealt out evenly, so that every run of consecutive patients holds each
stratum in proportion. Test is the first run, validation the next, and each train subset starts where validation ends:
subsets are nested by construction. A patient's place within a stratum hangs on the seed and the patient's id alone,
so a patient who is rejected later moves a few neighbours and leaves the others where they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..base.errors import UserError
from ..base.seeds import seed_of
from ..study.settings.cohort import LEAST_TRAIN, SplitSettings

if TYPE_CHECKING:
    import pandas as pd

MAX_STRATA = 5


def split_patients(cases: pd.DataFrame, splits: SplitSettings) -> dict:
    """Assign every case of a cohort to test, validation, nested train subsets, or none.

    cases : table with the columns ``case_id``, ``patient_id`` and the outermost region's volume, ``<region>_ml``
        A row a case. All time points of a patient share a set; the patient counts as one, with their mean volume.
    splits : sizes of the sets in patients
        A subset of 20 patients holds all their time points, so it may list more than 20 cases.

    Returns ``{"seed", "test": [case ids], "val": [ids], "train": {"20": [ids], ...}, "others": {"20": [ids], ...},
    "unused": [ids], "n_patients"}``, ids sorted; ``others`` are those of the next patients after a train subset, within the
    largest; ``unused`` are the cases of patients beyond the largest subset.

    Raises UserError if the cohort has too few patients; the message holds the lines to write.
    """
    sizes, val, test, volume = splits.sizes, splits.val, splits.test, f"{splits.region}_ml"
    if not np.isfinite(cases[volume].to_numpy(dtype=float)).all():
        raise UserError(f"the case table has rows without {volume}: run `snakemake -R preprocess`")
    if cases["case_id"].duplicated().any():
        twice = cases.loc[cases["case_id"].duplicated(), "case_id"].iloc[0]
        raise UserError(f"case {twice} stands twice in the case table: run `snakemake -R merge_cohort`")
    volume_ml = cases.groupby("patient_id")[volume].mean()
    needed = sizes[-1] + val + test
    if needed > len(volume_ml):
        raise UserError(_too_few(len(volume_ml), splits))
    n_strata = min(MAX_STRATA, test, splits.n_real[0])  # whatever the learning curve asks for: it moves no patient
    order = stratified_order(list(volume_ml.index), volume_ml.to_numpy(), n_strata, splits.seed)
    case_ids = cases.groupby("patient_id")["case_id"].apply(list).to_dict()

    def cases_of(patients: Sequence[str]) -> list[str]:
        return sorted(case_id for patient in patients for case_id in case_ids[patient])

    held_out = test + val
    nested = order[held_out:]
    return {
        "seed": splits.seed,
        "test": cases_of(order[:test]),
        "val": cases_of(order[test:held_out]),
        "train": {str(size): cases_of(nested[:size]) for size in sizes},
        "others": {
            str(size): cases_of(nested[size:][: splits.others[str(size)]])
            for size in sizes
            if str(size) in splits.others
        },
        "unused": cases_of(order[needed:]),
        "n_patients": {"test": test, "val": val, "train": sizes, "unused": len(order) - needed},
    }


def stratified_order(patient_ids: Sequence[str], volume_ml: Sequence[float], n_strata: int, seed: int) -> list[str]:
    """Order patients so that every run of consecutive ones holds `n_strata` strata of volume in proportion."""
    by_volume = sorted(range(len(patient_ids)), key=lambda index: (float(volume_ml[index]), patient_ids[index]))
    placed = []
    for number, stratum in enumerate(np.array_split(np.asarray(by_volume, dtype=int), n_strata)):
        shuffled = sorted((patient_ids[index] for index in stratum), key=lambda name: _key(seed, name))
        tie_break = seed_of(seed, "stratum", number)
        placed += [((i + 0.5) / len(shuffled), tie_break, name) for i, name in enumerate(shuffled)]
    return [name for _, _, name in sorted(placed)]


def _key(seed: int, patient_id: str) -> tuple[int, str]:
    return seed_of(seed, "split", patient_id), patient_id


def _too_few(n_patients: int, splits: SplitSettings) -> str:
    """What is wrong with the sizes, and lines with sizes that fit."""
    largest, val, test = splits.sizes[-1], splits.val, splits.test
    needed, name = largest + val + test, "n_real" if largest in splits.n_real else "learning_curve"
    problem = (
        f"the splits ask for {needed} patients (largest {name} {largest} + val {val} + test {test}), "
        f"but the cohort has {n_patients} usable patients"
    )
    if n_patients < LEAST_TRAIN + 2:
        return (
            f"{problem}: at least {LEAST_TRAIN + 2} are needed, {LEAST_TRAIN} to train, one to validate and one to test. "
            "See cohort/rejected.tsv for refused cases, or add cases"
        )
    fit_test = min(max(1, test * n_patients // needed), n_patients - LEAST_TRAIN - 1)
    fit_val = min(max(1, val * n_patients // needed), n_patients - LEAST_TRAIN - fit_test)
    room = n_patients - fit_test - fit_val
    fit_sizes = [size for size in splits.n_real if size < room] + [room]
    return (
        f"{problem}. Add cases (cohort/rejected.tsv lists those refused), or write in the config, for example:\n"
        f"splits: {{n_real: {fit_sizes}, val: {fit_val}, test: {fit_test}}}"
    )
