"""Sets of cases as the image metrics need them, gathered in one pass over their feature files.

Three sets are held: reference, floor and synthetic, n cases each. Memory, for n = 1000 cases, 3 planes, 4 modalities and
F = 1280 features (2048):
- means over slices of each case, plane and modality: 3 x 1000 x 12 x F x 4 bytes = 184 MB (295 MB)
- mean and scatter of all slices, for FID: three sets of one plane and modality, of a plane, and of all:
  9 x F^2 x 8 bytes = 118 MB (302 MB); a distance needs six matrices more, 79 MB (201 MB)
- inner products between cases, (3000, 3000): 72 MB each, about eight at once in `image_metrics`
Together 1 GB (1.4 GB). The features of all slices, 1000 x 4 x 450 x F x 4 bytes = 9 GB a set, are never held: one plane
and modality of one case is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..base.errors import UserError
from .feature_files import FeatureFiles
from .frechet import GaussianStatistics

SETS = ("reference", "floor", "synthetic")


def draw_slices(slices: list[tuple[str, int]], count: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    """`count` of `slices` without replacement, in their order."""
    if count >= len(slices):
        return list(slices)
    return [slices[index] for index in np.sort(rng.choice(len(slices), count, replace=False))]


@dataclass(frozen=True)
class CaseSet:
    """Cases of one set. `drawn`: for each plane, which slices of each case count for the Fréchet distance; None: all."""

    case_ids: Sequence[str]
    files: FeatureFiles
    drawn: Mapping[str, Mapping[str, np.ndarray]] | None = None


def gather(cases: CaseSet, plane: str, modality: int, dimension: int) -> tuple[GaussianStatistics, np.ndarray]:
    """One plane and modality of a set: Gaussian of the drawn slices, and the mean over all slices of each case (n, F).

    Raises UserError that names a case without a slice of that plane.
    """
    gaussian, means = GaussianStatistics(dimension), np.empty((len(cases.case_ids), dimension), dtype=np.float32)
    for row, case_id in enumerate(cases.case_ids):
        features = cases.files.read(case_id, plane, modality).astype(np.float64)
        if not len(features):
            raise UserError(
                f"case {case_id} has no {plane} slice with enough brain: lower evaluation: images: min_brain_fraction, or "
                "look at this volume"
            )
        means[row] = features.mean(axis=0)
        gaussian.update(features if cases.drawn is None else features[cases.drawn[plane].get(case_id, [])])
    return gaussian, means


@dataclass
class Group:
    """One plane, or all ("joint"), and one modality, or all of them: what the metrics look at together.

    gaussians: of slices, for each set; gram: inner products (3n, 3n) between the cases of all sets, in the order of SETS;
    dimension: length of the features behind `gram`.
    """

    plane: str
    modality: str
    gaussians: dict[str, GaussianStatistics]
    gram: np.ndarray
    dimension: int

    def add(self, other: Group) -> None:
        """Put another plane or modality beside: slices join the samples, case means join the features of a case."""
        for name, gaussian in other.gaussians.items():
            self.gaussians[name].merge(gaussian)
        self.gram += other.gram
        self.dimension += other.dimension


def _empty(plane: str, modality: str, cases: int, dimension: int) -> Group:
    gaussians = {name: GaussianStatistics(dimension) for name in SETS}
    return Group(plane, modality, gaussians, np.zeros((cases, cases)), 0)


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
    cases = sum(len(sets[name].case_ids) for name in SETS)
    joint = _empty("joint", "all", cases, dimension)
    for plane in planes:
        of_plane = _empty(plane, "all", cases, dimension)
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
