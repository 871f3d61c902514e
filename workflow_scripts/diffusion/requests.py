"""Requested tumours: a CSV with a row a case and any of the condition columns, in ml, mm, mm2 and fractions.

Where the generator puts tumours into patients, the column `host` may name the one that is wanted.
"""

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations
from pathlib import Path

import numpy as np

from ..base.errors import UserError
from ..study.conditions import FRACTION, fractions_in
from .conditions import ConditionTable

_SIGNED = ("centroid_x_mm", "centroid_y_mm", "centroid_z_mm")
_BOX = ("box_width_mm", "box_height_mm", "box_depth_mm")
_SHOWN = 8  # faults in one message
HOST = "host"


@dataclass(frozen=True)
class Wanted:
    """A row: the conditions that it gives, by name; case id of the host. What it does not give is drawn."""

    conditions: dict[str, float]
    host: str | None = None


def read_requests(
    path: str | os.PathLike,
    table: ConditionTable,
    allow_extrapolation: bool = False,
    hosts: Sequence[str] | None = None,
) -> list[Wanted]:
    """Read requested tumours. `hosts`: the cases that a host may be; None: the generator makes whole patients.

    Raises UserError that lists the faults, each with row (the header is row 1), column and what is allowed: unknown or
    repeated columns, cells that are no number, values outside of the training range (unless `allow_extrapolation`),
    values that no tumour can have, values that contradict each other, and a host that is not among `hosts`.
    """
    return _checked(path, *_read(Path(path)), table, allow_extrapolation, hosts)


def requests_of(
    rows: Iterable[Mapping[str, object]],
    table: ConditionTable,
    allow_extrapolation: bool = False,
    hosts: Sequence[str] | None = None,
) -> list[Wanted]:
    """As `read_requests`, of rows counted from 0: name of a condition, or `HOST` -> value; None and NaN are left open."""
    given = list(rows)
    header = list(dict.fromkeys(str(name) for row in given for name in row))
    cells = [["" if _is_open(value := row.get(name)) else str(value) for name in header] for row in given]
    return _checked("requests", header, list(enumerate(cells)), table, allow_extrapolation, hosts)


def _is_open(value: object) -> bool:
    """Whether a cell of a data frame holds nothing."""
    return value is None or value != value


def _checked(
    path: str | os.PathLike,
    header: list[str],
    rows: list[tuple[int, list[str]]],
    table: ConditionTable,
    allow_extrapolation: bool,
    hosts: Sequence[str] | None,
) -> list[Wanted]:
    if hosts is None and HOST in header:
        raise UserError(f"{path}: column {HOST}: this model makes whole patients, in no host; leave the column out")
    _check_header(path, header, [*table.names, *([HOST] if hosts is not None else [])])
    requests, faults = [], []
    for number, cells in rows:
        if len(cells) != len(header):
            faults.append(f"row {number}: {len(cells)} cells under {len(header)} columns")
            continue
        request: dict[str, float] = {}
        host = None
        for name, cell in zip(header, cells, strict=True):
            if name == HOST and hosts is not None:
                host = cell.strip() or None
                faults += (
                    [f"row {number}, column {HOST}: {_no_host(host, hosts)}"] if host and host not in hosts else []
                )
            elif cell.strip():
                value, fault = _value(name, cell.strip(), table, allow_extrapolation)
                faults += [f"row {number}, column {name}: {fault}"] if fault else []
                request[name] = value
        if not faults:
            faults += [f"row {number}: {fault}" for fault in _contradictions(request, table.names)]
        requests.append(Wanted(request, host))
    if faults:
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise UserError(f"{path}: the requests cannot be met:\n  " + "\n  ".join(faults[:_SHOWN]) + more)
    return requests


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and (row number, cells) of the rows that are not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = [(number, cells) for number, cells in enumerate(csv.reader(stream), 1) if cells]
    except OSError as error:
        raise UserError(f"the requests {path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file in UTF-8: {error}") from None
    if len(lines) < 2:
        raise UserError(f"{path} requests nothing: write a line of condition names and a line of numbers for each case")
    return [name.strip() for name in lines[0][1]], lines[1:]


def _check_header(path: os.PathLike | str, header: Sequence[str], names: Sequence[str]) -> None:
    for name in header:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            hint += "Columns are separated by commas. " if any(mark in name for mark in ";\t") else ""
            raise UserError(f"{path}: unknown column {name!r}; {hint}This model knows: {', '.join(names)}")
        if header.count(name) > 1:
            raise UserError(f"{path}: column {name} is there {header.count(name)} times; keep one of them")


def _no_host(host: str, hosts: Sequence[str]) -> str:
    near = get_close_matches(host, hosts, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(hosts[:3])}{', ...' * (len(hosts) > 3)}"
    return f"{host!r} is no case of the train subset; {hint}"


def _value(name: str, cell: str, table: ConditionTable, allow_extrapolation: bool) -> tuple[float, str | None]:
    """The number in a cell, and what is wrong with it."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan, f"{cell!r} is not a number (write 12.5, without a unit)"
    index = list(table.names).index(name)
    low, high, slack = (float(limits[index]) for limits in (table.lowest, table.highest, table.slack))
    is_share = name == "sphericity" or name.endswith(FRACTION)  # 0 to 1 by definition
    if not math.isfinite(value):
        return value, f"{cell} is not a finite number"
    if is_share and not 0 <= value <= 1:
        return value, f"{cell} is impossible; it must be from 0 to 1"
    if not is_share and name not in _SIGNED and value <= 0:
        return value, f"{cell} is impossible; it must be above 0"
    if not allow_extrapolation and not low - slack <= value <= high + slack:
        return value, (
            f"{cell} is outside of what the model was trained on, {low:.6g} to {high:.6g}; "
            "change it, or add --allow-extrapolation"
        )
    return value, None


def _contradictions(request: dict[str, float], names: Sequence[str]) -> list[str]:
    """What no tumour can have at once."""
    faults = [
        f"{inner} {request[inner]:g} is larger than {outer} {request[outer]:g}, which holds it"
        for outer, inner in combinations(fractions_in(names), 2)
        if inner in request and outer in request and request[inner] > request[outer]
    ]
    if "volume_ml" in request and all(name in request for name in _BOX):
        box_ml = float(np.prod([request[name] for name in _BOX])) / 1000.0
        if request["volume_ml"] > box_ml:
            faults.append(f"volume_ml {request['volume_ml']:g} does not fit into its box, which holds {box_ml:.4g} ml")
    return faults
