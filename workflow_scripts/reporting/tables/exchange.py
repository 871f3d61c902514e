"""The exchange rate: N real patients and synthetic ones in real patients."""

import pandas as pd

from ...evaluation.scores import read_scores
from ...evaluation.statistics.exchange import BELOW, BEYOND, CURVE, NO_CURVE, WORTH, exchange_table
from ...study.arms import NO_CONTROL, REAL_ONLY, REPLACE
from ..looks import region_name
from .cells import count_of, ends, marked, number, onset_note, segmenter_cell
from .text import Table

SHORT = {BEYOND: "beyond", BELOW: "below"}


def further(value: object) -> str:
    """A number of patients for readers."""
    return SHORT.get(value, value) if isinstance(value, str) else number(value, 1, True)


def readable_curve(table: pd.DataFrame) -> pd.DataFrame:
    """Dice of real only against patients."""

    def dice(row: pd.Series) -> str:
        interval = ends(row.dice_low, row.dice_high, lambda end: number(end, 3))
        return marked(f"{number(row.dice_mean, 3)} {interval}", row.onset)

    return pd.DataFrame(
        {
            "region": region_name(row.region),
            **segmenter_cell(table, row),
            "real patients": str(row.n_real),
            "Dice": dice(row),
            "curve": number(row.curve, 3),
        }
        for _, row in table[table.row == CURVE].iterrows()
    )


def readable_worth(table: pd.DataFrame) -> pd.DataFrame:
    """What each arm is worth."""

    def worth(row: pd.Series) -> str:
        known = row.further_patients != NO_CURVE
        return f"{further(row.further_patients)} {_range(row)}" if known else NO_CURVE

    return pd.DataFrame(
        {
            "region": region_name(row.region),
            **segmenter_cell(table, row),
            "real patients": str(row.n_real),
            "system": "" if row.system == REAL_ONLY else row.system,
            "training cases": row.arm,
            "Dice": marked(number(row.dice_mean, 3), row.onset),
            "gain over real only": number(row.gain, 3, True),
            "worth, further real patients": worth(row),
        }
        for _, row in table[table.row == WORTH].iterrows()
    )


def _range(row: pd.Series) -> str:
    return ends(row.further_patients_low, row.further_patients_high, further)


def worth_sentence(row: pd.Series) -> str:
    """What an arm is worth, in a sentence's part: ``3 + 1x slice_ldm is worth 3 + 2.1 real patients [+0.4, beyond]``."""
    way = "" if row.mixing == REPLACE else f" ({row.mixing.replace('_', ' ')})"
    k, name = row.further_patients, f"{row.n_real} + {row.ratio:g}x {row.system}{way}"
    if k == NO_CURVE:
        return f"{name} could not be priced: there is one size of real only"
    if isinstance(k, str):
        return f"{name} is {'worth more' if k == BEYOND else 'worth less'} than the curve tells {_range(row)}"
    return f"{name} is worth {row.n_real} {'-' if k < 0 else '+'} {abs(k):.1f} real patients {_range(row)}"


def notes(table: pd.DataFrame, simulated: bool) -> list[str]:
    """How the worth is found, and what is not in its interval."""
    first, sizes = table.iloc[0], sorted(set(table.n_real[table.row == CURVE]))
    sentences = [
        f"Dice of real only at {', '.join(map(str, sizes))} patients, in which the curve may not fall (isotonic regression), with a "
        "straight line over the logarithm of the number between two sizes. An arm's gain over real only at its own number N, "
        "put on the curve at N, is looked up on it: N + k is where the curve reaches it.",
        f'"beyond": the curve ends before, at {sizes[-1]} patients; "below": it begins after, at {sizes[0]}. A further size in '
        "segmentation.learning_curve makes it longer, and costs no generator.",
        f"In brackets: {float(first.confidence):.0%} intervals, {int(first.bootstrap_samples)} resamples of "
        f"{count_of(int(first.n_patients), 'test patient')} and {count_of(int(first.n_seeds), 'seed')}, the same for the arm and for "
        "the whole curve. Which patients come first in the nested order is not in them: there is one order. Other real "
        "patients at 1x should be worth + N: how far they are from it says how well the curve knows.",
    ]
    if len(sizes) < 2:
        sentences.append(f"There is one size of real only, so {NO_CURVE}: name others in segmentation.learning_curve.")
    wholes = table[(table.row == WORTH) & (table.region == first.region) & (table.control == NO_CONTROL)]
    if len(sizes) > 1 and len(wholes):
        said = "; ".join(worth_sentence(row) for _, row in wholes.iterrows())
        sentences.append(f"By the {region_name(first.region)}: {said}.")
    return sentences + onset_note(table.onset)


def _make(files: dict, settings: dict) -> pd.DataFrame:
    drawn = {key: settings["tables"][key] for key in ("bootstrap_samples", "confidence", "seed")}
    return exchange_table(read_scores(files["scores"]), **drawn)


def _parts(table: pd.DataFrame, settings: dict) -> list[tuple[str, pd.DataFrame]]:
    parts = [("Dice against real patients", readable_curve(table))]
    made = readable_worth(table)
    return parts + [("What synthetic cases are worth", made)] * (len(made) > 0)


TABLE = Table("The exchange rate: synthetic cases in real patients", _make, _parts, notes, text_columns=2)
