"""KID and MMD over cases (`evaluation.kernel_distances`), with intervals over cases."""

from collections.abc import Iterator

import numpy as np

from ..kernel_distances import gaussian_kernel, median_distance, polynomial_kernel, squared_mmd
from . import Metric, Pair, of_pairs

DISTANCES = "distances by plane and modality"


@of_pairs(
    Metric("kid", "KID", "lower", 4, place=2, heading=DISTANCES),
    Metric("mmd", "MMD squared", "lower", 3, place=3, heading=DISTANCES),
)
def kernel_distances(pair: Pair) -> Iterator[dict]:
    """Without MMD where all reference cases are equal."""
    reference = pair.place("reference")
    bandwidth = median_distance(pair.squared[reference, reference]) if pair.n > 1 else 0.0
    both = np.r_[reference, pair.place(pair.name)]
    chosen = np.ix_(both, both)
    kernels = {"kid": (polynomial_kernel(pair.group.gram[chosen], pair.group.dimension), "")}
    if bandwidth > 0:
        note = f"Gaussian kernel, bandwidth {bandwidth:.4g}: median distance of reference cases"
        kernels["mmd"] = (gaussian_kernel(pair.squared[chosen], bandwidth), note)
    settings = pair.settings
    for metric, (kernel, note) in kernels.items():
        found = squared_mmd(kernel, pair.n, settings.samples, settings.confidence, pair.rng(metric))
        if found:
            yield pair.over_cases(metric, found.value, found.interval, note)
