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

if TYPE_CHECKING:
    import pandas as pd

MAX_STRATA = 5


def split_patients(cases: pd.DataFrame, volume: str, n_real: Sequence[int], val: int, test: int, seed: int) -> dict:
    """Assign every case of a cohort to test, validation, nested train subsets, or none.

    Parameters
    ----------
    cases : table with the columns ``case_id``, ``patient_id`` and `volume`
        A row a case. All time points of a patient share a set; the patient counts as one, with their mean volume.
    volume : column of the whole tumour's volume, ml
    n_real, val, test : patients
        Sizes of the train subsets, of the validation set and of the test set. A subset of 20 patients holds all
        their time points, so it may list more than 20 cases.
    seed : int

    Returns
    -------
    dict
        ``{"seed", "test": [case ids], "val": [ids], "train": {"20": [ids], ...}, "unused": [ids], "n_patients"}``,
        ids sorted; ``unused`` are the cases of patients beyond the largest subset.

    Raises
    ------
    UserError
        If a size is no positive whole number, or the cohort has too few patients; the message holds the lines to write.
    """
    sizes = _checked_sizes(n_real, val, test)
    if not np.isfinite(cases[volume].to_numpy(dtype=float)).all():
        raise UserError(f"the case table has rows without {volume}: run `snakemake -R preprocess`")
    if cases["case_id"].duplicated().any():
        twice = cases.loc[cases["case_id"].duplicated(), "case_id"].iloc[0]
        raise UserError(f"case {twice} stands twice in the case table: run `snakemake -R merge_cohort`")
    volume_ml = cases.groupby("patient_id")[volume].mean()
    needed = sizes[-1] + val + test
    if needed > len(volume_ml):
        raise UserError(_too_few(len(volume_ml), sizes, val, test))
    n_strata = min(MAX_STRATA, test, sizes[0])
    order = stratified_order(list(volume_ml.index), volume_ml.to_numpy(), n_strata, seed)
    case_ids = cases.groupby("patient_id")["case_id"].apply(list).to_dict()

    def cases_of(patients: Sequence[str]) -> list[str]:
        return sorted(case_id for patient in patients for case_id in case_ids[patient])

    held_out = test + val
    return {
        "seed": seed,
        "test": cases_of(order[:test]),
        "val": cases_of(order[test:held_out]),
        "train": {str(size): cases_of(order[held_out : held_out + size]) for size in sizes},
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


def _checked_sizes(n_real: Sequence[int], val: int, test: int) -> list[int]:
    """Sorted train sizes, after checking that every size is a positive whole number and none stands twice."""
    named = [("val", val), ("test", test), *(("n_real", size) for size in n_real)]
    for name, size in named:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UserError(f"{name} must count patients, a whole number of at least 1, not {size!r}")
    if not n_real or len(set(n_real)) != len(n_real):
        raise UserError(f"n_real must list different numbers of patients, for example [20, 50, 100], not {n_real!r}")
    return sorted(n_real)


def _too_few(n_patients: int, sizes: Sequence[int], val: int, test: int) -> str:
    """What is wrong with the sizes, and lines with sizes that fit."""
    needed = sizes[-1] + val + test
    problem = (
        f"the splits ask for {needed} patients (largest n_real {sizes[-1]} + val {val} + test {test}), "
        f"but the cohort has {n_patients} usable patients"
    )
    if n_patients < 3:
        return f"{problem}: at least 3 are needed. See cohort/rejected.tsv for refused cases, or add cases"
    fit_test = max(1, test * n_patients // needed)
    fit_val = max(1, val * n_patients // needed)
    room = n_patients - fit_test - fit_val
    fit_sizes = [size for size in sizes if size < room] + [room]
    return (
        f"{problem}. Add cases (cohort/rejected.tsv lists those refused), or write in the config, for example:\n"
        f"splits: {{n_real: {fit_sizes}, val: {fit_val}, test: {fit_test}}}"
    )
