"""Properties of one set of volumes (`evaluation.volume_metrics`): MS-SSIM of its pairs, gradients through the planes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..kernel_distances import pair_mean
from ..statistics.bootstrap import bootstrap_interval
from . import Metric, Whole, of_sets, row


@of_sets(Metric("ms_ssim", "MS-SSIM of pairs", "near real", 3, place=8, samples="pairs", of_one_set=True))
def diversity(whole: Whole) -> Iterator[dict]:
    """MS-SSIM, mean over pairs among the first n cases of each set; a set without a pair has no row."""
    settings, modalities = whole.settings, whole.modalities
    for name, table in whole.pairs.items():
        table = table[table["last"] < whole.n]
        ids = {case_id: index for index, case_id in enumerate(sorted({*table.first_id, *table.second_id}))}
        wide = table.pivot(index=["first_id", "second_id"], columns="modality", values="ms_ssim")
        if wide.empty:
            continue
        pairs = np.array([[ids[first], ids[second]] for first, second in wide.index])
        of_each = {modality: wide[modality].to_numpy() for modality in modalities}
        everything = {"all": wide[list(modalities)].mean(axis=1).to_numpy()}
        note = f"{table.scales.iloc[0]} of 5 scales, window of {table.window.iloc[0]} voxels"
        for modality, values in (everything | (of_each if len(modalities) > 1 else {})).items():
            rng = settings.rng("ms_ssim", modality)
            found = pair_mean(values, pairs, len(ids), settings.samples, settings.confidence, rng)
            counts = {"n_cases": len(ids), "n_samples": len(values)}
            yield row("ms_ssim", "volume", modality, name, found.value, found.interval, **counts, note=note)


@of_sets(Metric("gradient_ratio", "through-plane gradient ratio", "near real", 3, place=9, of_one_set=True))
def through_plane(whole: Whole) -> Iterator[dict]:
    """Gradient ratios, mean over cases, of all modalities (their mean in each case) and of each."""
    settings, modalities = whole.settings, whole.modalities
    for name, table in whole.cases.items():
        of_each = {modality: table[f"gradient_ratio_{modality}"] for modality in modalities}
        everything = {"all": pd.DataFrame(of_each).mean(axis=1, skipna=False)}
        for modality, values in (everything | (of_each if len(modalities) > 1 else {})).items():
            values = values.to_numpy(dtype=float)
            values = values[np.isfinite(values)]
            if len(values):
                rng = settings.rng("gradient_ratio", modality)
                spread = (np.arange(len(values)), settings.samples, settings.confidence, rng)
                interval = bootstrap_interval(values[:, None], *spread)
                counts = {"n_cases": len(values), "n_samples": len(values)}
                yield row("gradient_ratio", "volume", modality, name, float(values.mean()), interval, **counts)
