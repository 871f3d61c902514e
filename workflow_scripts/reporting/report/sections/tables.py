"""Report: the sections that are tables of the study, with the figures that belong to them."""

from collections.abc import Callable

from ....base.files import read_json
from ...registry import TABLES
from ...tables import augmentation_ratio as ratio
from ...tables import compute as costs
from ...tables import control as control_table
from ...tables import cost as run_cost
from ...tables import exchange as exchange_table
from ...tables import ladder as ladder_table
from ...tables import masks as mask_tables
from ...tables import memorisation as copies
from ...tables import systems as comparison
from ..blocks import Caution, Heading, MadeBy, Notes, Run, Section, Table, table_blocks


def _of_table(anchor: str, title: str, name: str, table, figure: str = "") -> Callable[[Run], Section | None]:
    """A section of the table of that name and of the figures of another; None where the table was not given."""

    def section(run: Run) -> Section | None:
        blocks = table_blocks(run, name, table)
        return Section(anchor, title, blocks + (run.figures(figure) if figure else [])) if blocks else None

    return section


ladder = _of_table("ladder", ladder_table.TABLE.title, "ladder", ladder_table.TABLE, "ladder")
exchange = _of_table("exchange", exchange_table.TABLE.title, "exchange", exchange_table.TABLE, "exchange")
systems = _of_table("systems", "The systems compared", "systems", comparison.TABLE)
masks = _of_table("masks", "Masks: valid, and of the shapes of real ones?", "masks", mask_tables.TABLE)
_asked = "Control: what was requested, and what came out"
control = _of_table("control", _asked, "control", control_table.TABLE, "control_sweep")


def ratios(run: Run) -> Section:
    """For each n_real the readable ratio table, what its numbers are, and the figure."""
    blocks = []
    for n_real, part in run.table.groupby("n_real", sort=True):
        for heading, shown in ratio.readable_parts(part):
            name = f"{n_real} real training patients: {heading}"
            blocks += [Heading(name), Table(f"augmentation ratios, {name}", shown, 2, group="region")]
    blocks.append(Notes(ratio.caption(run.table, run.simulated)))
    if run.paths("augmentation_ratio"):
        made = run.settings(*TABLES["augmentation_ratio"].said)
        blocks.append(MadeBy("reporting.make_table augmentation_ratio", made, run.paths("augmentation_ratio")))
    blocks += run.figures("dice_vs_ratio")
    return Section("ratios", "Segmentation by augmentation ratio", blocks)


def memorisation(run: Run) -> Section | None:
    """The share of copies by each threshold, and the nearest pairs."""
    table = run.csv("memorisation")
    if table is None:
        return None
    warnings = copies.memorisation_warnings(table)
    blocks = [*map(Caution, warnings), *table_blocks(run, "memorisation", copies.TABLE, cautions=warnings)]
    title = "Memorisation: are synthetic cases copies of training cases?"
    return Section("memorisation", title, blocks + run.figures("memorisation"))


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


def cost(run: Run) -> Section | None:
    """What the run cost, beside what `make estimate` said before it, where that was asked."""
    blocks = table_blocks(run, "cost", run_cost.TABLE)
    if not blocks:
        return None
    said = run.paths("cost")[0].parents[1] / "estimate.json"
    if said.is_file():
        estimate = read_json(said)
        shown = run_cost.beside_estimate(run.csv("cost"), estimate["rows"])
        blocks += [Heading("Estimated before it"), Table("cost as estimated", shown, 1), Notes([estimate["by"]])]
    return Section("cost", "What the run cost", blocks)
