"""The memorisation audit: of each case its nearest training case by image, by features and by tumour; and their sum.

Thresholds come from real cases twice: from those held out, which is the yardstick, and from the training cases among
themselves, which is what the release gate may know.
"""

import os
from collections.abc import Mapping

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..base.errors import UserError
from ..memorisation.likeness import coarse_mask
from ..memorisation.reference import Limits, Reference, limits_of, nearest


def audit_row(
    reference: Reference,
    train_features: np.ndarray,
    case_id: str,
    image: np.ndarray,
    levels: np.ndarray,
    features: np.ndarray,
    left_out: str | None = None,
) -> dict:
    """A row of the audit's table.

    train_features : (n, 2, F), each training case as it is and mirrored
    image, levels, features : (M, D, H, W) in [-1, 1], (D, H, W) and (F,) of the case, or of what `reference.view` shows
    left_out : a patient who does not count, as in `memorisation.nearest`
    """
    by_image, pose = reference.nearest_image(reference.coarse_image(image), left_out)
    by_features = nearest((train_features @ features).max(axis=1), reference.patient_ids, left_out)
    by_mask = reference.nearest_mask(coarse_mask(levels, reference.description["blocks"]), left_out)
    names = reference.case_ids
    shift_mm = [step * edge for step, edge in zip(pose.shift, reference.coarse_spacing_mm, strict=True)]
    return {
        "case_id": case_id,
        "nearest_train_id": names[by_image.index],
        "similarity": round(by_image.similarity, 6),
        "margin": round(by_image.margin, 6),
        "flipped": pose.flipped,
        **{f"shift_{axis}_mm": value for axis, value in zip("zyx", shift_mm, strict=True)},
        "feature_nearest_train_id": names[by_features.index],
        "feature_similarity": round(by_features.similarity, 6),
        "feature_margin": round(by_features.margin, 6),
        "mask_nearest_train_id": names[by_mask.index],
        "mask_dice": round(by_mask.similarity, 6),
    }


def read_features(path: str | os.PathLike) -> np.ndarray:
    """The training cases' features (n, 2, F), as they are and mirrored. Raises UserError for a damaged file."""
    try:
        return load_file(path)["features"]
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path} holds no features ({error}): run `snakemake -R calibrate_memorisation`") from None


MEASURES = {"image": "", "features": "feature_"}  # and the prefix of their columns
ORIGINS = ("held_out", "train")


def limits_from(real: pd.DataFrame, false_positive_rate: float) -> dict[tuple[str, str], Limits]:
    """Thresholds by (origin, measure), from rows of `audit_row` of real cases with ``group`` and ``patient_id``."""
    found = {}
    for origin in ORIGINS:
        own = real[real.group == origin]
        for measure, prefix in MEASURES.items():
            columns = (own[f"{prefix}{name}"] for name in ("similarity", "margin"))
            found[origin, measure] = limits_of(own.patient_id, *columns, false_positive_rate)
    return found


def judged(table: pd.DataFrame, limits: Mapping[tuple[str, str], Limits]) -> pd.DataFrame:
    """The rows with what the thresholds say: ``is_copy`` and ``feature_is_copy`` by those of held-out cases,
    ``gate_refuses`` by those of the training cases."""
    columns = {
        "is_copy": ("held_out", "image"),
        "feature_is_copy": ("held_out", "features"),
        "gate_refuses": ("train", "image"),
    }
    return table.assign(**{name: _copies(table, key, limits[key]) for name, key in columns.items()})


def _copies(table: pd.DataFrame, key: tuple[str, str], limits: Limits) -> list[bool]:
    return [limits.exceeded(margin) for margin in table[f"{MEASURES[key[1]]}margin"]]


def summary_rows(table: pd.DataFrame, limits: Mapping[tuple[str, str], Limits]) -> list[dict]:
    """A row an origin of thresholds and a measure.

    ``copies`` of ``n_synthetic``; ``held_out_above``, how many of ``n_held_out`` real cases exceed the threshold of
    the training cases (the gate's own error; empty for the threshold that comes from these cases);
    ``control_caught`` of ``n_control`` training cases that were passed through the autoencoder; and
    ``synthetic_above_similarity``, how many are nearer than the real cases' similarity threshold, copies or not.
    """
    groups = {name: table[table.group == name] for name in ("synthetic", "held_out", "control")}
    synthetic, held_out, control = groups.values()
    rows = []
    for (origin, measure), limit in limits.items():
        prefix = MEASURES[measure]
        above = {name: sum(_copies(rows_of, (origin, measure), limit)) for name, rows_of in groups.items()}
        rows.append(
            {
                "thresholds_from": origin,
                "measure": measure,
                "n_synthetic": len(synthetic),
                "copies": above["synthetic"],
                "n_held_out": len(held_out),
                "held_out_above": above["held_out"] if origin == "train" else None,
                "n_control": len(control),
                "control_caught": above["control"],
                "n_threshold_patients": limit.margin.n,
                "false_positive_rate": round(limit.margin.false_positive_rate, 6),
                "margin_threshold": limit.margin.value,
                "similarity_threshold": limit.similarity.value,
                "synthetic_median_similarity": synthetic[f"{prefix}similarity"].median(),
                "synthetic_largest_similarity": synthetic[f"{prefix}similarity"].max(),
                "held_out_median_similarity": held_out[f"{prefix}similarity"].median(),
                "held_out_largest_similarity": held_out[f"{prefix}similarity"].max(),
                "synthetic_above_similarity": int((synthetic[f"{prefix}similarity"] > limit.similarity.value).sum()),
                "synthetic_median_mask_dice": synthetic.mask_dice.median(),
                "held_out_median_mask_dice": held_out.mask_dice.median(),
            }
        )
    return rows
