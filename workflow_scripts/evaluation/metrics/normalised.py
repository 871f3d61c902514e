"""What a segmenter sees of two sets of cases (`evaluation.normalised`): mean z-scores by place, and foreground volumes."""

from collections.abc import Iterator

import numpy as np

from ..normalised import COLUMN
from ..statistics.bootstrap import bootstrap_interval
from . import Metric, Whole, of_sets, row

_Z = COLUMN.partition("{")[0]


@of_sets(
    Metric("normalised_mean", "mean z-score", "near real", 2, place=10, of_one_set=True),
    Metric("foreground_volume_ml", "foreground, ml", "near real", 0, place=11, of_one_set=True),
)
def normalised(whole: Whole) -> Iterator[dict]:
    """Means over cases; a place that no case of one of the sets has is left out."""
    shared = [name for name in whole.cases["synthetic"] if name in whole.cases["real"]]
    for column in [name for name in shared if name.startswith(_Z)] + ["foreground_volume_ml"] * (
        "foreground_volume_ml" in shared
    ):
        found = {name: table[column].to_numpy(dtype=float) for name, table in whole.cases.items()}
        found = {name: values[np.isfinite(values)] for name, values in found.items()}
        if not all(map(len, found.values())):
            continue
        metric, about = "foreground_volume_ml", ("volume", "all")
        if column.startswith(_Z):
            place, _, modality = column.removeprefix(_Z).partition(":")
            metric, about = "normalised_mean", (place, modality)
        for name, values in found.items():
            rng = whole.settings.rng(metric, *about)
            spread = (np.arange(len(values)), whole.settings.samples, whole.settings.confidence, rng)
            counts = {"n_cases": len(values), "n_samples": len(values)}
            yield row(
                metric, *about, name, float(values.mean()), bootstrap_interval(values[:, None], *spread), **counts
            )
