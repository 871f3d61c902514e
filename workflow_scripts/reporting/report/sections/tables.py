"""Report: the sections that are a table of the study and nothing else."""

from ...tables import compute as costs
from ...tables import cost as run_cost
from ...tables import depth_decoder
from ...tables import masks as mask_tables
from ...tables import systems as comparison
from ..blocks import Heading, MadeBy, Notes, Run, Section, Table, table_blocks


def _section(run: Run, anchor: str, title: str, name: str, table) -> Section | None:
    blocks = table_blocks(run, name, table)
    return Section(anchor, title, blocks) if blocks else None


def systems(run: Run) -> Section | None:
    """The comparison of the systems."""
    return _section(run, "systems", "The systems compared", "systems", comparison.TABLE)


def decoders(run: Run) -> Section | None:
    """What the depth decoder changes, and what it costs; None where no system has one."""
    return _section(run, "decoders", depth_decoder.TABLE.title, "depth_decoder", depth_decoder.TABLE)


def masks(run: Run) -> Section | None:
    """Validity of the synthetic masks, and tests of their shapes against real ones."""
    return _section(run, "masks", "Masks: valid, and of the shapes of real ones?", "masks", mask_tables.TABLE)


def cost(run: Run) -> Section | None:
    """Time and memory of the run's jobs, stage by stage."""
    return _section(run, "cost", "What the run cost", "cost", run_cost.TABLE)


def compute(run: Run) -> Section | None:
    """The costs of the systems: of this run, and at the paper's settings."""
    table = run.csv("compute")
    if table is None:
        return None
    blocks = []
    parts = (("This run", costs.readable_costs(table), 1), ("The paper's settings", costs.readable_published(table), 4))
    for name, part, text_columns in parts:
        blocks += [Heading(name), Table(f"cost of the systems: {name}", part, text_columns)]
    made = MadeBy(
        "reporting.make_table compute", run.settings("systems", "evaluation.cost.volumes"), run.paths("compute")
    )
    return Section("compute", "What each system costs to compute", [*blocks, Notes(costs.compute_notes(table)), made])
