"""FID: Fréchet distance of the slices of all cases (`evaluation.frechet`), with an interval from leaving out groups of cases.

A bootstrap over cases would need each case's own scatter (F^2: 13 MB a case). The interval holds what other cases would
change, not the bias of few slices, which the floor shows.
"""

from collections.abc import Iterator

from ..frechet import frechet_distance, left_out_distances, merged
from ..statistics.jackknife import normal_interval, standard_error
from . import Metric, Pair, of_pairs

DISTANCES = "distances by plane and modality"


@of_pairs(Metric("fid", "FID", "lower", 1, place=1, heading=DISTANCES, samples="slice images"))
def fid(pair: Pair) -> Iterator[dict]:
    """Over the slices that were drawn of each set."""
    parts = (pair.group.gaussians[pair.name], pair.group.gaussians["reference"])
    whole = [merged(of_set) for of_set in parts]
    value = frechet_distance(*whole)
    error = standard_error(value, left_out_distances(*parts), pair.n)
    interval = normal_interval(value, error, pair.settings.confidence, lowest=0.0)
    note = f"jackknife over {len(parts[0])} groups of cases" if interval else ""
    yield pair.row("fid", value, interval, pair.drawn, n_samples=whole[0].count, note=note)
