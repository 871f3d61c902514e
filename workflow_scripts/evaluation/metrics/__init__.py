"""The image metrics: each file here defines some, which enter themselves in `METRICS` by their names.

Distances compare n cases with n reference cases, real ones that no stage has trained on. Synthetic: synthetic cases. Floor:
real training cases, the same number, against the same reference: what a perfect generator would reach. Properties of one
set are compared with the same of the reference cases ("real").
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pandas as pd

from ...base.seeds import numpy_rng
from ..feature_sets import SETS, Group
from ..kernel_distances import squared_distances

COLUMNS = ("metric", "plane", "modality", "comparison", "value", "lower", "upper", "n_cases", "n_slices",
           "n_reference_cases", "n_reference_slices", "n_samples", "note")  # fmt: skip
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Metric:
    """What tables say of a metric.

    name : in images.tsv
    title, better, digits : for readers; better is "lower", "higher" or "near real"
    place : in the order of all; metrics of one place in the order of their names
    heading : of the table by plane and modality in which it stands; "": in none
    samples : what n_samples counts
    of_one_set : compared with the same of the reference cases, and not with a floor
    """

    name: str
    title: str
    better: str
    digits: int
    place: int = 100
    heading: str = ""
    samples: str = "cases"
    of_one_set: bool = False


@dataclass(frozen=True)
class Settings:
    """neighbours: k of the manifolds; samples, confidence, seed: of the intervals."""

    neighbours: int
    samples: int
    confidence: float
    seed: int

    def rng(self, metric: str, *about: str) -> np.random.Generator:
        """For the interval of a metric."""
        return numpy_rng(self.seed, "bootstrap over cases", metric, *about)


def row(metric: str, plane: str, modality: str, comparison: str, value: float, interval: Interval, **rest) -> dict:
    """A row of images.tsv."""
    lower, upper = interval or (np.nan, np.nan)
    found = dict.fromkeys(COLUMNS, np.nan) | {"note": "", "lower": lower, "upper": upper, "value": value}
    return found | {"metric": metric, "plane": plane, "modality": modality, "comparison": comparison} | rest


@dataclass(frozen=True)
class Pair:
    """One set of n cases and the reference, in one group of planes and modalities.

    name : "synthetic" or "floor"
    squared : (3 n, 3 n), squared distances between the cases of all sets
    drawn : slices of each set that count for distances between slices, all modalities of a slice counted once
    n_slices : all slices of each set, which make the means of the cases
    """

    name: str
    group: Group
    n: int
    squared: np.ndarray
    drawn: dict[str, int]
    n_slices: dict[str, int]
    settings: Settings

    def place(self, name: str) -> slice:
        """Where the cases of a set stand in `squared`, and in the group's inner products."""
        index = SETS.index(name)
        return slice(index * self.n, (index + 1) * self.n)

    def rng(self, metric: str) -> np.random.Generator:
        return self.settings.rng(metric, self.group.plane, self.group.modality)

    def over_cases(self, metric: str, value: float, interval: Interval, note: str) -> dict:
        """A row of a metric whose samples are the cases."""
        return self.row(metric, value, interval, self.n_slices, n_samples=self.n, note=note)

    def row(self, metric: str, value: float, interval: Interval, slices: dict[str, int], **rest) -> dict:
        """A row of this pair; `slices` of each set were looked at."""
        counts = {"n_cases": self.n, "n_reference_cases": self.n}
        counts |= {"n_slices": slices[self.name], "n_reference_slices": slices["reference"]}
        about = (self.group.plane, self.group.modality, self.name)
        return row(metric, *about, value, interval, **counts, **rest)


@dataclass(frozen=True)
class Whole:
    """The sets "synthetic" and "real", for what is measured of a set for itself.

    cases : a row a case, with the columns gradient_ratio_<modality>
    pairs : rows of extract_image_features' pairs
    n : cases of each set that count
    """

    cases: dict[str, pd.DataFrame]
    pairs: dict[str, pd.DataFrame]
    modalities: list[str]
    n: int
    settings: Settings


METRICS: dict[str, Metric] = {}
OF_PAIRS: list[Callable[[Pair], Iterator[dict]]] = []
OF_SETS: list[Callable[[Whole], Iterator[dict]]] = []


def of_pairs(*metrics: Metric):
    """Enter metrics that a function (Pair) -> rows measures."""
    return _entered(OF_PAIRS, metrics)


def of_sets(*metrics: Metric):
    """Enter metrics that a function (Whole) -> rows measures."""
    return _entered(OF_SETS, metrics)


def _entered(functions: list, metrics: tuple[Metric, ...]):
    def enter(function):
        functions.append(function)
        for metric in metrics:
            if metric.name in METRICS:
                raise ValueError(f"two image metrics are called {metric.name}")
            METRICS[metric.name] = metric
        return function

    return enter


def distances(
    group: Group, n: int, drawn: dict[str, int], n_slices: dict[str, int], settings: Settings
) -> Iterator[dict]:
    """Rows of one group of planes and modalities, n cases a set; see `Pair`."""
    squared = squared_distances(group.gram)
    for name in ("synthetic", "floor"):
        for measure in OF_PAIRS:
            yield from measure(Pair(name, group, n, squared, drawn, n_slices, settings))


for _found in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_found}")
METRICS = {metric.name: metric for metric in sorted(METRICS.values(), key=lambda metric: (metric.place, metric.name))}
