"""The table of control: what a generator makes of a request."""

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ...base.errors import UserError
from ...base.files import read_tsv
from ...evaluation.agreement import ALL, CENTRE_DISTANCE, INSIDE, control_summary
from ...evaluation.mask_shapes import ALL_FEATURES
from ...evaluation.statistics.bootstrap import best_coverage
from ...study.conditions import FRACTION
from ..looks import region_name
from .cells import ends, number
from .text import Table, read_together

UNDEFINED = "not defined"
_SHAPE_NAMES = {
    "volume_ml": "volume, ml",
    "surface_mm2": "surface, mm2",
    "sphericity": "sphericity",
    "centroid_x_mm": "centre x, mm",
    "centroid_y_mm": "centre y, mm",
    "centroid_z_mm": "centre z, mm",
    CENTRE_DISTANCE: "distance of the centres, mm",
    "box_width_mm": "box width, mm",
    "box_height_mm": "box height, mm",
    "box_depth_mm": "box depth, mm",
    ALL_FEATURES: ALL_FEATURES,
}
DIGITS = {"ml": 1, "mm": 1, "mm2": 0, "fraction": 3}
_LEAST_R2 = -100.0  # an R2 has no lower limit, and below this its digits say nothing


def feature_name(feature: str) -> str:
    """What readers call a condition, with its unit."""
    if feature in _SHAPE_NAMES:
        return _SHAPE_NAMES[feature]
    return f"{region_name(feature.removesuffix(FRACTION))}, fraction"


def without_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every empty entry as the text "not defined", and numbers rounded to six digits."""

    def cell(value: object) -> object:
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return UNDEFINED
        return round(value, 6) if isinstance(value, float) else value

    return table.astype(object).map(cell)


def _parts(table: pd.DataFrame, rows_of) -> list[tuple[str, pd.DataFrame]]:
    """(heading, readable table) for each n_real and system."""
    return [
        (f"{system} with {n_real} real training patients", pd.DataFrame(rows_of(part)))
        for (n_real, system), part in table.groupby(["n_real", "system"], sort=False)
    ]


def _with_interval(row, name: str, digits: int) -> str:
    value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    shown = _shown(value, digits)
    return shown if isinstance(low, str) else f"{shown} {ends(low, high, lambda end: _shown(end, digits))}"


def _shown(value: object, digits: int) -> str:
    return number(value, digits) if isinstance(value, str) or value >= _LEAST_R2 else f"< {_LEAST_R2:.0f}"


def readable_control(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Requested against measured, a part an n_real and system. `table` as of `without_gaps(control_summary(...))`."""

    def rows(part: pd.DataFrame) -> list[dict]:
        inside = {row.feature: row for row in part[part.requests == INSIDE].itertuples()}
        return [
            {
                "feature": feature_name(row.feature),
                "n": str(row.n),
                "R2 (identity)": _with_interval(row, "r2_identity", 2),
                "squared correlation": _with_interval(row, "r2_correlation", 2),
                "mean absolute error": _with_interval(row, "mae", DIGITS[row.unit]),
                "mean error": number(row.bias, DIGITS[row.unit], signed=True),
                "n in range": str(inside[row.feature].n),
                "R2 in range": _shown(inside[row.feature].r2_identity, 2),
                "mean absolute error in range": number(inside[row.feature].mae, DIGITS[row.unit]),
            }
            for row in part[part.requests == ALL].itertuples()
        ]

    return _parts(table, rows)


def control_notes(table: pd.DataFrame, simulated: bool) -> list[str]:
    """What the numbers of the control table are."""
    first = table.iloc[0]
    n, confidence = int(first.n_requests), float(first.confidence)
    empty = [
        f"{row.system} at n_real = {row.n_real}: {row.n_empty} of {row.n_requests}"
        for row in table[(table.feature == table.feature.iloc[0]) & (table.requests == ALL)].itertuples()
        if row.n_empty
    ]
    notes = [
        f"Requests: the tumours of {n} {'simulated' if simulated else 'real'} held-out patients (validation and test, "
        "the first time point of each), all features of a tumour at once, one volume drawn for each. They serve this "
        "evaluation alone: no generator has learned from them, and no draw was refused by the quality gate.",
        "R2 (identity): the coefficient of determination against the identity line, 1 - SSE/SST of measured against "
        "requested values: 1 is perfect, 0 no better than the same tumour for every request, below 0 worse. Squared "
        "correlation: of requested and measured values, whatever the scale and the offset between them.",
        "Mean error: measured minus requested. Distance of the centres: between the requested and the measured one.",
        f"In brackets the {confidence:.0%} bootstrap interval (expanded percentile, {int(first.bootstrap_samples)} "
        "resamples of requests); it holds for this trained generator.",
        "In range: the requests whose value of that feature lies between the smallest and the largest of the "
        "generator's training tumours; the others ask for what it has never seen.",
        "Measured on the mask cut to the foreground. An empty mask counts as 0 ml, 0 mm2 and a box of 0 mm; it "
        f"has no other feature, so n is smaller there. Empty masks: {'; '.join(empty) or 'none'}.",
    ]
    if best_coverage(n) < confidence:
        notes.append(
            f"With {n} requests no bootstrap interval can cover more than {best_coverage(n):.0%}: read the brackets as "
            "a range, not as evidence."
        )
    return notes


def _make(files: Mapping[str, list[Path]], settings: dict) -> pd.DataFrame:
    for file in files["control"]:
        if read_tsv(file).empty:
            raise UserError(f"{file} holds no request: run `snakemake -R evaluate_control`")
    intervals = (settings["tables"][key] for key in ("bootstrap_samples", "confidence", "seed"))
    return without_gaps(control_summary(read_together(files["control"]), *intervals))


TABLE = Table("Control of the generators", _make, lambda table, settings: readable_control(table), control_notes)
