"""Report: what the run itself cost."""

from __future__ import annotations

from ...tables.cost import cost_notes, readable_cost
from ..blocks import MadeBy, Notes, Run, Section, Table


def cost(run: Run) -> Section | None:
    """Time and memory of the run's jobs, stage by stage."""
    table = run.csv("cost")
    if table is None:
        return None
    made = MadeBy("make_cost_table", (), run.paths("cost"))
    shown = [Table("cost of the run", readable_cost(table)), Notes(cost_notes(table)), made]
    return Section("cost", "What the run cost", shown)
