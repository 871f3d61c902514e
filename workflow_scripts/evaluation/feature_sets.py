"""Sets of cases as the image metrics need them, gathered in one pass over their feature files.

Three sets are held: reference, floor and synthetic, n cases each. Memory, for n = 1000 cases, 3 planes, 4 modalities and
F = 1280 features (2048):
- means over slices of each case, one plane and modality at a time: 3 x 1000 x F x 4 bytes = 15 MB (25 MB)
- mean and scatter of all slices, for FID, in ten groups of cases for its interval: three sets of one plane and modality, of
  a plane, and of all: 90 x F^2 x 8 bytes = 1.2 GB (3.0 GB); a distance needs eight matrices more, 0.1 GB (0.3 GB)
- inner products between cases, (3000, 3000): 72 MB each, about eight at once in `metrics`
Together 1.9 GB (3.9 GB). The features of all slices, 1000 x 4 x 450 x F x 4 bytes = 9 GB a set, are never held: one plane
and modality of one case is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..base.errors import UserError
from ..base.seeds import numpy_rng
from .feature_files import FeatureFiles
from .frechet import GaussianStatistics
from .statistics.jackknife import GROUPS, case_groups

SETS = ("reference", "floor", "synthetic")


def draw_slices(slices: list[tuple[str, int]], count: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    """`count` of `slices` without replacement, in their order."""
    if count >= len(slices):
        return list(slices)
    return [slices[index] for index in np.sort(rng.choice(len(slices), count, replace=False))]


def draw_cases(case_ids: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` of `case_ids` without replacement, in their order."""
    return [case_ids[index] for index in np.sort(rng.permutation(len(case_ids))[:count])]


def matched_slices(
    counts: Mapping[str, Mapping[str, Mapping[str, int]]], seed: int
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """For each set and plane {case_id: which of its slices}: all of the reference, and of the other sets as many each.

    counts: for each set and plane {case_id: number of its slices}; the set that has fewest sets the number.
    """
    found = {
        name: {
            plane: [(case_id, index) for case_id, count in of_cases.items() for index in range(count)]
            for plane, of_cases in planes.items()
        }
        for name, planes in counts.items()
    }
    compared = [name for name in counts if name != "reference"]
    for plane in counts["reference"]:
        count = min(len(found[name][plane]) for name in compared)
        for name in compared:
            rng = numpy_rng(seed, "slices for the Fréchet distance", plane)
            found[name][plane] = draw_slices(found[name][plane], count, rng)
    return {name: {plane: _by_case(pairs) for plane, pairs in planes.items()} for name, planes in found.items()}


def _by_case(pairs: Sequence[tuple[str, int]]) -> dict[str, np.ndarray]:
    drawn: dict[str, list[int]] = {}
    for case_id, index in pairs:
        drawn.setdefault(case_id, []).append(index)
    return {case_id: np.array(indices) for case_id, indices in drawn.items()}


@dataclass(frozen=True)
class CaseSet:
    """Cases of one set. `drawn`: for each plane, which slices of each case count for the Fréchet distance; None: all.
    `groups`: in how many groups of cases its Gaussians are gathered, at most (`jackknife.case_groups`)."""

    case_ids: Sequence[str]
    files: FeatureFiles
    drawn: Mapping[str, Mapping[str, np.ndarray]] | None = None
    groups: int = GROUPS


def gather(cases: CaseSet, plane: str, modality: int, dimension: int) -> tuple[list[GaussianStatistics], np.ndarray]:
    """One plane and modality of a set: Gaussians of the drawn slices, one for each of the cases' groups
    (`jackknife.case_groups`), and the mean over all slices of each case (n, F).

    Raises UserError that names a case without a slice of that plane.
    """
    n = len(cases.case_ids)
    gaussians, means = _empty_parts(cases, dimension), np.empty((n, dimension), dtype=np.float32)
    for row, (case_id, group) in enumerate(zip(cases.case_ids, case_groups(n, cases.groups), strict=True)):
        features = cases.files.read(case_id, plane, modality).astype(np.float64)
        if not len(features):
            raise UserError(
                f"case {case_id} has no {plane} slice with enough foreground: lower "
                "evaluation: images: min_foreground_fraction, or "
                "look at this volume"
            )
        means[row] = features.mean(axis=0)
        gaussians[group].update(features if cases.drawn is None else features[cases.drawn[plane].get(case_id, [])])
    return gaussians, means


def _empty_parts(cases: CaseSet, dimension: int) -> list[GaussianStatistics]:
    """Statistics without a sample, one for each group of the cases."""
    return [GaussianStatistics(dimension) for _ in set(case_groups(len(cases.case_ids), cases.groups).tolist())]


def merge_parts(into: Sequence[GaussianStatistics], parts: Sequence[GaussianStatistics]) -> None:
    """Add the samples of each part to those of the same group of cases."""
    for whole, part in zip(into, parts, strict=True):
        whole.merge(part)


@dataclass
class Group:
    """One plane, or all ("joint"), and one modality, or all of them: what the metrics look at together.

    gaussians: of slices, for each set and there for each group of its cases; gram: inner products (3n, 3n) between the cases of all sets, in the order of SETS;
    dimension: length of the features behind `gram`.
    """

    plane: str
    modality: str
    gaussians: dict[str, list[GaussianStatistics]]
    gram: np.ndarray
    dimension: int

    def add(self, other: Group) -> None:
        """Put another plane or modality beside: slices join the samples, case means join the features of a case."""
        for name, parts in other.gaussians.items():
            merge_parts(self.gaussians[name], parts)
        self.gram += other.gram
        self.dimension += other.dimension


def _empty(plane: str, sets: Mapping[str, CaseSet], dimension: int) -> Group:
    gaussians = {name: _empty_parts(sets[name], dimension) for name in SETS}
    return Group(plane, "all", gaussians, np.zeros((sum(len(sets[name].case_ids) for name in SETS),) * 2), 0)


def groups(
    sets: Mapping[str, CaseSet],
    planes: Sequence[str],
    modalities: Sequence[str],
    dimension: int,
    progress: Callable[[int], None] = lambda count: None,
) -> Iterator[Group]:
    """Each plane with each modality (where there is more than one), each plane with all, and at last all joint.

    A case's features in a group of several planes and modalities are those of all of them, side by side.
    """
    joint = _empty("joint", sets, dimension)
    for plane in planes:
        of_plane = _empty(plane, sets, dimension)
        for index, modality in enumerate(modalities):
            gaussians, means = {}, []
            for name in SETS:
                gaussians[name], mean = gather(sets[name], plane, index, dimension)
                means.append(mean)
                progress(len(mean))
            stacked = np.concatenate(means).astype(np.float64)
            own = Group(plane, modality, gaussians, stacked @ stacked.T, dimension)
            of_plane.add(own)
            if len(modalities) > 1:
                yield own
        joint.add(of_plane)
        yield of_plane
    if len(planes) > 1:
        yield joint
