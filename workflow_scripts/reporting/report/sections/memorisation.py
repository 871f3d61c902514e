"""Report: whether synthetic cases are copies of training cases."""

from ...tables.memorisation import TABLE, memorisation_warnings
from ..blocks import Caution, Run, Section, table_blocks


def memorisation(run: Run) -> Section | None:
    """The share of copies by each threshold, and the nearest pairs."""
    table = run.csv("memorisation")
    if table is None:
        return None
    warnings = memorisation_warnings(table)
    blocks = [*map(Caution, warnings), *table_blocks(run, "memorisation", TABLE, cautions=warnings)]
    return Section(
        "memorisation",
        "Memorisation: are synthetic cases copies of training cases?",
        blocks + run.figures("memorisation"),
    )
