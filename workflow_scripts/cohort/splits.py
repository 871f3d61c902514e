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
from ..study.given_splits import KEY, UNUSED
from ..study.settings.cohort import LEAST_TRAIN, SplitSettings

if TYPE_CHECKING:
    import pandas as pd

MAX_STRATA = 5


def split_patients(cases: pd.DataFrame, splits: SplitSettings, given: tuple[str, dict[str, str]] | None = None) -> dict:
    """Assign every case of a cohort to test, validation, nested train subsets, or none.

    cases : table with the columns ``case_id``, ``patient_id`` and the outermost region's volume, ``<region>_ml``
        A row a case. All time points of a patient share a set; the patient counts as one, with their mean volume.
    splits : sizes of the sets in patients
        A subset of 20 patients holds all their time points, so it may list more than 20 cases.
    given : the user's own sets (`given_splits.read_splits`), taken as they are; train subsets are nested within theirs

    Returns ``{"seed", "test": [case ids], "val": [ids], "train": {"20": [ids], ...}, "others": {"20": [ids], ...},
    "unused": [ids], "n_patients"}``, ids sorted; ``others`` are those of the next patients after a train subset, within the
    largest; ``unused`` are the cases that are in none of them.

    Raises UserError if the cohort has too few patients, with the lines to write; or if it does not fit what is given.
    """
    sizes, volume = splits.sizes, f"{splits.region}_ml"
    if not np.isfinite(cases[volume].to_numpy(dtype=float)).all():
        raise UserError(f"the case table has rows without {volume}: run `snakemake -R preprocess`")
    if cases["case_id"].duplicated().any():
        twice = cases.loc[cases["case_id"].duplicated(), "case_id"].iloc[0]
        raise UserError(f"case {twice} stands twice in the case table: run `snakemake -R merge_cohort`")
    used = cases if given is None else _given_cases(cases, *given)
    volume_ml, case_ids = used.groupby("patient_id")[volume].mean(), used.groupby("patient_id")["case_id"].apply(list)

    def ordered(patients: Sequence[str], n_strata: int) -> list[str]:
        return stratified_order(patients, volume_ml[list(patients)].to_numpy(), n_strata, splits.seed)

    if given is None and splits.folds:
        order = ordered(list(volume_ml.index), min(MAX_STRATA, len(volume_ml) // splits.folds or 1, splits.n_real[0]))
        test, rest = _fold(order, splits.folds, splits.fold)
        if splits.val + sizes[-1] > len(rest):
            largest, n_test = max(len(rest) - splits.val, LEAST_TRAIN), len(test)
            what = f"{len(order)} usable patients in {splits.folds} folds leave {len(rest)} beside the {n_test} tested ones"
            asked = f"but the splits ask for {sizes[-1]} to train and {splits.val} to validate"
            lines = f"splits: {{n_real: [{largest}], val: {splits.val}, folds: {splits.folds}}}"
            raise UserError(f"{what}, {asked}. Add cases, or write in the config, for example:\n{lines}")
        val, nested = rest[: splits.val], rest[splits.val :]
    elif given is None:
        n_test, held_out = splits.test, splits.test + splits.val
        if sizes[-1] + held_out > len(volume_ml):
            raise UserError(_too_few(len(volume_ml), splits))
        n_strata = min(
            MAX_STRATA, n_test, splits.n_real[0]
        )  # whatever the learning curve asks for: it moves no patient
        order = ordered(list(volume_ml.index), n_strata)
        test, val, nested = order[:n_test], order[n_test:held_out], order[held_out:]
    else:
        test, val, nested = (
            sorted(set(used.loc[used["set"] == name, "patient_id"])) for name in ("test", "val", "train")
        )
        if sizes[-1] > len(nested):
            asked = "n_real" if sizes[-1] in splits.n_real else "learning_curve"
            what = f"{KEY}: the train set has {len(nested)} patients, but {asked} asks for {sizes[-1]}"
            raise UserError(f"{what}. Write, for example:\nsplits: {{n_real: [{len(nested)}]}}")
        nested = ordered(nested, min(MAX_STRATA, splits.n_real[0]))

    def cases_of(patients: Sequence[str]) -> list[str]:
        return sorted(case_id for patient in patients for case_id in case_ids[patient])

    found = {
        "seed": splits.seed,
        "test": cases_of(test),
        "val": cases_of(val),
        "train": {str(size): cases_of(nested[:size]) for size in sizes},
        "others": {
            str(size): cases_of(nested[size:][: splits.others[str(size)]])
            for size in sizes
            if str(size) in splits.others
        },
    }
    taken = {*found["test"], *found["val"], *found["train"][str(sizes[-1])]}
    unused = cases[~cases["case_id"].isin(taken)]
    patients = {"test": len(test), "val": len(val), "train": sizes, "unused": unused["patient_id"].nunique()}
    return {**found, "unused": sorted(unused["case_id"]), "n_patients": patients}


def _fold(order: list[str], folds: int, fold: int) -> tuple[list[str], list[str]]:
    """The patients of a fold, a run of the order, and all others, those behind it first: the next fold's are the first of them."""
    edges = np.linspace(0, len(order), folds + 1).round().astype(int)
    start, stop = int(edges[fold]), int(edges[fold + 1])
    return order[start:stop], order[stop:] + order[:start]


def _given_cases(cases: pd.DataFrame, column: str, sets: dict[str, str]) -> pd.DataFrame:
    """The cases that the user's table puts into a set, with the column ``set``."""
    if unknown := sorted(set(sets) - set(cases[column])):
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        what = f"{KEY}: {column} {unknown[0]}{more} is no case of the cohort that can be used"
        raise UserError(f"{what}. cohort/rejected.tsv lists those refused; leave out the line, or mend the case")
    chosen = cases.assign(set=cases[column].map(sets).fillna(UNUSED))
    chosen = chosen[chosen["set"] != UNUSED]
    for patient, own in chosen.groupby("patient_id"):
        if own["set"].nunique() > 1:
            where = ", ".join(f"{case_id} in {name}" for case_id, name in zip(own["case_id"], own["set"], strict=True))
            what = f"{KEY} parts patient {patient}: {where}"
            raise UserError(f"{what}. Cases of one patient must share a set: a score on them would be worth nothing")
    return chosen


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
