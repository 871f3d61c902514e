"""A table of the user that says which set each case or patient is in."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ..base.errors import UserError
from ..base.given_tables import read_given

SETS = ("train", "val", "test")
UNUSED = "unused"
KEY = "splits.file"


def read_splits(path: str | Path) -> tuple[str, dict[str, str]]:
    """The column whose ids are given, case_id or patient_id, and {id: one of `SETS` or `UNUSED`}.

    Raises UserError if the table lacks a column, a word is no set, an id is in two sets, or a set is empty.
    """
    rows = read_given(path, KEY, ["set"])
    column = next((name for name in ("case_id", "patient_id") if rows and name in rows[0]), None)
    if column is None:
        raise UserError(
            f"{KEY}: {path} has no line, or no column case_id or patient_id. Its first line must be: case_id,set"
        )
    found: dict[str, str] = {}
    for row in rows:
        name, of_set = row[column], row["set"].lower()
        if of_set not in (*SETS, UNUSED):
            raise UserError(
                f"{KEY}: {path}: {name or 'a line'} has the set {row['set']!r}: write {', '.join(SETS)} or {UNUSED}"
            )
        if not name:
            raise UserError(f"{KEY}: {path}: a line of the set {of_set} has no {column}")
        if found.setdefault(name, of_set) != of_set:
            raise UserError(f"{KEY}: {path}: {name} is in {found[name]} and in {of_set}")
    if empty := [name for name in SETS if name not in found.values()]:
        raise UserError(f"{KEY}: {path} leaves {empty[0]} empty: a study needs cases to train, to validate and to test")
    return column, found


def sizes_of(found: Mapping[str, str]) -> dict[str, int]:
    """Ids in each set: patients, where the table names patients, and at least as many as patients, where it names cases."""
    counts = Counter(found.values())
    return {name: counts[name] for name in SETS}
