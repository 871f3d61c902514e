"""The memorisation table: how many synthetic cases are copies of training cases, by which thresholds."""

import pandas as pd

from ...base.errors import UserError
from ...evaluation.statistics.bootstrap import share_interval
from .cells import number
from .text import Table, read_together

_MEASURE = {"image": "aligned images", "features": "image features"}
_ORIGIN = {"held_out": "held-out patients", "train": "training patients"}


def memorisation_table(summary: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """The rows of memorisation_summary.tsv of all systems, with the share of copies and its interval.

    Raises UserError where a row counts no synthetic case.
    """
    if summary.empty or (summary.n_synthetic < 1).any():
        raise UserError("a memorisation summary counts no synthetic case: run `snakemake -R audit_memorisation`")
    table = summary.copy()
    pairs = list(zip(table.copies, table.n_synthetic, strict=True))
    bounds = [share_interval(int(count), int(total), confidence) for count, total in pairs]
    place = list(table.columns).index("copies") + 1
    table.insert(place, "share", [count / total for count, total in pairs])
    table.insert(place + 1, "share_low", [low for low, _ in bounds])
    table.insert(place + 2, "share_high", [high for _, high in bounds])
    table["confidence"] = confidence
    rounded = table.map(lambda value: round(value, 6) if isinstance(value, float) else value).astype(object)
    return rounded.where(rounded.notna(), "")


def _share(row: dict) -> str:
    low, high = 100 * row["share_low"], 100 * row["share_high"]
    return f"{row['copies']} of {row['n_synthetic']} ({100 * row['share']:.0f} %) [{low:.0f}, {high:.0f}]"


def _control(row: dict) -> str:
    return f"{row['control_caught']} of {row['n_control']}" if row["n_control"] else "none"


def _beside(row: dict, name: str) -> str:
    return f"{number(row[f'synthetic_{name}'], 2)} ({number(row[f'held_out_{name}'], 2)})"


def readable_memorisation(table: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: a row a system, n_real, measure and origin of the thresholds."""
    return pd.DataFrame(
        {
            "system": row["system"],
            "real patients": str(row["n_real"]),
            "compared": row["compared"],
            "nearest by": _MEASURE[row["measure"]],
            "thresholds from": f"{row['n_threshold_patients']} {_ORIGIN[row['thresholds_from']]}",
            "copies": _share(row),
            "expected at most": f"{100 * row['false_positive_rate']:.0f} %",
            "threshold": number(row["margin_threshold"], 2),
            "control caught": _control(row),
            "nearer": f"{row['synthetic_above_similarity']} of {row['n_synthetic']}",
            "similarity (held-out)": _beside(row, "median_similarity"),
            "tumour Dice (held-out)": _beside(row, "median_mask_dice"),
        }
        for row in table.to_dict("records")
    )


def memorisation_notes(table: pd.DataFrame) -> list[str]:
    """What the numbers are, and what the gate did."""
    first = table.iloc[0]
    notes = [
        "Copy: a synthetic case whose nearest training case stands out from the other training patients by more than a "
        "real case's does. The margin is Fisher's z of the similarity, less the median over the other patients. "
        '"nearer": cases with a larger similarity than real cases reach, copies or not; blurred averages of cases are '
        "such cases too, and point to no patient.",
        "Aligned images: correlation of foregrounds on a coarse grid, mean over modalities, at the best of both sides "
        "and all small shifts. Image features: cosine similarity of the pooled features of EfficientNet-Lite0 "
        "(ImageNet), of the training case or its mirror image.",
        "Thresholds from held-out patients (validation and test) are the yardstick; those from training patients, "
        "each against the others, are what the release gate may know; it looks at aligned images alone, and refuses no "
        "case for its features. Expected at most: the share that real patients "
        "would have; m patients cannot promise less than 1/(m+1).",
        "Compared: whole cases, or, of a system that puts tumours into training patients, whose healthy tissue its cases "
        "share on purpose, the tumours alone, each with its surroundings in the middle of the grid, with the tumours of "
        "training cases likewise. Where those tumours are a training patient's on purpose, too, the gate refuses none for it.",
        "Control: training cases decoded from their own latents, as a generator that copies them would make them. What "
        "the audit does not catch of these it would not catch of copies. A system in voxel space has no such control.",
        f"Brackets: {float(first.confidence):.0%} interval of the share (Clopper-Pearson), for these thresholds; that the "
        "thresholds come from few patients is not in it. Similarity, tumour Dice (of the whole tumour, likewise "
        "aligned): medians, to the nearest training case.",
    ]
    return notes + _gate_notes(table) + _power_notes(table)


def _gate_notes(table: pd.DataFrame) -> list[str]:
    """For each n_real what the release gate takes for copies among held-out real cases, and what it refused."""
    notes = []
    of_gate = table[(table.measure == "image") & (table.thresholds_from == "train")]
    for (n_real, compared), rows in of_gate.groupby(["n_real", "compared"]):
        row = rows.iloc[0]
        refused = ", ".join(f"{system} {count}" for system, count in zip(rows.system, rows.draws_refused, strict=True))
        notes.append(
            f"{n_real} patients, {compared}: the release gate's threshold takes {int(row.held_out_above)} of "
            f"{row.n_held_out} held-out ones for copies. "
            + (f"Draws it refused: {refused}." if row.action == "refuse" else "It was not asked to refuse.")
        )
    return notes


def _power_notes(table: pd.DataFrame) -> list[str]:
    """A sentence for each system of whose copies the audit would miss most."""
    own = table[(table.measure == "image") & (table.thresholds_from == "held_out") & (table.n_control > 0)]
    return [
        f"{row.system}, {row.n_real} patients: the audit catches {row.control_caught} of {row.n_control} controls, so that "
        "few copies found say little: this autoencoder gives its cases back too blurred to be told apart."
        for row in own.itertuples()
        if row.control_caught < row.n_control / 2
    ]


def memorisation_warnings(table: pd.DataFrame) -> list[str]:
    """Sentences for each system of which copies are released, unless the user asked for the audit alone."""
    own = table[(table.thresholds_from == "held_out") & (table.action != "audit") & (table.copies > 0)]
    return [
        f"WARNING: {row.copies} of {row.n_synthetic} synthetic cases of {row.system} ({row.n_real} real patients) are "
        f"copies of training cases by {_MEASURE[row.measure]} and the yardstick; memorisation.tsv names them"
        + ("." if row.measure == "image" else " (feature_is_copy). The release gate does not look at features.")
        for row in own.itertuples()
    ]


TABLE = Table(
    "Memorisation",
    lambda files, settings: memorisation_table(read_together(files["summaries"]), settings["confidence"]),
    lambda table, settings: [("Nearest training cases", readable_memorisation(table))],
    lambda table, simulated: memorisation_warnings(table) + memorisation_notes(table),
    text_columns=4,
)
