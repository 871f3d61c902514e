"""The augmentation-ratio table: region x ratio, as CSV (every number), Markdown (to read) and LaTeX (to print)."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.errors import UserError
from ..base.seeds import numpy_rng
from ..evaluation.arms import Arm, arms_of, distance_column, regions_of, rows_of, score_array
from ..evaluation.segmentation_scores import EMPTY_CONVENTION
from ..evaluation.statistics import best_coverage, paired_difference, summarise
from .text_tables import LATEX_HEAD, latex_table, markdown_table

NOT_MEASURED = "not measured"
REFERENCE = "reference"  # what a difference to real-only is in the real-only row itself
_NUMBER = re.compile(r"-?(\d+(\.\d+)?(e[-+]?\d+)?|inf)")
REGION_NAMES = {"whole_tumor": "whole tumour", "tumor_core": "tumour core", "enhancing_tumor": "enhancing tumour"}
SIMULATED = "SIMULATED COHORT: these patients are a computer model's; the numbers say nothing about real patients."


def ratio_table(scores: pd.DataFrame, bootstrap_samples: int, confidence: float, seed: int) -> pd.DataFrame:
    """One row a region and arm. `scores` as of `read_scores`.

    Every region uses the same resamples of cases for all arms (seeded by `seed` and the region). Entries that were
    not measured are the text "not measured", so that the table holds no NaN.
    """
    distance = distance_column(scores)
    stem = distance.removesuffix("_mm")
    rows = []
    for region in regions_of(scores):
        baselines: dict[int, np.ndarray] = {}
        for arm in arms_of(scores):
            own = rows_of(scores, arm, region)
            dice, hd = score_array(own, "dice"), summarise(score_array(own, distance))
            if arm.is_real_only:
                baselines[arm.n_real] = dice
                difference, interval = REFERENCE, (REFERENCE, REFERENCE)
            else:
                rng = numpy_rng(seed, "bootstrap over cases", region)
                difference, interval = paired_difference(
                    dice, baselines[arm.n_real], bootstrap_samples, confidence, rng
                )
            summary = summarise(dice)
            empty = (own.reference_ml == 0).astype(int) + (own.predicted_ml == 0).astype(int)
            rows.append(
                {
                    "n_real": arm.n_real,
                    "region": region,
                    "system": arm.system,
                    "arm": arm.label,
                    "ratio": arm.ratio,
                    "synthetic_only": arm.synthetic_only,
                    "n_cases": summary.n_cases,
                    "n_seeds": summary.n_seeds,
                    "dice_mean": summary.mean,
                    "dice_sd_cases": summary.sd_cases,
                    "dice_sd_seeds": summary.sd_seeds,
                    f"{stem}_mean_mm": hd.mean,
                    f"{stem}_sd_cases_mm": hd.sd_cases,
                    f"{stem}_sd_seeds_mm": hd.sd_seeds,
                    "dice_difference": difference,
                    "dice_difference_low": interval[0] if interval else None,
                    "dice_difference_high": interval[1] if interval else None,
                    "confidence": confidence,
                    "bootstrap_samples": bootstrap_samples,
                    "empty_in_both": int((empty == 2).sum()),
                    "empty_in_one": int((empty == 1).sum()),
                }
            )
    table = pd.DataFrame(rows)
    table["order"] = np.arange(len(table))
    table = table.sort_values(["n_real", "order"], kind="stable").drop(columns="order")
    return table.map(_cell).reset_index(drop=True)


def _cell(value: object) -> object:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return NOT_MEASURED
    return round(value, 6) if isinstance(value, float) else value


def to_csv(table: pd.DataFrame) -> str:
    """The table as comma-separated text, in full."""
    return table.to_csv(index=False, lineterminator="\n")


def read_mixed_csv(path: str | Path) -> pd.DataFrame:
    """A CSV of ours with its numbers as numbers and its words, such as "not measured", as text. Raises UserError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"missing table {path}: run `snakemake tables`") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no table: {error}. Run `snakemake -R make_tables make_system_tables`") from None
    for name in table.columns:
        table[name] = pd.Series([_value(cell) for cell in table[name]], dtype=object)
    return table


def read_ratio_table(path: str | Path) -> pd.DataFrame:
    """The CSV of ``make_tables``. Raises UserError."""
    table = read_mixed_csv(path)
    if table.empty or "dice_difference" not in table.columns:
        raise UserError(
            f"{path} is no augmentation-ratio table: no row, or no column dice_difference. "
            "Run `snakemake -R make_tables`"
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


def hd_stem(table: pd.DataFrame) -> str:
    """``hd95`` of the column ``hd95_mean_mm``."""
    return next(name for name in table.columns if name.startswith("hd") and name.endswith("_mean_mm")).split("_")[0]


def arm_of(row: pd.Series) -> Arm:
    """The arm that a row of the table describes."""
    return Arm(int(row.n_real), str(row.system), float(row.ratio), bool(row.synthetic_only))


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: one column an idea, rounded, all cells text."""
    stem = hd_stem(table)
    rows = []
    for _, row in table.iterrows():
        low, high = row.dice_difference_low, row.dice_difference_high
        if isinstance(low, str) or isinstance(high, str):
            interval = "" if row.dice_difference == REFERENCE else f" [{NOT_MEASURED}]"
        else:
            interval = f" [{number(low, 3, True)}, {number(high, 3, True)}]"
        rows.append(
            {
                "region": REGION_NAMES.get(row.region, row.region),
                "system": "" if arm_of(row).is_real_only else row.system,
                "training cases": row.arm,
                "Dice": number(row.dice_mean, 3),
                "Dice minus real only": number(row.dice_difference, 3, True) + interval,
                "Dice sd cases": number(row.dice_sd_cases, 3),
                "Dice sd seeds": number(row.dice_sd_seeds, 3),
                f"{stem.upper()} mm": number(row[f"{stem}_mean_mm"], 1),
                f"{stem.upper()} sd cases": number(row[f"{stem}_sd_cases_mm"], 1),
                "empty in one": f"{row.empty_in_one} of {row.n_cases * row.n_seeds}",
            }
        )
    return pd.DataFrame(rows)


def caption(table: pd.DataFrame, simulated: bool) -> list[str]:
    """What the numbers are, in sentences: metric, split, n, seeds, interval, conventions."""
    first = table.iloc[0]
    n, seeds, confidence = int(first.n_cases), int(first.n_seeds), float(first.confidence)
    stem = hd_stem(table).upper()
    sentences = [SIMULATED] if simulated else []
    sentences += [
        f"Dice and {stem} (mm) of nnU-Net's predictions against the expert's masks, on the original grid of each case.",
        f"Test split: {n} {'simulated' if simulated else 'real'} case{'s' * (n != 1)} that no stage has seen; {seeds} training seed{'s' * (seeds != 1)} "
        "an arm; means are over cases and seeds.",
        '"2x synthetic" is two synthetic cases for each real training patient. The same real training patients train '
        "the generator and the segmentation.",
        'Spread: "sd cases" is the standard deviation over cases of their mean over seeds, "sd seeds" that over seeds '
        "of their mean over cases.",
        f"Difference: to real only at the same n_real, paired over cases, seeds averaged within each case; in brackets "
        f"its {confidence:.0%} bootstrap interval (expanded percentile, {int(first.bootstrap_samples)} resamples of "
        "cases). It holds for these trained networks: neither seeds nor generators are resampled, and it is not "
        "corrected for the number of arms.",
    ]
    if n > 1 and best_coverage(n) < confidence:
        sentences.append(
            f"With {n} cases no bootstrap interval can cover more than {best_coverage(n):.0%}: read the brackets as a "
            "range, not as evidence."
        )
    if n < 2 or seeds < 2:
        few = " and ".join(
            text for text, lacks in (("one test case", n < 2), ("one training seed", seeds < 2)) if lacks
        )
        sentences.append(f'With {few} the spread over it was not measured ("{NOT_MEASURED}").')
    sentences += [
        f'Convention: {EMPTY_CONVENTION}; "empty in one" counts how often the latter happened (cases x seeds).',
        "Every arm trains the same number of iterations; at higher ratios each real case is seen less.",
    ]
    return sentences


def to_markdown(table: pd.DataFrame, simulated: bool) -> str:
    """Title, caption, and a table for each n_real."""
    lines = ["# Segmentation by augmentation ratio", ""]
    for sentence in caption(table, simulated):
        lines.append(f"- **{sentence}**" if sentence == SIMULATED else f"- {sentence}")
    for n_real, part in table.groupby("n_real", sort=True):
        lines += ["", f"## {n_real} real training patients", "", *markdown_table(readable(part))]
    return "\n".join(lines) + "\n"


def to_latex(table: pd.DataFrame, simulated: bool) -> str:
    """A floating table for each n_real; needs the booktabs package."""
    lines = [LATEX_HEAD]
    note = " ".join(caption(table, simulated))
    for n_real, part in table.groupby("n_real", sort=True):
        title = f"Segmentation by augmentation ratio, {n_real} real training patients. {note}"
        lines += latex_table(readable(part), title, f"augmentation-ratio-{n_real}", text_columns=3, grouped=True)
    return "\n".join(lines) + "\n"
