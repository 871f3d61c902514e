"""The tables that compare systems: what each costs to compute, and what it brings for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ...evaluation.compute import published_cost, system_cost
from ...evaluation.statistics.ratio_table import NOT_MEASURED
from ...study.arms import REAL_ONLY
from .cells import REGION_NAMES, SIMULATED, number
from .text import LATEX_HEAD, latex_table, markdown_table

RUN, PAPER = "this run", "the paper's"
COMPUTE_COLUMNS = ("system", "setting", "part", "quantity", "value", "unit", "published", "note")


def compute_table(
    systems: Mapping[str, dict],
    shipped: Mapping[str, dict],
    channels: tuple[int, int],
    size: Sequence[int],
    n_conditions: int,
    measured: pd.DataFrame,
) -> pd.DataFrame:
    """One row a number: `COMPUTE_COLUMNS`; `published` is the paper's own figure, where it prints one.

    Parameters
    ----------
    systems : resolved systems of the run, at its widths
    shipped : systems of config/systems/ as shipped, whose ``published`` settings are counted
    channels : (modalities, regions) of the run
    size : [D, H, W] of the run
    n_conditions : tumour conditions of the run's networks
    measured : rows of measure_cost
    """
    rows = []
    for name, system in systems.items():
        cost = system_cost(system, *channels, size, n_conditions)
        values = [(part, "parameters", cost[f"{part}_parameters"] / 1e6, "M") for part in _PARTS]
        values += [(part, "operations", cost[f"{part}_flop"] / 1e9, "GFLOP") for part in _STAGES]
        values.append(("call", "calls for a volume", cost["calls"], ""))
        found = measured[measured.system == name]
        for column, quantity, unit in _MEASURED:
            value = found[column].iloc[0] if len(found) else NOT_MEASURED
            note = f"{found.device.iloc[0]}; {found.sampler.iloc[0]}" if len(found) else ""
            if len(found) and column == "peak_memory_mib":
                note += f"; of the {found.memory_of.iloc[0]}"
            values.append(("volume", quantity, value, unit, note))
        rows += [_row(name, RUN, *value) for value in values]
    for name, system in shipped.items():
        for entry in system.get("published", []):
            macs, weights = published_cost(system, entry)
            setting = f"{PAPER}: {entry['channels']}x{'x'.join(map(str, entry['size']))}, batch {entry['batch']}"
            printed = {"multiply-accumulates": (macs, "G", "macs_g"), "parameters": (weights, "M", "parameters_m")}
            for quantity, (value, unit, key) in printed.items():
                row = _row(name, setting, entry["part"], quantity, value, unit, entry.get("note", ""))
                rows.append(row | {"published": NOT_MEASURED if entry[key] is None else entry[key]})
    return pd.DataFrame(rows, columns=list(COMPUTE_COLUMNS))


_PARTS = ("autoencoder", "network", "discriminator")
_STAGES = ("encode", "call", "sampling", "decode", "volume")
_MEASURED = (("seconds_per_volume", "time", "s"), ("peak_memory_mib", "peak memory", "MiB"))


def _row(system: str, setting: str, part: str, quantity: str, value: object, unit: str, note: str = "") -> dict:
    value = value if isinstance(value, str | int) else round(float(value), 6)
    return dict(zip(COMPUTE_COLUMNS, (system, setting, part, quantity, value, unit, "", note), strict=True))


def _amount(value: object) -> str:
    """Three significant digits, without an exponent."""
    if isinstance(value, str):
        return value
    value = float(value)
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}" if value else "0"


def readable_costs(table: pd.DataFrame) -> pd.DataFrame:
    """The run's own costs: a row a system."""
    rows = []
    own = table[table.setting == RUN]
    for system, part in own.groupby("system", sort=False):
        value = {(row.part, row.quantity): row.value for row in part.itertuples()}
        rows.append(
            {
                "system": system,
                "autoencoder, M": _amount(value["autoencoder", "parameters"]),
                "network, M": _amount(value["network", "parameters"]),
                "encode, GFLOP": _amount(value["encode", "operations"]),
                "one call, GFLOP": _amount(value["call", "operations"]),
                "calls": f"{value['call', 'calls for a volume']:.0f}",
                "sampling, GFLOP": _amount(value["sampling", "operations"]),
                "decode, GFLOP": _amount(value["decode", "operations"]),
                "s a volume": _amount(value["volume", "time"]),
                "peak memory, MiB": _amount(value["volume", "peak memory"]),
            }
        )
    return pd.DataFrame(rows)


def readable_published(table: pd.DataFrame) -> pd.DataFrame:
    """Our count beside the paper's figure, in its unit and at its setting: a row a part."""
    rows = []
    for row in table[table.setting != RUN].itertuples():
        stated = not isinstance(row.published, str)
        difference = f"{100 * (row.value / row.published - 1):+.1f} %" if stated else ""
        rows.append(
            {
                "system": row.system,
                "part": row.part,
                "setting": row.setting.removeprefix(f"{PAPER}: "),
                "quantity": f"{row.quantity}, {row.unit}",
                "ours": f"{row.value:,.3f}",
                "the paper's": f"{row.published:,.3f}" if stated else "not given",
                "difference": difference,
            }
        )
    return pd.DataFrame(rows)


def compute_notes(table: pd.DataFrame) -> list[str]:
    """What the numbers are, and where they differ from the paper's."""
    timed = table[(table.setting == RUN) & (table.quantity == "time")]
    devices = sorted({note.split(";")[0] for note in timed.note if note})
    notes = [
        "This run: counted at the run's own grid and widths, one volume at a time; 1 multiply-accumulate is 2 FLOP. A "
        "volume costs the sampling and the decoding; encoding is paid once, for the training cases.",
        f"Time and memory: measured ({'; '.join(devices)}), the median over cases, without the start of the program and "
        "the writing of files; memory on a CPU is that of the whole process."
        if devices
        else "Time and memory: not measured.",
        "The paper's settings: Kebaili et al. 2024 print multiply-accumulates under the name of FLOPs, partly for a "
        "batch of 2, of convolutions alone; here the same operations of our networks, as shipped, at the same shapes.",
    ]
    seen = dict.fromkeys(
        f"{row.system}, {row.part}: {row.note}." for row in table[table.setting != RUN].itertuples() if row.note
    )
    return notes + list(seen)


def comparison_table(
    ratios: pd.DataFrame, fid: pd.DataFrame, compute: pd.DataFrame, labels: Mapping[str, str], ratio: float | None
) -> pd.DataFrame:
    """One row a system and n_real: FID with its floor, Dice gains at `ratio`, seconds, memory, parameters, FLOP.

    Parameters
    ----------
    ratios : as of ``read_ratio_table``; the gains are those of its first segmenter
    fid : Fréchet distances of all systems, as of ``fid_rows``
    compute : of `compute_table`
    labels : system -> what it is
    ratio : synthetic cases for each real one; None: 1 where there is such an arm, else the smallest there is
    """
    ratios = ratios[ratios.segmenter == ratios.segmenter.iloc[0]]
    mixes = ratios[(ratios.system != REAL_ONLY) & ~ratios.synthetic_only.astype(bool)]
    found = sorted(set(mixes.ratio))
    if ratio is None:
        ratio = 1 if 1 in found or not found else found[0]
    own = compute[compute.setting == RUN].set_index(["system", "part", "quantity"]).value
    plane = "joint" if "joint" in set(fid.plane) else fid.plane.iloc[0]
    rows = []
    for (n_real, system), part in fid[fid.plane == plane].groupby(["n_real", "system"], sort=False):
        distances = part.set_index("comparison").fid
        row = {"n_real": n_real, "system": system, "label": labels[system], "fid_plane": plane}
        row |= {"fid": distances["synthetic"], "fid_floor": distances["floor"], "n_fid_cases": part.n_cases.iloc[0]}
        for arm in mixes[(mixes.n_real == n_real) & (mixes.system == system) & (mixes.ratio == ratio)].itertuples():
            row |= {f"{arm.region}_dice_gain": arm.dice_difference, f"{arm.region}_gain_low": arm.dice_difference_low}
            row |= {f"{arm.region}_gain_high": arm.dice_difference_high}
        row |= {
            "ratio": ratio,
            "seconds_per_volume": own[system, "volume", "time"],
            "peak_memory_mib": own[system, "volume", "peak memory"],
            "parameters_m": own[system, "autoencoder", "parameters"] + own[system, "network", "parameters"],
            "gflop_per_volume": own[system, "volume", "operations"],
        }
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
            interval = "" if isinstance(low, str) else f" [{number(low, 3, True)}, {number(high, 3, True)}]"
            shown[f"Dice gain, {REGION_NAMES[region]}"] = number(gain, 3, True) + interval
        shown["s a volume"] = _amount(row["seconds_per_volume"])
        shown["peak memory, MiB"] = _amount(row["peak_memory_mib"])
        shown["parameters, M"] = _amount(row["parameters_m"])
        shown["GFLOP a volume"] = _amount(row["gflop_per_volume"])
        rows.append(shown)
    return pd.DataFrame(rows)


def comparison_notes(table: pd.DataFrame) -> list[str]:
    """What the columns are."""
    first = table.iloc[0]
    return [
        f"FID: {first.fid_plane} over planes and modalities, synthetic against real cases that no stage has trained on, "
        f"{first.n_fid_cases} cases a side; in parentheses real training cases against the same, at the same number.",
        f"Dice gain: real + {first.ratio:g}x synthetic minus real only; intervals and conventions as in "
        "the augmentation-ratio table.",
        "Time, memory, parameters (autoencoder and network) and operations: as in the compute table.",
    ]


def to_markdown(title: str, parts: Sequence[tuple[str, pd.DataFrame]], notes: Sequence[str], simulated: bool) -> str:
    """Title, notes, and one table a part (heading, table)."""
    lines = [f"# {title}", ""]
    lines += [f"- **{SIMULATED}**"] * simulated + [f"- {note}" for note in notes]
    for heading, table in parts:
        lines += ["", f"## {heading}", "", *markdown_table(table)]
    return "\n".join(lines) + "\n"


def to_latex(
    title: str, parts: Sequence[tuple[str, pd.DataFrame]], notes: Sequence[str], simulated: bool, text_columns: int
) -> str:
    """One floating table a part (heading, table), the notes in the first caption; needs booktabs and graphicx."""
    lines = [LATEX_HEAD]
    for index, (heading, table) in enumerate(parts):
        said = " ".join([SIMULATED] * simulated + list(notes)) if index == 0 else ""
        label = f"{title} {heading}".lower().replace(" ", "-").replace("'", "")
        lines += latex_table(table, f"{title}: {heading}. {said}".strip(), label, text_columns)
    return "\n".join(lines) + "\n"
