"""The table of the depth decoder: what it changes, and what it costs, beside decoding slice by slice."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ...base.seeds import numpy_rng
from ...evaluation.statistics.bootstrap import bootstrap_interval
from ...evaluation.statistics.jackknife import FEWEST, normal_interval
from ...evaluation.statistics.ratio_table import NOT_MEASURED
from ...study.settings.evaluation import Intervals
from ..looks import region_name
from .cells import with_interval
from .text import Table, read_together

COLUMNS = ("n_real", "part", "of", "decoder", "quantity", "unit", "value", "lower", "upper", "n_cases", "n_samples")
RECONSTRUCTION, SYNTHETIC, COST = "validation cases", "synthetic cases", "cost of a volume"
DISTANCE = "FID against held-out real cases"
DECODERS = {
    "slice": "slice by slice",
    "depth": "along depth",
    "difference": "along depth minus slice by slice",
    "floor": "real training cases (floor)",
}

OUTERMOST = "outermost region"
# (metric, plane, its regions' or None for the mean over modalities) -> quantity, unit, digits
_QUALITY = {
    ("through_plane_error", "volume", None): ("through-plane error", "", 4),
    ("through_plane_ratio", "volume", None): ("through-plane ratio", "", 3),
    ("psnr_db", "axial", None): ("PSNR, axial", "dB", 2),
    ("ssim", "axial", None): ("SSIM, axial", "", 3),
    ("ssim", "coronal", None): ("SSIM, coronal", "", 3),
    ("ssim", "sagittal", None): ("SSIM, sagittal", "", 3),
    ("dice", "volume", OUTERMOST): ("Dice", "", 3),
}
_COSTS = {
    "parameters_m": ("parameters", "M", 2),
    "convolution_macs_g": ("multiply-accumulates", "G", 1),
    "seconds_per_volume": ("time", "s", 3),
}
_GRADIENTS = {"axial slices": "between axial slices, x real", "in plane": "within axial slices, x real"}
STREAKS = "between by within"
_DIGITS = {name: digits for name, _, digits in (*_QUALITY.values(), *_COSTS.values())} | dict.fromkeys(
    (*_GRADIENTS.values(), STREAKS), 3
)


def decoder_table(
    quality: pd.DataFrame, costs: pd.DataFrame, synthetic: pd.DataFrame, fids: pd.DataFrame, intervals: Intervals
) -> pd.DataFrame:
    """One row a number: `COLUMNS`, confidence and bootstrap_samples; what was not measured is the text "not measured".

    Where cases were decoded twice, "difference" is depth minus slice, paired over cases.

    quality, costs : reconstruction.tsv and cost.tsv of every depth decoder
    synthetic, fids : both tables of compare_decoders of every system that decodes along depth
    """
    rows = [*_quality_rows(quality, intervals), *_gradient_rows(synthetic, intervals)]
    rows += [*_fid_rows(fids, intervals.confidence), *_cost_rows(costs)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    about = {"confidence": intervals.confidence, "bootstrap_samples": intervals.bootstrap_samples}
    return table.assign(**{name: table[name].map(_cell) for name in ("value", "lower", "upper")}, **about)


def _cell(value: float | None) -> float | str:
    return NOT_MEASURED if value is None or not np.isfinite(value) else round(float(value), 6)


def _paired_rows(front: tuple, named: tuple[str, str], values: pd.DataFrame, intervals: Intervals) -> Iterator[tuple]:
    """Rows of slice, depth and their difference; values: a row a (case, patient), a column a decoder."""
    n = len(values)
    for decoder in ("slice", "depth"):
        yield (*front, decoder, *named, values[decoder].mean(), None, None, n, n)
    differences = (values["depth"] - values["slice"]).to_numpy()
    patients = values.index.get_level_values("patient_id").to_numpy(str)
    rng = numpy_rng(intervals.seed, "bootstrap over cases", "decoders", *map(str, front), named[0])
    interval = bootstrap_interval(
        differences[:, None], patients, intervals.bootstrap_samples, intervals.confidence, rng
    )
    yield (*front, "difference", *named, differences.mean(), *(interval or (None, None)), n, n)


def _quality_rows(quality: pd.DataFrame, intervals: Intervals) -> Iterator[tuple]:
    for (n_real, name, noise), part in quality.groupby(["n_real", "autoencoder", "latent_noise"], sort=False):
        of = f"{name}, latents {f'with noise of {noise:g} SD' if noise else 'as encoded'}"
        for (metric, plane, channel), (quantity, unit, _) in _QUALITY.items():
            chosen = part[(part.metric == metric) & (part.plane == plane)]
            if channel == OUTERMOST:
                outermost = chosen.channel.iloc[0]  # regions are listed from the outside in
                chosen, quantity = chosen[chosen.channel == outermost], f"{quantity}, {region_name(outermost)}"
            values = chosen.groupby(["case_id", "patient_id", "decoder"]).value.mean().unstack()
            yield from _paired_rows((n_real, RECONSTRUCTION, of), (quantity, unit), values, intervals)


def _gradient_rows(synthetic: pd.DataFrame, intervals: Intervals) -> Iterator[tuple]:
    for (n_real, system), part in synthetic.groupby(["n_real", "system"], sort=False):
        part = part.assign(between=part.between.where(part.between == "axial slices", "in plane"))
        real = part[part.decoder == "real"].groupby("between").value.mean()
        made, front = part[part.decoder != "real"], (n_real, SYNTHETIC, system)
        ratios = {}
        for between, quantity in _GRADIENTS.items():
            chosen = made[made.between == between]
            chosen = chosen.assign(patient_id=chosen.case_id)  # each synthetic case is a patient of its own
            values = chosen.groupby(["case_id", "patient_id", "decoder"]).value.mean().unstack() / real[between]
            ratios[between] = values.mean()
            yield from _paired_rows(front, (quantity, ""), values, intervals)
        streaks = ratios["axial slices"] / ratios["in plane"]
        streaks["difference"] = streaks["depth"] - streaks["slice"]  # of ratios of means: not a mean over cases
        for decoder in ("slice", "depth", "difference"):
            yield (*front, decoder, STREAKS, "", streaks[decoder], None, None, len(values), len(values))


def _fid_rows(fids: pd.DataFrame, confidence: float) -> Iterator[tuple]:
    for row in fids.itertuples():
        lowest = -np.inf if row.decoder == "difference" else 0.0
        bounds = normal_interval(row.value, row.standard_error, confidence, lowest) or (None, None)
        front = (row.n_real, DISTANCE, f"{row.system}, {row.feature_network}", row.decoder, f"FID, {row.plane}", "")
        yield (*front, row.value, *bounds, row.n_cases, row.n_samples)


def _cost_rows(costs: pd.DataFrame) -> Iterator[tuple]:
    for row in costs.to_dict("records"):
        of = f"{row['autoencoder']}, {row['grid']} voxels, {row['device']}"
        for column, (quantity, unit, _) in _COSTS.items():
            yield (row["n_real"], COST, of, row["decoder"], quantity, unit, row[column], None, None, 1, 1)


def readable_decoders(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The parts as people read them: a heading, and a table with a row a decoder; intervals in brackets."""
    parts = []
    for heading, part in table.groupby("part", sort=False):
        rows = []
        for (n_real, of, decoder), own in part.groupby(["n_real", "of", "decoder"], sort=False):
            row = {
                "of": of,
                "real patients": str(n_real),
                "decoded": DECODERS[decoder],
                "cases": str(own.n_cases.max()),
            }
            for one in own.itertuples():
                name = f"{one.quantity}, {one.unit}" if one.unit else one.quantity
                row[name] = _shown(one)
            rows.append(row)
        parts.append((heading[0].upper() + heading[1:], pd.DataFrame(rows)))
    return parts


def _shown(row) -> str:
    digits, signed = _DIGITS.get(row.quantity, 3 if row.quantity.startswith("Dice") else 1), row.decoder == "difference"
    return with_interval(row.value, row.lower, row.upper, digits, signed)


def decoder_notes(table: pd.DataFrame) -> Sequence[str]:
    """What the columns are."""
    counts, first = table.groupby("part").n_cases.max(), table.iloc[0]
    notes = [
        f"Validation cases ({counts[RECONSTRUCTION]}, not trained on) through the same latents. Through-plane error: mean "
        "absolute error of the differences of neighbouring axial slices in the foreground, intensities of range 2; "
        "through-plane ratio: mean size of these differences by that of the real ones (above 1 streaks, below 1 blur). "
        "Means over modalities and cases.",
        "Noise on the latents stands for those of a generator, which do not fit from slice to slice as encoded ones do.",
        f"Along depth minus slice by slice: paired, as each case is decoded twice from the same latents. Brackets: "
        f"{first.confidence:.0%} bootstrap interval over patients ({first.bootstrap_samples} resamples), of two or more.",
    ]
    if SYNTHETIC in counts:
        notes.append(
            f"Synthetic cases ({counts[SYNTHETIC]}), the same latents under both decoders: mean difference between "
            "neighbouring voxels of the foreground, by that of the real validation cases; blur makes both ratios smaller, "
            "streaks the first alone larger, so that their quotient (between by within) is 1 without streaks."
        )
    if DISTANCE in counts:
        fid = table[table.part == DISTANCE]
        least, most = fid.n_samples.min(), fid.n_samples.max()
        images = str(least) if least == most else f"{least} to {most}"
        notes.append(
            f"FID of the slices of a plane, all modalities ({images} slice images), of ungated synthetic cases against"
            " real validation and test cases, as many of each. Floor: real training cases, as many again, "
            f"against the same. Brackets: {first.confidence:.0%}, by a jackknife over groups of cases with normal quantiles; "
            f"none with fewer than {FEWEST} cases or groups. Few slices bias FID upward: read it against the floor."
        )
    notes.append(
        "Cost: of decoding one volume from its latents; multiply-accumulates of convolutions, counted; time measured."
    )
    return notes


TABLE = Table(
    "Decoding slice by slice and along depth",
    lambda files, settings: decoder_table(
        *(read_together(files[name]) for name in ("quality", "costs", "synthetic", "fids")),
        Intervals.read(settings["tables"], "evaluation.tables"),
    ),
    lambda table, settings: readable_decoders(table),
    lambda table, simulated: decoder_notes(table),
    text_columns=3,
)
