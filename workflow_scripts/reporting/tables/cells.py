"""Tables as files, and what their cells look like to readers."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ...base.errors import UserError
from ...evaluation.statistics.onset import FEWEST, NOTHING, RISE, is_early
from ...evaluation.statistics.ratio_table import NOT_MEASURED
from ...study.segmenters import SEGMENTERS

_NUMBER = re.compile(r"-?(\d+(\.\d+)?(e[-+]?\d+)?|inf)")
SIMULATED = "SIMULATED COHORT: these patients are a computer model's; the numbers say nothing about real patients."
THIS_RUN = "this run"  # a setting of compute.csv


def read_mixed_csv(path: str | Path) -> pd.DataFrame:
    """A CSV of ours with its numbers as numbers and its words, such as "not measured", as text. Raises UserError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"missing table {path}: run `snakemake tables`") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no table: {error}. Run `snakemake -R make_table`") from None
    for name in table.columns:
        table[name] = pd.Series([_value(cell) for cell in table[name]], dtype=object)
    return table


def read_ratio_table(path: str | Path) -> pd.DataFrame:
    """augmentation_ratio.csv. Raises UserError."""
    table = read_mixed_csv(path)
    if table.empty or "dice_difference" not in table.columns:
        raise UserError(
            f"{path} is no augmentation-ratio table: no row, or no column dice_difference. "
            "Run `snakemake -R make_table`"
        )
    return table


def _value(cell: str) -> object:
    if cell in ("True", "False"):
        return cell == "True"
    if not _NUMBER.fullmatch(cell):
        return cell
    return float(cell) if any(mark in cell for mark in ".en") else int(cell)


def number(value: object, digits: int, signed: bool = False) -> str:
    """A cell for readers: a rounded number, or the text that it is."""
    if isinstance(value, str):
        return value
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def with_interval(value: object, low: object, high: object, digits: int, signed: bool = False) -> str:
    """A cell for readers: a rounded number, and its interval in brackets where one was measured."""
    text = number(value, digits, signed)
    return text if isinstance(low, str) else f"{text} [{number(low, digits, signed)}, {number(high, digits, signed)}]"


def ends(low: object, high: object, text: Callable[[object], str]) -> str:
    """An interval in brackets, each end as `text` says it; where it was not measured, that."""
    return f"[{NOT_MEASURED}]" if NOT_MEASURED in (low, high) else f"[{text(low)}, {text(high)}]"


def segmenter_cell(table: pd.DataFrame, row: pd.Series) -> dict[str, str]:
    """Whose the row is, where the table has several segmenters."""
    return {"segmenter": SEGMENTERS[row.segmenter]} if table.segmenter.nunique() > 1 else {}


EARLY = "†"  # beside the Dice of a training that had not got past its onset


def marked(text: str, onset: object) -> str:
    """A Dice for readers, with a sign where the validation Dice of a seed was still rising, or at zero, at its end."""
    return f"{text} {EARLY}" if is_early(onset) else text


def onset_note(words: pd.Series) -> list[str]:
    """The sentence to the sign, where one of the arms has it, by the text of `onset.of_seeds`; else none."""
    if not words.map(is_early).any():
        return []
    return [
        f"{EARLY}: the training had not got past its onset, in one seed at least: its validation Dice stood below {NOTHING:g}, "
        f"or rose by more than {RISE:g} and more than its noise, over the last third of its epochs ({FEWEST} or more), or "
        "it got no voxel of the region right in any test case that has it. Such a Dice says how "
        "fast it learned, not on what: train longer (segmentation.epochs), or with a larger "
        "segmentation.initial_learning_rate, before arms are compared."
    ]


def count_of(amount: float, noun: str) -> str:
    """``3 cases``, ``1 case``."""
    return f"{f'{amount:g}' if isinstance(amount, float) else amount} {noun}{'s' * (amount != 1)}"


def hd_stem(table: pd.DataFrame) -> str:
    """``hd95`` of the column ``hd95_mean_mm``."""
    return next(name for name in table.columns if name.startswith("hd") and name.endswith("_mean_mm")).split("_")[0]


def amount(value: object) -> str:
    """Three significant digits, without an exponent."""
    if isinstance(value, str):
        return value
    value = float(value)
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}" if value else "0"
