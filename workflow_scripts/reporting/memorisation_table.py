"""The memorisation table: how many synthetic cases are copies of training cases, by which thresholds."""

from __future__ import annotations

import pandas as pd

from ..base.errors import UserError
from ..evaluation.conformal import share_interval
from .tables import number

TITLE = "Memorisation"
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


def _beside(row: dict, name: str) -> str:
    return f"{number(row[f'synthetic_{name}'], 2)} ({number(row[f'held_out_{name}'], 2)})"


def readable_memorisation(table: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: a row a system, n_real, measure and origin of the thresholds."""
    rows = []
    for row in table.to_dict("records"):
        rows.append(
            {
                "system": row["system"],
                "real patients": str(row["n_real"]),
                "nearest by": _MEASURE[row["measure"]],
                "thresholds from": f"{row['n_threshold_patients']} {_ORIGIN[row['thresholds_from']]}",
                "copies": _share(row),
                "expected at most": f"{100 * row['false_positive_rate']:.0f} %",
                "threshold": number(row["similarity_threshold"], 2),
                "margin threshold": number(row["margin_threshold"], 2),
                "near alone": str(row["synthetic_above_similarity"]),
                "similarity (held-out)": _beside(row, "median_similarity"),
                "tumour Dice (held-out)": _beside(row, "median_mask_dice"),
            }
        )
    return pd.DataFrame(rows)


def memorisation_notes(table: pd.DataFrame) -> list[str]:
    """What the numbers are, what the gate did, and a warning where copies are released."""
    first = table.iloc[0]
    notes = _warnings(table)
    notes += [
        "Copy: a synthetic case that is nearer to its nearest training case than real patients are to theirs "
        "(similarity), and whose nearest training case stands out from the other training patients more than theirs "
        "does (margin: Fisher's z of the similarity, less the median over the other patients). Similarity alone would "
        'call blurred average brains copies; "near alone" counts the cases above that threshold.',
        "Aligned images: correlation over the brain on a coarse grid, mean over modalities, at the best of both sides "
        "and all small shifts. Image features: cosine similarity of the pooled features of an ImageNet network, of "
        "the training case or its mirror image.",
        "Thresholds from held-out patients (validation and test) are the yardstick; those from training patients, "
        "each against the others, are what the release gate may know. Expected at most: the share that real patients "
        "would have; m patients cannot promise less than 1/(m+1).",
        f"Brackets: {float(first.confidence):.0%} interval of the share (Clopper-Pearson), for these thresholds; that the "
        "thresholds come from few patients is not in it. Similarity, tumour Dice (of the whole tumour, likewise "
        "aligned): medians, to the nearest training case.",
    ]
    gate = table[(table.measure == "image") & (table.thresholds_from == "train")]
    for row in gate.itertuples():
        notes.append(
            f"{row.system}, {row.n_real} patients: the gate's own thresholds take {int(row.held_out_above)} of "
            f"{row.n_held_out} held-out real cases for copies"
            + (
                f"; it refused {row.draws_refused} draws."
                if row.action == "refuse"
                else "; it was not asked to refuse."
            )
        )
    return notes


def _warnings(table: pd.DataFrame) -> list[str]:
    """A sentence for each system of which copies are released, unless the user asked for the audit alone."""
    own = table[(table.measure == "image") & (table.thresholds_from == "held_out") & (table.action != "audit")]
    return [
        f"WARNING: {row.copies} of {row.n_synthetic} synthetic cases of {row.system} ({row.n_real} real patients) are "
        "copies of training cases by the yardstick; memorisation.tsv names them."
        for row in own.itertuples()
        if row.copies
    ]
