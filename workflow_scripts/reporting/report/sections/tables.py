"""Report: the opening, and the sections that are tables of the study with the figures that belong to them."""

from collections.abc import Callable

from ....base.files import read_json
from ...looks import region_name
from ...registry import TABLES
from ...tables import augmentation_ratio as ratio
from ...tables import compute as costs
from ...tables import control as control_table
from ...tables import cost as run_cost
from ...tables import exchange as exchange_table
from ...tables import kinds as kinds_of_tumour
from ...tables import ladder as ladder_table
from ...tables import masks as mask_tables
from ...tables import memorisation as copies
from ...tables import shortest
from ...tables import systems as comparison
from ..blocks import Caution, Details, Heading, MadeBy, Notes, Run, Section, Table, Text, table_blocks


def folded(run: Run, name: str, blocks: list) -> list:
    """What the table of that name shows, in a sentence, and the table with all that belongs to it behind a click."""
    said = TABLES[name].says(run.simulated)[0].removesuffix(" Simulated cohort.")  # the banner says so
    return [Text(said), Details("The table, and what its numbers are", blocks)]


def _of_table(anchor: str, title: str, name: str, table, figure: str = "") -> Callable[[Run], Section | None]:
    """A section of the table of that name and of the figures of another; None where the table was not given."""

    def section(run: Run) -> Section | None:
        blocks = table_blocks(run, name, table)
        if not blocks:
            return None
        return Section(anchor, title, (run.figures(figure) if figure else []) + folded(run, name, blocks))

    return section


exchange = _of_table("exchange", exchange_table.TABLE.title, "exchange", exchange_table.TABLE, "exchange")
systems = _of_table("systems", "The systems compared", "systems", comparison.TABLE)
masks = _of_table("masks", "Masks: valid, and of the shapes of real ones?", "masks", mask_tables.TABLE)
_asked = "Control: what was requested, and what came out"
control = _of_table("control", _asked, "control", control_table.TABLE, "control_sweep")


def _shortest(run: Run, region: str) -> Table:
    table = run.table[run.table.region == region]
    name = f"Dice of the {region_name(region)} by what was trained on"
    return Table(name, shortest.shortest(table), 1, group="patients", narrow=True)


def results(run: Run) -> Section:
    """The ladder and the ratio figure, the one table that everybody reads, and all other scores behind clicks."""
    first, *others = run.table.region.drop_duplicates()
    blocks = [
        *run.figures("ladder"),
        *run.figures("dice_vs_ratio"),
        Heading(f"Dice of the {region_name(first)}"),
        _shortest(run, first),
        Notes(shortest.shortest_notes(run.table[run.table.region == first], run.simulated)),
    ]
    if others:
        inner = [
            block for name in others for block in (Heading(f"Dice of the {region_name(name)}"), _shortest(run, name))
        ]
        blocks.append(Details(f"The same of {' and '.join(map(region_name, others))}", inner))
    if ladder := table_blocks(run, "ladder", ladder_table.TABLE):
        blocks.append(Details("The ladder as a table: where a gain is lost", ladder))
    if (kinds := run.csv("kinds")) is not None and len(kinds):
        blocks += map(Caution, kinds_of_tumour.unseen(kinds))
        inner = table_blocks(run, "kinds", kinds_of_tumour.TABLE)
        blocks.append(Details("The ladder by kind of tumour: with and without a region", inner))
    return Section("results", "What each arm brings", [*blocks, _every_score(run)])


def _every_score(run: Run) -> Details:
    """For each n_real the readable ratio tables, and what their numbers are."""
    blocks = []
    for n_real, part in run.table.groupby("n_real", sort=True):
        for heading, shown in ratio.readable_parts(part):
            name = f"{n_real} real training patients: {heading}"
            blocks += [Heading(name), Table(f"augmentation ratios, {name}", shown, 2, group="region")]
    blocks.append(Notes(ratio.caption(run.table, run.simulated)))
    if run.paths("augmentation_ratio"):
        made = run.settings(*TABLES["augmentation_ratio"].said)
        blocks.append(MadeBy("reporting.make_table augmentation_ratio", made, run.paths("augmentation_ratio")))
    return Details("Every score: spread, surface distance, lesions, tests and conventions", blocks)


def memorisation(run: Run) -> Section | None:
    """The share of copies by each threshold, and the nearest pairs."""
    table = run.csv("memorisation")
    if table is None:
        return None
    warnings = copies.memorisation_warnings(table)
    inner = table_blocks(run, "memorisation", copies.TABLE, cautions=warnings)
    pairs = (
        [Details("Synthetic cases beside their nearest training cases", found)]
        if (found := run.figures("memorisation"))
        else []
    )
    title = "Memorisation: are synthetic cases copies of training cases?"
    return Section("memorisation", title, [*map(Caution, warnings), *folded(run, "memorisation", inner), *pairs])


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
    blocks += [Notes(costs.compute_notes(table)), made]
    return Section("compute", "What each system costs to compute", folded(run, "compute", blocks))


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
    return Section("cost", "What the run cost", folded(run, "cost", blocks))
