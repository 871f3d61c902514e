"""The table of what each system costs to compute: counted and measured, beside what the paper prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ...evaluation.statistics.ratio_table import NOT_MEASURED
from ...study.conditions import condition_names
from ...study.generators import is_external
from ...study.settings.systems import shipped_systems
from .cells import THIS_RUN, amount
from .text import Table, read_together

PAPER = "the paper's"
COMPUTE_COLUMNS = ("system", "setting", "part", "quantity", "value", "unit", "published", "note")


def compute_table(
    systems: Mapping[str, dict],
    shipped: Mapping[str, dict],
    channels: tuple[int, int],
    size: Sequence[int],
    conditions: Sequence[str],
    measured: pd.DataFrame,
) -> pd.DataFrame:
    """One row a number: `COMPUTE_COLUMNS`; `published` is the paper's own figure, where it prints one.

    systems : resolved systems of the run, at its widths
    shipped : systems of config/systems/ as shipped, whose ``published`` settings are counted
    channels : (modalities, masks) of the run
    size : [D, H, W] of the run
    conditions : names of the run's tumour conditions
    measured : rows of measure_cost
    """
    from ...evaluation.system_cost import published_cost, system_cost  # torch: the report reads tables without it

    rows = []
    for name, system in systems.items():
        cost = system_cost(system, *channels, size, conditions)
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
        rows += [_row(name, THIS_RUN, *value) for value in values]
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


def readable_costs(table: pd.DataFrame) -> pd.DataFrame:
    """The run's own costs: a row a system."""
    own = table[table.setting == THIS_RUN]
    values = {system: part.set_index(["part", "quantity"]).value for system, part in own.groupby("system", sort=False)}
    return pd.DataFrame(
        {
            "system": system,
            "autoencoder, M": amount(value["autoencoder", "parameters"]),
            "network, M": amount(value["network", "parameters"]),
            "encode, GFLOP": amount(value["encode", "operations"]),
            "one call, GFLOP": amount(value["call", "operations"]),
            "calls": f"{value['call', 'calls for a volume']:.0f}",
            "sampling, GFLOP": amount(value["sampling", "operations"]),
            "decode, GFLOP": amount(value["decode", "operations"]),
            "s a volume": amount(value["volume", "time"]),
            "peak memory, MiB": amount(value["volume", "peak memory"]),
        }
        for system, value in values.items()
    )


def readable_published(table: pd.DataFrame) -> pd.DataFrame:
    """Our count beside the paper's figure, in its unit and at its setting: a row a part."""
    rows = []
    for row in table[table.setting != THIS_RUN].itertuples():
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
    timed = table[(table.setting == THIS_RUN) & (table.quantity == "time")]
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
        f"{row.system}, {row.part}: {row.note}." for row in table[table.setting != THIS_RUN].itertuples() if row.note
    )
    return notes + list(seen)


def _make(files: Mapping[str, list[Path]], settings: dict) -> pd.DataFrame:
    from ...training.case_volumes import mask_names

    regions = settings["regions"]
    masks = mask_names(regions, settings["rule"] != "none", settings["foreground_channel"])
    return compute_table(
        {name: settings["system"][name] for name in settings["systems"] if not is_external(settings["system"][name])},
        {name: system.plain() for name, system in shipped_systems().items()},
        (len(settings["modalities"]), len(masks)),
        settings["size"],
        condition_names(regions),
        read_together(files["costs"]),
    )


def _parts(table: pd.DataFrame, settings: dict) -> list[tuple[str, pd.DataFrame]]:
    size = "x".join(map(str, settings["size"]))
    return [(f"This run, {size} voxels", readable_costs(table)), ("The paper's settings", readable_published(table))]


TABLE = Table("Cost of the systems", _make, _parts, lambda table, simulated: compute_notes(table))
