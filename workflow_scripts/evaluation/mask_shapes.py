"""Tumour masks of a generator against those of real patients: are they valid, and are they of the same shapes?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..base.errors import UserError
from ..base.seeds import numpy_rng
from .mask_validity import VALIDITY
from .statistics.significance import holm
from .statistics.two_sample import energy_test, kolmogorov_smirnov

ALL_FEATURES = "all features"
KS, ENERGY, NO_TEST = "Kolmogorov-Smirnov", "energy distance, permutations", "none"
LEAST = 2  # masks on either side: with fewer there is nothing to test


def shape_rows(
    masks: pd.DataFrame, reference: pd.DataFrame, features: Sequence[str], permutations: int, rng_keys: tuple
) -> list[dict]:
    """Tests of one sample of masks against a reference: a row a feature, then one over all of them.

    masks, reference : a row a mask, a column a feature; no entry missing
    permutations : of the test over all features
    rng_keys : seed and words that the permutations depend on

    Returns rows: feature, method, statistic, p, p_holm (over the features; empty for the test over all), n,
    n_reference, mean, sd, reference_mean, reference_sd. With fewer than `LEAST` masks on a side the tests are left out:
    None.
    """
    rows = []
    enough = min(len(masks), len(reference)) >= LEAST
    for feature in features:
        one, other = masks[feature].to_numpy(np.float64), reference[feature].to_numpy(np.float64)
        statistic, p = kolmogorov_smirnov(one, other) if enough else (None, None)
        rows.append({"feature": feature, "method": KS, "statistic": statistic, "p": p, **_moments(one, other)})
    adjusted = holm([row["p"] for row in rows]) if enough else [None] * len(rows)
    for row, p in zip(rows, adjusted, strict=True):
        row["p_holm"] = p
    statistic = p = None
    if enough:
        samples = (table[list(features)].to_numpy(np.float64) for table in (masks, reference))
        statistic, p = energy_test(*samples, permutations, numpy_rng(*rng_keys))
    counts = {"n": len(masks), "n_reference": len(reference)}
    return [*rows, {"feature": ALL_FEATURES, "method": ENERGY, "statistic": statistic, "p": p, **counts}]


def validity_rows(masks: pd.DataFrame, reference: pd.DataFrame) -> list[dict]:
    """A row a property of `VALIDITY`, in the form of `shape_rows`, without a test.

    All but ``empty`` are over the masks that are not empty. Raises UserError where a column is missing.
    """
    for table in (masks, reference):
        if missing := [name for name in VALIDITY if name not in table.columns]:
            raise UserError(f"a table of masks lacks {', '.join(missing)}: run `snakemake -R measure_held_out`")
    rows = []
    for name in VALIDITY:
        tables = (table if name == "empty" else table[table["empty"] == 0] for table in (masks, reference))
        one, other = (table[name].to_numpy(np.float64) for table in tables)
        rows.append({"feature": name, "method": NO_TEST, **_moments(one, other)})
    return rows


def _moments(one: np.ndarray, other: np.ndarray) -> dict:
    """Sizes, means and standard deviations of two samples; None where there are too few."""
    found = {"n": len(one), "n_reference": len(other)}
    for prefix, values in (("", one), ("reference_", other)):
        found[f"{prefix}mean"] = float(values.mean()) if len(values) else None
        found[f"{prefix}sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
    return found
