"""The table that compares the systems: what each brings, and what it costs."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ...study.arms import NO_CONTROL, REAL_ONLY
from ...study.generators import EXTERNAL
from ..looks import region_name
from .cells import THIS_RUN, amount, marked, number, onset_note, read_mixed_csv, read_ratio_table, with_interval
from .images import fid_rows
from .text import Table, read_together

COSTS = ("seconds_per_volume", "peak_memory_mib", "gflop_per_volume", "parameters_m")


def comparison_table(
    ratios: pd.DataFrame, fid: pd.DataFrame, compute: pd.DataFrame, labels: Mapping[str, str], ratio: float | None
) -> pd.DataFrame:
    """One row a system and n_real: FID with its floor, Dice gains at `ratio`, seconds, memory, parameters, FLOP.

    ratios : as of ``read_ratio_table``; the gains are those of its first segmenter
    fid : Fréchet distances of all systems, as of ``fid_rows``
    compute : rows of compute.csv; none of systems whose cases were made elsewhere
    labels : system -> what it is
    ratio : synthetic cases for each real one; None: 1 where there is such an arm, else the smallest there is
    """
    ratios = ratios[ratios.segmenter == ratios.segmenter.iloc[0]]
    mixes = ratios[(ratios.system != REAL_ONLY) & (ratios.control == NO_CONTROL) & ~ratios.synthetic_only.astype(bool)]
    mixes = mixes[mixes.mixing == mixes.mixing.iloc[0]] if len(mixes) else mixes  # the first way of mixing
    found = sorted(set(mixes.ratio))
    if ratio is None:
        ratio = 1 if 1 in found or not found else found[0]
    own = compute[compute.setting == THIS_RUN].set_index(["system", "part", "quantity"]).value if len(compute) else {}
    plane = "joint" if "joint" in set(fid.plane) else fid.plane.iloc[0]
    rows = []
    for (n_real, system), part in fid[fid.plane == plane].groupby(["n_real", "system"], sort=False):
        distances = part.set_index("comparison").fid
        row = {"n_real": n_real, "system": system, "label": labels[system], "fid_plane": plane}
        row |= {"fid": distances["synthetic"], "fid_floor": distances["floor"], "n_fid_cases": part.n_cases.iloc[0]}
        for arm in mixes[(mixes.n_real == n_real) & (mixes.system == system) & (mixes.ratio == ratio)].itertuples():
            row |= {f"{arm.region}_dice_gain": arm.dice_difference, f"{arm.region}_gain_low": arm.dice_difference_low}
            row |= {f"{arm.region}_gain_high": arm.dice_difference_high, f"{arm.region}_onset": arm.onset}
        row |= {"ratio": ratio, **dict.fromkeys(COSTS, EXTERNAL)}
        if (system, "volume", "time") in own:
            networks = (own[system, part, "parameters"] for part in ("autoencoder", "network"))
            quantities = (own[system, "volume", name] for name in ("time", "peak memory", "operations"))
            row |= dict(zip(COSTS, (*quantities, sum(networks)), strict=True))
        rows.append(row)
    return pd.DataFrame(rows).map(lambda value: round(value, 6) if isinstance(value, float) else value)


def readable_comparison(table: pd.DataFrame) -> pd.DataFrame:
    """The comparison as people read it."""
    regions = [name.removesuffix("_dice_gain") for name in table.columns if name.endswith("_dice_gain")]
    rows = []
    for row in table.to_dict("records"):
        shown = {"system": row["system"], "real patients": str(row["n_real"])}
        shown["FID (floor)"] = f"{number(row['fid'], 1)} ({number(row['fid_floor'], 1)})"
        for region in regions:
            gain, low, high = (row[f"{region}_{key}"] for key in ("dice_gain", "gain_low", "gain_high"))
            text = with_interval(gain, low, high, 3, True)
            shown[f"Dice gain, {region_name(region)}"] = marked(text, row[f"{region}_onset"])
        shown["s a volume"] = amount(row["seconds_per_volume"])
        shown["peak memory, MiB"] = amount(row["peak_memory_mib"])
        shown["parameters, M"] = amount(row["parameters_m"])
        shown["GFLOP a volume"] = amount(row["gflop_per_volume"])
        rows.append(shown)
    return pd.DataFrame(rows)


def comparison_notes(table: pd.DataFrame) -> list[str]:
    """What the columns are."""
    first, external = table.iloc[0], bool((table[list(COSTS)] == EXTERNAL).any(axis=None))
    return [
        f"FID: {first.fid_plane} over planes and modalities, synthetic against real cases that no stage has trained on, "
        f"{first.n_fid_cases} cases a side; in parentheses real training cases against the same, at the same number.",
        f"Dice gain: real + {first.ratio:g}x synthetic minus real only; intervals and conventions as in "
        "the augmentation-ratio table.",
        *onset_note(table[[name for name in table.columns if name.endswith("_onset")]].stack()),
        "Time, memory, parameters (autoencoder and network) and operations: as in the compute table.",
        *(
            [f"{EXTERNAL.capitalize()}: cases that somebody else's generator made; what they cost is not known here."]
            * external
        ),
    ]


def _make(files: Mapping[str, list[Path]], settings: dict) -> pd.DataFrame:
    labels = {name: system["label"] for name, system in settings["system"].items()}
    ratios, compute = read_ratio_table(files["ratios"][0]), pd.DataFrame()
    compute = read_mixed_csv(files["compute"][0]) if files["compute"] else compute
    return comparison_table(
        ratios, fid_rows(read_together(files["images"])), compute, labels, settings["comparison_ratio"]
    )


def _parts(table: pd.DataFrame, settings: dict) -> list[tuple[str, pd.DataFrame]]:
    return [(f"Dice gain at {table.ratio.iloc[0]:g}x", readable_comparison(table))]


TABLE = Table("Comparison of the systems", _make, _parts, lambda table, simulated: comparison_notes(table))
