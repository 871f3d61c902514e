"""Tables that the user writes: CSV or tab-separated, read as text, with sentences for what is wrong in them."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError

ENDINGS = (".csv", ".tsv")


def is_table(path: str | os.PathLike) -> bool:
    """Whether a path is called like such a table."""
    return Path(path).suffix.lower() in ENDINGS


def read_given(path: str | os.PathLike, key: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """A row a line, as {column: text without blanks around it}; the separator is the first line's tab, ``;`` or comma.

    key : that names the table, for messages
    columns : that must be there and full; others are kept, and may be empty

    Raises UserError that names the table and the line.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: {path} cannot be read as a table ({error})") from None
    first = text.partition("\n")[0]
    if not first.strip():
        raise UserError(f"{key}: {path} cannot be read as a table (its first line is empty)")
    separator = next((mark for mark in ("\t", ";") if mark in first), ",")
    lines = csv.reader(text.splitlines(), delimiter=separator)
    head = [name.strip() for name in next(lines)]
    if missing := [name for name in columns if name not in head]:
        what = f"{key}: {path} has no column {', '.join(missing)}"
        raise UserError(f"{what}. Its first line must be: {separator.join(columns)}")
    rows = []
    for number, line in enumerate(lines, 2):
        if not any(map(str.strip, line)):
            continue
        if len(line) != len(head):
            raise UserError(f"{key}: {path}, line {number}: {len(line)} entries, not the {len(head)} of the first line")
        row = dict(zip(head, map(str.strip, line), strict=True))
        if empty := [name for name in columns if not row[name]]:
            raise UserError(f"{key}: {path}, line {number}: {empty[0]} is empty")
        rows.append(row)
    return rows
