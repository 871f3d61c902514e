"""The table of masks: how those of a generator differ from real ones."""

import pandas as pd

from ...evaluation.mask_shapes import KS
from .cells import number
from .control import DIGITS, feature_name, without_gaps
from .text import Table, read_together


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
            digits = DIGITS.get(_unit(row.feature), 2)
            spread = row.method == KS
            rows.append(
                {
                    "feature": feature_name(row.feature),
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
    return feature_name(feature).rpartition(", ")[2] if "," in feature_name(feature) else "fraction"


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
        "Validity: the ungated draws of the control table, as decoded, before the cut to the foreground, and of external "
        "systems all cases that could be read; means over "
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


TABLE = Table(
    "Tumour masks of the generators",
    lambda files, settings: without_gaps(read_together(files["masks"])),
    lambda table, settings: [("Validity", readable_validity(table)), *readable_shapes(table)],
    mask_notes,
)
