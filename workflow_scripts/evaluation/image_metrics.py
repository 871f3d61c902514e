"""The image metrics of one system: each beside the value that real cases reach, with n, and an interval where there is one.

Distances compare n cases with n reference cases, real ones that no stage has trained on. Synthetic: synthetic cases. Floor:
real training cases, the same number, against the same reference: what a perfect generator would reach.

- fid: Fréchet distance of the slices of all cases (`frechet`), with an interval from leaving out groups of cases
  (`jackknife`): a bootstrap over cases would need each case's own scatter (F^2: 13 MB a case). It holds what other cases
  would change, not the bias of few slices, which the floor shows.
- kid, mmd, precision, recall, density, coverage: on cases (`kernel_distances`, `manifolds`), with intervals over cases.
- ms_ssim, gradient_ratio: properties of one set (`volume_metrics`), compared with the same of the reference cases ("real").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..base.seeds import numpy_rng
from .feature_sets import SETS, Group
from .frechet import frechet_distance, left_out_distances, merged
from .kernel_distances import (
    gaussian_kernel,
    median_distance,
    pair_mean,
    polynomial_kernel,
    squared_distances,
    squared_mmd,
)
from .manifolds import manifold_interval, manifold_scores
from .statistics.bootstrap import bootstrap_interval
from .statistics.jackknife import normal_interval, standard_error

COLUMNS = ("metric", "plane", "modality", "comparison", "value", "lower", "upper", "n_cases", "n_slices",
           "n_reference_cases", "n_reference_slices", "n_samples", "note")  # fmt: skip
METRICS = ("fid", "kid", "mmd", "precision", "recall", "density", "coverage", "ms_ssim", "gradient_ratio")
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Settings:
    """neighbours: k of the manifolds; samples, confidence, seed: of the intervals."""

    neighbours: int
    samples: int
    confidence: float
    seed: int


def _row(metric: str, plane: str, modality: str, comparison: str, value: float, interval: Interval, **rest) -> dict:
    lower, upper = interval or (np.nan, np.nan)
    row = dict.fromkeys(COLUMNS, np.nan) | {"note": "", "lower": lower, "upper": upper, "value": value}
    return row | {"metric": metric, "plane": plane, "modality": modality, "comparison": comparison} | rest


def distances(
    group: Group, n: int, drawn: dict[str, int], n_slices: dict[str, int], settings: Settings
) -> Iterator[dict]:
    """Rows of one group of planes and modalities, n cases a set.

    drawn: slices of each set in the group that count for the Fréchet distance, all modalities of a slice counted once;
    n_slices: all of its slices, which make the means of the cases.
    """
    squared = squared_distances(group.gram)
    place = {name: slice(index * n, (index + 1) * n) for index, name in enumerate(SETS)}
    reference = place["reference"]
    bandwidth = median_distance(squared[reference, reference]) if n > 1 else 0.0
    neighbours = min(settings.neighbours, n - 1)
    for name in ("synthetic", "floor"):
        counts = {"n_cases": n, "n_reference_cases": n}
        of_slices = {"n_slices": drawn[name], "n_reference_slices": drawn["reference"]}
        about = (group.plane, group.modality, name)
        parts = (group.gaussians[name], group.gaussians["reference"])
        whole = [merged(of_set) for of_set in parts]
        fid = frechet_distance(*whole)
        error = standard_error(fid, left_out_distances(*parts), n)
        interval = normal_interval(fid, error, settings.confidence, lowest=0.0)
        note = f"jackknife over {len(parts[0])} groups of cases" if interval else ""
        yield _row("fid", *about, fid, interval, **counts, **of_slices, n_samples=whole[0].count, note=note)

        both = np.r_[reference, place[name]]
        pair = np.ix_(both, both)
        kernels = {"kid": (polynomial_kernel(group.gram[pair], group.dimension), "")}
        if bandwidth > 0:
            note = f"Gaussian kernel, bandwidth {bandwidth:.4g}: median distance of reference cases"
            kernels["mmd"] = (gaussian_kernel(squared[pair], bandwidth), note)
        counts |= {"n_samples": n, "n_slices": n_slices[name], "n_reference_slices": n_slices["reference"]}
        for metric, (kernel, note) in kernels.items():
            rng = numpy_rng(settings.seed, "bootstrap over cases", metric, group.plane, group.modality)
            found = squared_mmd(kernel, n, settings.samples, settings.confidence, rng)
            if found:
                yield _row(metric, *about, found.value, found.interval, **counts, note=note)
        if neighbours > 0:
            yield from _manifold_rows(squared, reference, place[name], neighbours, settings, about, counts)


def _manifold_rows(
    squared: np.ndarray, reference: slice, own: slice, neighbours: int, settings: Settings, about: tuple, counts: dict
) -> Iterator[dict]:
    blocks = [np.sqrt(squared[rows, columns]) for rows, columns in ((reference,) * 2, (own,) * 2, (reference, own))]
    for metric, scores in manifold_scores(*blocks, neighbours).items():
        rng = numpy_rng(settings.seed, "bootstrap over cases", metric, *about[:2])
        interval = manifold_interval(metric, scores, settings.samples, settings.confidence, rng)
        yield _row(metric, *about, float(scores.mean()), interval, **counts, note=f"{neighbours} neighbours")


def through_plane(tables: dict[str, pd.DataFrame], modalities: Sequence[str], settings: Settings) -> Iterator[dict]:
    """Gradient ratios, mean over cases, of all modalities (their mean in each case) and of each.

    tables: for "synthetic" and "real", a row a case with the columns gradient_ratio_<modality>.
    """
    for name, table in tables.items():
        of_each = {modality: table[f"gradient_ratio_{modality}"] for modality in modalities}
        everything = {"all": pd.DataFrame(of_each).mean(axis=1, skipna=False)}
        for modality, values in (everything | (of_each if len(modalities) > 1 else {})).items():
            values = values.to_numpy(dtype=float)
            values = values[np.isfinite(values)]
            if len(values):
                rng = numpy_rng(settings.seed, "bootstrap over cases", "gradient_ratio", modality)
                interval = bootstrap_interval(
                    values[:, None], np.arange(len(values)), settings.samples, settings.confidence, rng
                )
                counts = {"n_cases": len(values), "n_samples": len(values)}
                yield _row("gradient_ratio", "volume", modality, name, float(values.mean()), interval, **counts)


def diversity(tables: dict[str, pd.DataFrame], modalities: Sequence[str], n: int, settings: Settings) -> Iterator[dict]:
    """MS-SSIM, mean over pairs among the first n cases of each set; a set without a pair has no row.

    tables: for "synthetic" and "real", rows of extract_image_features' pairs.
    """
    for name, table in tables.items():
        table = table[table["last"] < n]
        ids = {case_id: index for index, case_id in enumerate(sorted({*table.first_id, *table.second_id}))}
        wide = table.pivot(index=["first_id", "second_id"], columns="modality", values="ms_ssim")
        if wide.empty:
            continue
        pairs = np.array([[ids[first], ids[second]] for first, second in wide.index])
        of_each = {modality: wide[modality].to_numpy() for modality in modalities}
        everything = {"all": wide[list(modalities)].mean(axis=1).to_numpy()}
        note = f"{table.scales.iloc[0]} of 5 scales, window of {table.window.iloc[0]} voxels"
        for modality, values in (everything | (of_each if len(modalities) > 1 else {})).items():
            rng = numpy_rng(settings.seed, "bootstrap over cases", "ms_ssim", modality)
            found = pair_mean(values, pairs, len(ids), settings.samples, settings.confidence, rng)
            counts = {"n_cases": len(ids), "n_samples": len(values)}
            yield _row("ms_ssim", "volume", modality, name, found.value, found.interval, **counts, note=note)
