"""How far the slices of synthetic volumes lie from real ones, plane by plane, under two decoders of the same latents."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .feature_sets import CaseSet, gather, merge_parts
from .frechet import GaussianStatistics, frechet_distance, left_out_distances, merged
from .statistics.jackknife import standard_error

COLUMNS = ("plane", "decoder", "value", "standard_error", "n_cases", "n_samples", "n_reference_samples")
COMPARED = ("slice", "depth", "floor")


def _parts(cases: CaseSet, plane: str, modalities: int, dimension: int) -> list[GaussianStatistics]:
    """Statistics of the drawn slices of a plane, all modalities, for each group of cases."""
    parts, _ = gather(cases, plane, 0, dimension)
    for modality in range(1, modalities):
        merge_parts(parts, gather(cases, plane, modality, dimension)[0])
    return parts


def decoder_distances(
    sets: Mapping[str, CaseSet], planes: Sequence[str], modalities: int, dimension: int
) -> Iterator[dict]:
    """Rows (`COLUMNS`): the Fréchet distance of each of COMPARED to the reference in each plane, with its standard error.

    A fourth row, "difference", is depth minus slice: its error is that of pairs, as both decode the same latents.
    Memory is an F x F matrix for each group of cases of a set, whatever the number of cases.

    sets : "reference", "slice", "depth", and "floor" (real training cases), n cases each; case i of slice and of depth
        come from the same latents
    dimension : F, of the features
    """
    n = len(sets["reference"].case_ids)
    for plane in planes:
        reference = _parts(sets["reference"], plane, modalities, dimension)
        whole = merged(reference)
        found: dict[str, tuple[float, np.ndarray]] = {}
        for name in COMPARED:
            parts = _parts(sets[name], plane, modalities, dimension)
            own = merged(parts)
            found[name] = frechet_distance(own, whole), left_out_distances(parts, reference)
            yield _row(plane, name, *found[name], n, own.count, whole.count)
        difference = (depth - flat for depth, flat in zip(found["depth"], found["slice"], strict=True))
        yield _row(plane, "difference", *difference, n, own.count, whole.count)


def _row(plane: str, name: str, value: float, left_out: np.ndarray, n: int, *samples: int) -> dict:
    error = standard_error(value, left_out, n)
    return dict(zip(COLUMNS, (plane, name, value, np.nan if error is None else error, n, *samples), strict=True))
