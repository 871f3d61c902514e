"""A subset of the cohort as the stages see it: a folder of links to its cases' files, and a manifest with their digests.

A stage is handed the manifest of its subset, so that it can see no case of another. Each file is compared with its digest
before it is read for the first time: one that was deleted or changed stops the stage.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import UserError
from ..base.files import read_json, sha256_file, sha256_json, write_json
from .volumes import SUFFIXES, VolumeStore

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
ROW = ("case_id", "patient_id", "mask_digest", "layout", "seg_path", "levels_digest")
"""Columns of cases.tsv that stages need: whose case it is, what else it is known by, and where its mask on the original grid
is, and its digest."""


class SubsetStore(VolumeStore):
    """The volumes of a subset alone; a file is compared with its digest before it is read for the first time."""

    def __init__(self, folder: str | os.PathLike, digests: dict[str, dict[str, str]]):
        super().__init__(folder)
        self._digests = digests  # case id -> {suffix: SHA-256}
        self._checked: set[tuple[str, str]] = set()

    def digest(self, case_id: str, suffix: str) -> str:
        """SHA-256 of a file of a case, as the manifest has it."""
        return self._digests[case_id][suffix]

    def _existing(self, case_id: str, suffix: str) -> Path:
        if case_id not in self._digests:
            raise UserError(f"case {case_id} is not in the subset {self.folder}: a stage reads its own subset alone")
        path = super()._existing(case_id, suffix)
        if (case_id, suffix) not in self._checked:
            if sha256_file(path) != self._digests[case_id][suffix]:
                what = f"volume of case {case_id} is not the one that was preprocessed: {path} has changed"
                raise UserError(f"{what}. Make it again with `snakemake -R preprocess`")
            self._checked.add((case_id, suffix))
        return path


class Subset:
    """The cases of one subset.

    name : "train", "val", "test" or "others", the next patients after a train subset
    patients, n_patients : set of str; their number, which of a train subset is n_real
    case_ids : list of str, sorted; all time points of the patients
    first_of_each_patient : those of case_ids that are no second time point, sorted
    rows : {case id: {column: value}}, the columns `ROW`
    store : SubsetStore
    manifest : Path
    """

    def __init__(self, manifest: Path, content: dict):
        self.manifest, self.name = manifest, content["subset"]
        self.rows = {
            row["case_id"]: _with_mask(row, lambda path: str(manifest.parent / path)) for row in content["cases"]
        }
        self.case_ids = sorted(self.rows)
        cases = {self.rows[case_id]["patient_id"]: case_id for case_id in reversed(self.case_ids)}
        self.first_of_each_patient, self.patients, self.n_patients = sorted(cases.values()), set(cases), len(cases)
        self.store = SubsetStore(manifest.parent, content["sha256"])

    @classmethod
    def open(cls, path: str | os.PathLike, name: str | None = None) -> Subset:
        """Read a manifest, given by its path or its folder's. Raises UserError if it is missing or damaged, of another
        subset than `name`, or if its folder holds files of a case that it does not list."""
        manifest = Path(path) / MANIFEST if Path(path).is_dir() else Path(path)
        content = read_json(manifest)
        again = "run `snakemake -R split_cohort`"
        try:
            subset = cls(manifest, content)
            complete = all(set(content["sha256"][case_id]) == set(SUFFIXES) for case_id in subset.case_ids)
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{manifest} is no manifest of a subset: {again}") from None
        if not complete or set(content["sha256"]) != set(subset.case_ids):
            raise UserError(f"{manifest} has not a digest for each file of its cases: {again}")
        if name not in (None, subset.name):
            raise UserError(f"{manifest} is the {subset.name} subset, not {name}: give that one's manifest")
        known = {f"{case_id}{suffix}" for case_id in subset.case_ids for suffix in SUFFIXES}
        if foreign := sorted({file.name for file in manifest.parent.iterdir()} - known - {MANIFEST}):
            raise UserError(f"{manifest.parent} holds {foreign[0]}, which is no file of this subset: {again}")
        return subset

    def trained_on(self) -> dict[str, list[str]]:
        """What the contract of a model says of the cases that it was trained on: their ids, and digests of patients and masks."""
        masks = {row["mask_digest"] for row in self.rows.values() if "mask_digest" in row}
        return {
            "training_case_ids": self.case_ids,
            "training_patient_digests": sorted(map(patient_digest, self.patients)),
            "training_mask_digests": sorted(masks),
        }


def patient_digest(patient_id: str) -> str:
    """What a model that is given away says of a patient: ids of a user's own table may be those of a hospital."""
    return sha256_json(patient_id)[:32]


def _with_mask(row: dict, change: Callable[[str], str]) -> dict:
    """A row of a manifest with another path of its mask, where it has one."""
    return row | {"seg_path": change(row["seg_path"])} if "seg_path" in row else row


def check_apart(*subsets: Subset) -> None:
    """Raise UserError if a patient is in two of the subsets."""
    for one, other in combinations(subsets, 2):
        if shared := sorted(one.patients & other.patients):
            raise UserError(
                f"patient {shared[0]} is in both {one.manifest} and {other.manifest}: run `snakemake -R split_cohort`"
            )


def write_subset(
    folder: str | os.PathLike, name: str, cases: pd.DataFrame, volumes: str | os.PathLike, threads: int = 1
) -> Path:
    """Fill `folder` with relative links to the cases' files in `volumes`, and with the manifest; returns its path.

    name : as of a `Subset`
    cases : rows of cases.tsv, those of the subset; a mask's path that is not absolute is seen from the folder above `volumes`

    What was in the folder goes. Raises UserError that names a missing file.
    """
    folder, store = Path(folder), VolumeStore(volumes)
    folder.mkdir(parents=True, exist_ok=True)
    manifest, case_ids = folder / MANIFEST, sorted(cases["case_id"])
    manifest.unlink(missing_ok=True)
    for file in folder.iterdir():
        file.unlink()
    with ThreadPoolExecutor(max(1, threads)) as workers:
        digests = dict(zip(case_ids, workers.map(store.digests, case_ids), strict=True))
    for case_id in case_ids:
        for suffix in SUFFIXES:
            target = os.path.relpath(store.folder / f"{case_id}{suffix}", folder)
            (folder / f"{case_id}{suffix}").symlink_to(target)
    rows = cases.sort_values("case_id")[[column for column in ROW if column in cases]].to_dict("records")

    def from_here(path: str) -> str:
        return path if Path(path).is_absolute() else os.path.relpath(store.folder.parent / path, folder)

    rows = [_with_mask(row, from_here) for row in rows]
    write_json(manifest, {"subset": name, "cases": rows, "sha256": digests})
    return manifest
