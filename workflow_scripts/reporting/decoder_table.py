"""The table of the depth decoder: what it changes, and what it costs, beside decoding slice by slice."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .tables import number

COLUMNS = ("n_real", "part", "of", "decoder", "quantity", "unit", "value", "n_cases")
RECONSTRUCTION, SYNTHETIC, COST = "validation cases", "synthetic cases", "cost of a volume"
DECODERS = {"slice": "slice by slice", "depth": "along depth"}
TITLE = "Decoding slice by slice and along depth"

# (metric, plane, channel or None for the mean over modalities) -> quantity, unit, digits
_QUALITY = {
    ("through_plane_error", "volume", None): ("through-plane error", "", 4),
    ("through_plane_ratio", "volume", None): ("through-plane ratio", "", 3),
    ("psnr_db", "axial", None): ("PSNR, axial", "dB", 2),
    ("ssim", "axial", None): ("SSIM, axial", "", 3),
    ("ssim", "coronal", None): ("SSIM, coronal", "", 3),
    ("ssim", "sagittal", None): ("SSIM, sagittal", "", 3),
    ("dice", "volume", "whole_tumor"): ("Dice, whole tumour", "", 3),
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


def decoder_table(quality: pd.DataFrame, costs: pd.DataFrame, synthetic: pd.DataFrame) -> pd.DataFrame:
    """One row a number: `COLUMNS`.

    Parameters
    ----------
    quality, costs : reconstruction.tsv and cost.tsv of every depth decoder
    synthetic : rows of compare_decoders of every system that decodes along depth
    """
    rows = []
    for (n_real, name, decoder, noise), part in quality.groupby(
        ["n_real", "autoencoder", "decoder", "latent_noise"], sort=False
    ):
        of = f"{name}, latents {f'with noise of {noise:g} SD' if noise else 'as encoded'}"
        for (metric, plane, channel), (quantity, unit, _) in _QUALITY.items():
            chosen = part[(part.metric == metric) & (part.plane == plane)]
            chosen = chosen if channel is None else chosen[chosen.channel == channel]
            value = chosen.groupby("case_id").value.mean().mean()
            rows.append((n_real, RECONSTRUCTION, of, decoder, quantity, unit, value, part.case_id.nunique()))
    for (n_real, system), part in synthetic.groupby(["n_real", "system"], sort=False):
        part = part.assign(between=part.between.where(part.between == "axial slices", "in plane"))
        means = part.groupby(["decoder", "between"]).value.mean()
        for decoder in DECODERS:
            cases = part[part.decoder == decoder].case_id.nunique()
            ratios = {between: means[decoder, between] / means["real", between] for between in _GRADIENTS}
            values = {quantity: ratios[between] for between, quantity in _GRADIENTS.items()}
            values[STREAKS] = ratios["axial slices"] / ratios["in plane"]
            rows += [(n_real, SYNTHETIC, system, decoder, *(name, "", value, cases)) for name, value in values.items()]
    for row in costs.to_dict("records"):
        of = f"{row['autoencoder']}, {row['grid']} voxels, {row['device']}"
        for column, (quantity, unit, _) in _COSTS.items():
            rows.append((row["n_real"], COST, of, row["decoder"], quantity, unit, row[column], 1))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(value=table.value.map(lambda value: round(float(value), 6)))


def readable_decoders(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The parts as people read them: a heading, and a table with a row a decoder."""
    parts = []
    for heading, part in table.groupby("part", sort=False):
        rows = []
        for (n_real, of, decoder), own in part.groupby(["n_real", "of", "decoder"], sort=False):
            row = {"of": of, "real patients": str(n_real), "decoded": DECODERS[decoder]}
            for one in own.itertuples():
                name = f"{one.quantity}, {one.unit}" if one.unit else one.quantity
                row[name] = number(one.value, _DIGITS[one.quantity])
            rows.append(row)
        parts.append((heading.capitalize(), pd.DataFrame(rows)))
    return parts


def decoder_notes(table: pd.DataFrame) -> Sequence[str]:
    """What the columns are."""
    counts = table.groupby("part").n_cases.max()
    notes = [
        f"Validation cases ({counts[RECONSTRUCTION]}, not trained on) through the same latents. Through-plane error: mean "
        "absolute error of the differences between neighbouring axial slices, within the brain, intensities of range 2; "
        "through-plane ratio: mean size of these differences by that of the real ones (above 1 streaks, below 1 blur). "
        "Means over modalities and cases.",
        "Noise on the latents stands for those of a generator, which do not fit from slice to slice as encoded ones do.",
        "Cost: of decoding one volume from its latents; multiply-accumulates of convolutions, counted; time measured.",
    ]
    if SYNTHETIC in counts:
        notes.insert(
            2,
            f"Synthetic cases ({counts[SYNTHETIC]}), the same latents under both decoders: mean difference between "
            "neighbouring voxels of the brain, by that of the real validation cases; blur makes both ratios smaller, streaks the "
            "first alone larger, so that their quotient (between by within) is 1 without streaks.",
        )
    return notes
