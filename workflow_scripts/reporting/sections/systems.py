"""Report: the systems compared, and what each costs to compute."""

from __future__ import annotations

from ..blocks import Heading, Notes, Run, Section, Table
from ..system_tables import (
    comparison_notes,
    compute_notes,
    readable_comparison,
    readable_costs,
    readable_published,
)


def systems(run: Run) -> Section | None:
    """The comparison of the systems."""
    table = run.csv("systems")
    if table is None:
        return None
    name = f"Dice gain at {table.ratio.iloc[0]:g}x"
    blocks = [Heading(name), Table(name, readable_comparison(table)), Notes(comparison_notes(table))]
    return Section("systems", "The systems compared", blocks)


def compute(run: Run) -> Section | None:
    """The costs of the systems: of this run, and at the paper's settings."""
    table = run.csv("compute")
    if table is None:
        return None
    blocks = []
    for name, part in (("This run", readable_costs(table)), ("The paper's settings", readable_published(table))):
        blocks += [Heading(name), Table(f"cost of the systems: {name}", part)]
    return Section("compute", "Their cost", [*blocks, Notes(compute_notes(table))])
