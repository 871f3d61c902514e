"""The ladder: what a perfect generator could bring, and where it is lost."""

import pandas as pd

from ...evaluation.scores import read_scores
from ...evaluation.statistics.ladder import NO_RUNG, REAL, is_limited, ladder_table
from ...study.arms import CEILING, RECONSTRUCTIONS, REPLACE, ladder_ratio
from ..looks import region_name
from .cells import count_of, ends, marked, number, onset_note, segmenter_cell
from .text import Table


def rung_name(row: pd.Series) -> str:
    """A rung in a few words."""
    if row.rung in (REAL, CEILING):
        return {REAL: "real only", CEILING: f"+ {row.ratio:g}x other real patients: the ceiling"}[row.rung]
    if row.rung == RECONSTRUCTIONS:
        return f"+ their reconstructions by {row.system}"
    way = "" if row.mixing == REPLACE else f", {row.mixing.replace('_', ' ')}"
    return f"+ {row.ratio:g}x {row.system}{way}"


def _with_ends(row: pd.Series, name: str) -> str:
    value, low, high = (row[column] for column in (name, f"{name}_low", f"{name}_high"))
    if value == NO_RUNG:
        return "-"
    return f"{number(value, 3, True)} {ends(low, high, lambda end: number(end, 3, True))}"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A row a region and rung, as people read it."""

    def price(row: pd.Series) -> str:
        shown = _with_ends(row, "price")
        return shown if shown == "-" else f"{shown} ({row.price_against})"

    return pd.DataFrame(
        {
            "region": region_name(row.region),
            **segmenter_cell(table, row),
            "trained on": rung_name(row),
            "Dice": marked(number(row.dice_mean, 3), row.onset),
            "gain over real only": _with_ends(row, "gain"),
            "minus the rung above": price(row),
        }
        for _, row in table.iterrows()
    )


def missing_ladders(table: pd.DataFrame) -> list[int]:
    """The n_real that have no ceiling."""
    return sorted(set(table.n_real) - set(table.n_real[table.rung == CEILING]))


def notes(table: pd.DataFrame, simulated: bool) -> list[str]:
    """What the rungs are, and where there is no ladder."""
    first = table.iloc[0]
    sentences = [
        "Ceiling: real cases and as many other real patients as the ratio says, the next of the nested order, never those of "
        "validation or test: what no generator can be asked to pass. Their reconstructions: the same patients, encoded and "
        "decoded by an autoencoder that has seen the train subset alone, through the gate's cut and the files of synthetic "
        "cases. All arms make the same steps; patches of ceiling and reconstructions are drawn uniformly from the list of all "
        "their cases, as by `replace`.",
        "Minus the rung above: of reconstructions minus the ceiling, the price of the autoencoder; of a system minus the "
        "reconstructions of its autoencoder, the price of its generator (minus the ceiling where it has none).",
        f"In brackets: {float(first.confidence):.0%} bootstrap intervals of paired differences, {int(first.bootstrap_samples)} "
        f"resamples of {count_of(int(first.n_patients), 'test patient')} and of {count_of(int(first.n_seeds), 'seed')}"
        f"{' (which stays as it is)' * (int(first.n_seeds) < 2)}, not corrected for their number. Neither autoencoder nor "
        "generator is trained again.",
        "Where the ceiling is not above real only, the study is not limited by its patients: it cannot show a gain.",
    ]
    ceilings = table[table.rung == CEILING]
    for (n_real, _), rows in ceilings.groupby(["n_real", "segmenter"], sort=True):
        shown = [region_name(row.region) for _, row in rows.iterrows() if is_limited(row)]
        said = (
            f"the ceiling is above real only for {', '.join(shown)}"
            if shown
            else "the ceiling is above real only nowhere"
        )
        sentences.append(f"With {n_real} patients {said}, by the interval.")
    if missing := missing_ladders(table):
        sentences.append(
            f"No ceiling and no reconstructions with {', '.join(map(str, missing))} patients: no train subset is large enough to "
            "hold so many others, or segmentation.ladder is null. A larger size in splits.n_real or "
            "segmentation.learning_curve gives them."
        )
    return sentences + onset_note(table.onset)


def ladder_settings(settings: dict) -> dict:
    """What `ladder_table` takes beside the scores, from the settings of the table."""
    named = {name: system["autoencoder"] for name, system in settings["system"].items()}
    autoencoders = {name: block["name"] if block else None for name, block in named.items()}
    block = {"ladder": settings["ladder"] or {"ratio": None}, "ratios": settings["ratios"]}
    drawn = {key: settings["tables"][key] for key in ("bootstrap_samples", "confidence", "seed")}
    return {"autoencoders": autoencoders, "ratio": ladder_ratio(block), **drawn}


def _make(files: dict, settings: dict) -> pd.DataFrame:
    return ladder_table(read_scores(files["scores"]), **ladder_settings(settings))


def _parts(table: pd.DataFrame, settings: dict) -> list[tuple[str, pd.DataFrame]]:
    return [(f"{n} real training patients", readable(part)) for n, part in table.groupby("n_real", sort=True)]


TABLE = Table("The ladder: what the study can show, and where a gain is lost", _make, _parts, notes, text_columns=2)
