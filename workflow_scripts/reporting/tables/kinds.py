"""Kinds of tumour: what the training cases hold of each, and what each arm gains in it."""

import pandas as pd

from ...base.files import read_tsv
from ...evaluation.scores import read_scores
from ...evaluation.statistics.kinds import kinds_table
from ..looks import region_name
from .cells import count_of, onset_note
from .ladder import ladder_settings
from .ladder import readable as readable_ladder
from .text import Table


def _kind(row: pd.Series) -> str:
    return f"{row.kind} {region_name(row.kind_of)}"


def unseen(table: pd.DataFrame) -> list[str]:
    """A sentence on each kind of tumour that stands in the test set and in no training case."""
    rows = table[table.kind_train_cases == 0] if len(table) else table
    return [
        f"No training case of {n_real} real patients is {_kind(rows.iloc[0])}, as {rows.iloc[0].kind_test_cases} of "
        f"{rows.iloc[0].test_cases} test cases are: what such a tumour looks like, nothing that learned from them can show. What "
        "other real patients gain there is no measure of a generator."
        for (n_real, _, _), rows in rows.groupby(["n_real", "kind_of", "kind"], sort=False)
    ]


def notes(table: pd.DataFrame, simulated: bool) -> list[str]:
    if table.empty:
        return ["All test cases have the same regions: there is one kind of tumour."]
    first = table.iloc[0]
    return [
        *unseen(table),
        f"Rungs and gains as in the ladder, over the test cases of one kind alone. In brackets: {float(first.confidence):.0%} "
        f"intervals, {int(first.bootstrap_samples)} resamples of the patients of that kind and of {count_of(int(first.n_seeds), 'seed')}, not "
        "corrected for their number. Of a region that neither truth nor prediction has, Dice is 1; that only one of them has, 0.",
        *onset_note(table.onset),
    ]


def _make(files: dict, settings: dict) -> pd.DataFrame:
    train = {int(file.parent.name.removeprefix("n_real~")): read_tsv(file) for file in files["conditions"]}
    return kinds_table(read_scores(files["scores"]), train, **ladder_settings(settings))


def _parts(table: pd.DataFrame, settings: dict) -> list[tuple[str, pd.DataFrame]]:
    parts = []
    for (n_real, _, _), part in table.groupby(["n_real", "kind_of", "kind"], sort=False):
        row = part.iloc[0]
        held = f"{row.kind_train_cases} of {count_of(int(row.train_cases), 'training case')}"
        heading = f"{n_real} real training patients: {_kind(row)} ({held}, {row.kind_test_cases} of {row.test_cases} test cases)"
        parts.append((heading, readable_ladder(part)))
    return parts


TABLE = Table(
    "Kinds of tumour: what was learned from, and what was gained in each", _make, _parts, notes, text_columns=2
)
