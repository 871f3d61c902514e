"""All image metrics of one system, as `metrics` has them: each beside the value that real cases reach, with n and interval."""

from collections.abc import Iterator

from .feature_sets import Group
from .kernel_distances import squared_distances
from .metrics import OF_PAIRS, OF_SETS, Pair, Settings, Whole


def distances(
    group: Group, n: int, drawn: dict[str, int], n_slices: dict[str, int], settings: Settings
) -> Iterator[dict]:
    """Rows of one group of planes and modalities, n cases a set; see `metrics.Pair`."""
    squared = squared_distances(group.gram)
    for name in ("synthetic", "floor"):
        for measure in OF_PAIRS:
            yield from measure(Pair(name, group, n, squared, drawn, n_slices, settings))


def properties(whole: Whole) -> Iterator[dict]:
    """Rows of what is measured of each set for itself."""
    for measure in OF_SETS:
        yield from measure(whole)
