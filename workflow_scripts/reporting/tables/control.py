"""The tables of control and masks: what a generator makes of a request, and how its masks differ from real ones."""

from __future__ import annotations

import math

import pandas as pd

from ...evaluation.agreement import ALL, CENTRE_DISTANCE, INSIDE
from ...evaluation.mask_shapes import ALL_FEATURES, KS
from ...evaluation.statistics.bootstrap import best_coverage
from .cells import number

UNDEFINED = "not defined"
FEATURE_NAMES = {
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
    "tumor_core_fraction": "tumour core, fraction",
    "enhancing_tumor_fraction": "enhancing tumour, fraction",
    ALL_FEATURES: ALL_FEATURES,
}
_DIGITS = {"ml": 1, "mm": 1, "mm2": 0, "fraction": 3}
_LEAST_R2 = -100.0  # an R2 has no lower limit, and below this its digits say nothing


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
    if isinstance(low, str):
        return _shown(value, digits)
    return f"{_shown(value, digits)} [{_shown(low, digits)}, {_shown(high, digits)}]"


def _shown(value: object, digits: int) -> str:
    return number(value, digits) if isinstance(value, str) or value >= _LEAST_R2 else f"< {_LEAST_R2:.0f}"


def readable_control(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Requested against measured, a part an n_real and system. `table` as of `without_gaps(control_summary(...))`."""

    def rows(part: pd.DataFrame) -> list[dict]:
        inside = {row.feature: row for row in part[part.requests == INSIDE].itertuples()}
        shown = []
        for row in part[part.requests == ALL].itertuples():
            digits, within = _DIGITS[row.unit], inside[row.feature]
            shown.append(
                {
                    "feature": FEATURE_NAMES[row.feature],
                    "n": str(row.n),
                    "R2 (identity)": _with_interval(row, "r2_identity", 2),
                    "squared correlation": _with_interval(row, "r2_correlation", 2),
                    "mean absolute error": _with_interval(row, "mae", digits),
                    "mean error": number(row.bias, digits, signed=True),
                    "n in range": str(within.n),
                    "R2 in range": _shown(within.r2_identity, 2),
                    "mean absolute error in range": number(within.mae, digits),
                }
            )
        return shown

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


def readable_validity(table: pd.DataFrame) -> pd.DataFrame:
    """Ungated draws of every system beside the held-out masks. `table`: rows of masks.tsv, without gaps."""
    own = table[table.comparison == "ungated"]
    rows, seen = [], set()
    for (n_real, system), part in own.groupby(["n_real", "system"], sort=False):
        found = {row.feature: row for row in part.itertuples()}
        if not seen:
            rows.append(_validity_row("", "held-out patients", found, "n_reference", "reference_"))
        seen.add((n_real, system))
        rows.append(_validity_row(str(n_real), system, found, "n", ""))
    return pd.DataFrame(rows)


def _validity_row(n_real: str, name: str, found: dict, count: str, prefix: str) -> dict:
    def percent(feature: str, digits: int = 1) -> str:
        value = getattr(found[feature], f"{prefix}mean")
        return value if isinstance(value, str) else f"{100 * value:.{digits}f} %"

    return {
        "masks of": name,
        "real patients": n_real,
        "n": str(getattr(found["empty"], count)),
        "empty": percent("empty"),
        "pieces": number(getattr(found["pieces"], f"{prefix}mean"), 1),
        "in the largest piece": percent("largest_piece_fraction"),
        "outside the foreground": percent("outside_foreground_fraction"),
        "not nested": percent("unnested_fraction", 2),
    }


def readable_shapes(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Shapes of synthetic and real masks, a part an n_real, system and reference. `table`: as `readable_validity`."""
    parts = []
    tested = table[table.comparison != "ungated"]
    for (n_real, system, reference), part in tested.groupby(["n_real", "system", "reference"], sort=False):
        floor = {row.feature: row for row in part[part.comparison == "floor"].itertuples()}
        rows = []
        for row in part[part.comparison == "synthetic"].itertuples():
            base = floor[row.feature]
            digits = _DIGITS.get(_unit(row.feature), 2)
            spread = row.method == KS
            rows.append(
                {
                    "feature": FEATURE_NAMES[row.feature],
                    "synthetic": _mean_and_sd(row.mean, row.sd, digits) if spread else "",
                    reference: _mean_and_sd(row.reference_mean, row.reference_sd, digits) if spread else "",
                    "distance": number(row.statistic, 3),
                    "p": _p(row.p),
                    "p (Holm)": _p(row.p_holm) if spread else "",
                    "floor: distance": number(base.statistic, 3),
                    "floor: p (Holm)": _p(base.p_holm) if spread else f"{_p(base.p)} (one test)",
                    "n": f"{row.n}, {base.n} against {row.n_reference}",
                }
            )
        parts.append((f"{system} with {n_real} real training patients against {reference}", pd.DataFrame(rows)))
    return parts


def _unit(feature: str) -> str:
    return FEATURE_NAMES[feature].rpartition(", ")[2] if "," in FEATURE_NAMES[feature] else "fraction"


def _mean_and_sd(mean: object, sd: object, digits: int) -> str:
    return f"{number(mean, digits)} ± {number(sd, digits)}"


def _p(value: object) -> str:
    if isinstance(value, str):
        return value
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def mask_notes(table: pd.DataFrame, simulated: bool) -> list[str]:
    """What the numbers of the mask tables are."""
    permutations = int(table.permutations.iloc[0])
    kind = "simulated" if simulated else "real"
    notes = [
        "Validity: the ungated draws of the control table, as decoded, before the cut to the foreground; means over "
        'the masks that are not empty. "Not nested": voxels that an inner region had and an outer one lacked, which '
        "decoding takes away; in what is written, regions are nested by construction.",
        f"Shapes: the first n_real synthetic cases, which passed the quality gate, against {kind} held-out patients "
        f"(validation and test). Floor: the {kind} training patients against the same: what other masks of the "
        "same cohort reach. Mean ± standard deviation over masks.",
        "A feature: two-sample Kolmogorov-Smirnov test; the distance is the largest between the two distribution "
        "functions, 0 to 1; p is two-sided, Holm's correction is over the features. All features: squared energy "
        f"distance in pooled standard deviations, {permutations} permutations, one test.",
        'n: "synthetic, training against reference". A large p is no evidence that two distributions agree: few masks '
        "show large differences alone.",
    ]
    if (table.reference == "mask folder").any():
        notes.append(
            "Mask folder: real masks without images (evaluation.masks.reference_root), one a patient, patients that "
            "train a generator left out, brought to the spacing of the synthetic masks; without images a tumour has "
            "no place in the foreground, so its centre is not compared."
        )
    return notes
