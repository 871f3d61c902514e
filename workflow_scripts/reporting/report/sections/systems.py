"""Report: the systems compared, and what each costs to compute."""

from __future__ import annotations

from ...tables.systems import comparison_notes, compute_notes, readable_comparison, readable_costs, readable_published
from ..blocks import Heading, MadeBy, Notes, Run, Section, Table


def _made(run: Run, name: str, *keys: str) -> MadeBy:
    return MadeBy("make_system_tables", run.settings(*keys), run.paths(name))


def systems(run: Run) -> Section | None:
    """The comparison of the systems."""
    table = run.csv("systems")
    if table is None:
        return None
    name = f"Dice gain at {table.ratio.iloc[0]:g}x"
    blocks = [Heading(name), Table(name, readable_comparison(table)), Notes(comparison_notes(table))]
    blocks.append(_made(run, "systems", "systems", "evaluation.comparison_ratio"))
    return Section("systems", "The systems compared", blocks)


def compute(run: Run) -> Section | None:
    """The costs of the systems: of this run, and at the paper's settings."""
    table = run.csv("compute")
    if table is None:
        return None
    blocks = []
    parts = (("This run", readable_costs(table), 1), ("The paper's settings", readable_published(table), 4))
    for name, part, text_columns in parts:
        blocks += [Heading(name), Table(f"cost of the systems: {name}", part, text_columns)]
    blocks += [Notes(compute_notes(table)), _made(run, "compute", "systems", "evaluation.cost.volumes")]
    return Section("compute", "What each system costs to compute", blocks)
