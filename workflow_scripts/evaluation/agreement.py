"""How well a generator does what it is asked: requested against measured tumour features."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..base.errors import UserError
from ..base.seeds import numpy_rng
from .statistics.bootstrap import case_weights, interval_of

CENTRE_DISTANCE = "centroid_distance_mm"
"""Added to the features: how far the tumour's centre lies from the requested one."""

ALL, INSIDE = "all", "inside the training range"
UNITS = {"_ml": "ml", "_mm": "mm", "_mm2": "mm2", "_fraction": "fraction", "sphericity": "fraction"}
_CENTRE = ("centroid_x_mm", "centroid_y_mm", "centroid_z_mm")
_COLUMNS = ("n_real", "system", "case_id", "empty", "out_of_range_note")


def unit_of(feature: str) -> str:
    """The unit that a feature's name ends in."""
    return next(unit for ending, unit in UNITS.items() if feature.endswith(ending))


def agreement(
    requested: np.ndarray, measured: np.ndarray, samples: int, confidence: float, rng: np.random.Generator
) -> dict[str, float | int | None]:
    """Agreement of one feature over the requests, with bootstrap intervals over them.

    requested, measured : (n,), finite, same unit
    samples, confidence : of the bootstrap; see `statistics.expanded_tail`

    Returns ``n``; ``r2_identity``, the coefficient of determination against the identity line, 1 - SSE/SST with SSE the
    sum of (measured - requested)^2 and SST that of (requested - mean requested)^2: 1 is perfect, 0 is no better
    than always making the requests' mean, and it has no lower limit; ``r2_correlation``, the squared Pearson
    correlation, which forgives any scale and offset; ``mae``, the mean absolute error, and ``bias``, the mean
    error, both in the feature's unit. Each but the bias with ``_low`` and ``_high``. None: not defined, as where
    all requests are equal, or with fewer than two (intervals: three) requests.
    """
    requested, measured = np.asarray(requested, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if requested.shape != measured.shape or requested.ndim != 1:
        raise ValueError(f"pairs of requested and measured values expected: {requested.shape}, {measured.shape}")
    if not (np.isfinite(requested).all() and np.isfinite(measured).all()):
        raise ValueError("requested and measured values must be finite")
    n = len(requested)
    found: dict[str, float | int | None] = {"n": n}
    names = ("r2_identity", "r2_correlation", "mae")
    if n == 0:
        blank = dict.fromkeys(key for name in names for key in (name, f"{name}_low", f"{name}_high"))
        return found | blank | {"bias": None}
    values = _statistics(np.ones((1, n)), requested, measured)
    resampled = _statistics(case_weights(n, samples, rng), requested, measured) if n > 2 else {}
    for name in names:
        value = float(values[name][0])
        interval = interval_of(resampled[name], n, confidence) if resampled and np.isfinite(value) else None
        low, high = interval or (None, None)
        found |= {name: value if np.isfinite(value) else None, f"{name}_low": low, f"{name}_high": high}
    return found | {"bias": float((measured - requested).mean())}


def _statistics(weights: np.ndarray, requested: np.ndarray, measured: np.ndarray) -> dict[str, np.ndarray]:
    """Each statistic for rows of weights (samples, n), how often each request counts; NaN where not defined."""
    weights = weights / weights.sum(axis=1, keepdims=True)
    r, m = requested - requested.mean(), measured - requested.mean()  # smaller numbers: sums of squares keep digits
    mean_r, mean_m = weights @ r, weights @ m
    var_r, var_m = weights @ r**2 - mean_r**2, weights @ m**2 - mean_m**2
    covariance = weights @ (r * m) - mean_r * mean_m
    least = 1e-12 * max(float(np.abs(requested).max()), float(np.abs(measured).max()), 1e-300) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        identity = 1.0 - (weights @ (m - r) ** 2) / var_r
        correlation = covariance**2 / (var_r * var_m)
    return {
        "r2_identity": np.where(var_r > least, identity, np.nan),
        "r2_correlation": np.where((var_r > least) & (var_m > least), correlation, np.nan),
        "mae": weights @ np.abs(m - r),
    }


def read_features(table: pd.DataFrame) -> list[str]:
    """The features of a control table. Raises UserError where a column is missing."""
    features = [name.removeprefix("requested_") for name in table.columns if name.startswith("requested_")]
    missing = [name for name in _COLUMNS if name not in table.columns]
    missing += [f"measured_{name}" for name in features if f"measured_{name}" not in table.columns]
    if missing or not features:
        raise UserError(
            f"control.tsv lacks the columns {', '.join(missing or ['requested_...'])}: run `snakemake -R evaluate_control`"
        )
    return features


def control_summary(table: pd.DataFrame, samples: int, confidence: float, seed: int) -> pd.DataFrame:
    """A row a system, feature, and kind of requests: `ALL`, and `INSIDE` the training range of that feature.

    table : rows of control.tsv of all systems
    samples, confidence, seed : of the bootstrap over requests; a feature has the same resamples in every system

    Raises UserError where a column is missing or a table holds no request.
    """
    features = read_features(table)
    if table.empty:
        raise UserError("control.tsv holds no request: run `snakemake -R evaluate_control`")
    rows = []
    for (n_real, system), part in table.groupby(["n_real", "system"], sort=False):
        outside = [set(note.split(", ")) for note in part.out_of_range_note]
        for feature, wanted, made, names in _pairs(part, features):
            seen = np.array([not names & away for away in outside])
            measured = np.isfinite(made)
            for kind, chosen in ((ALL, measured), (INSIDE, measured & seen)):
                rng = numpy_rng(seed, "bootstrap over requests", feature, kind)
                found = agreement(wanted[chosen], made[chosen], samples, confidence, rng)
                if feature == CENTRE_DISTANCE:  # a length has no sign: nothing to correlate
                    found |= {key: None for key in found if key.startswith("r2_") or key == "bias"}
                front = {"n_real": n_real, "system": system, "feature": feature, "unit": unit_of(feature)}
                counts = {"requests": kind, "n_requests": len(part), "n_empty": int(part["empty"].sum())}
                rows.append(front | counts | found | {"confidence": confidence, "bootstrap_samples": samples})
    return pd.DataFrame(rows)


def _pairs(part: pd.DataFrame, features: Sequence[str]):
    """(feature, requested (n,), measured (n,), NaN where there is none, features that it is made of)."""
    columns = {name: part[name].to_numpy(dtype=np.float64) for name in part.columns if name.startswith(("req", "mea"))}
    for feature in features:
        yield feature, columns[f"requested_{feature}"], columns[f"measured_{feature}"], {feature}
        if feature == _CENTRE[-1] and set(_CENTRE) <= set(features):
            offsets = [columns[f"measured_{name}"] - columns[f"requested_{name}"] for name in _CENTRE]
            distance = np.sqrt(np.square(offsets).sum(axis=0))
            yield CENTRE_DISTANCE, np.zeros(len(part)), distance, set(_CENTRE)
