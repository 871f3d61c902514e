"""Report: the augmentation-ratio table and its figure."""

from __future__ import annotations

from ...registry import TABLES
from ...tables.augmentation_ratio import caption, readable_parts
from ..blocks import Figure, Heading, MadeBy, Notes, Run, Section, Table


def ratios(run: Run) -> Section:
    """For each n_real the readable ratio table, what its numbers are, and the figure."""
    blocks = []
    for n_real, part in run.table.groupby("n_real", sort=True):
        for heading, shown in readable_parts(part):
            name = f"{n_real} real training patients: {heading}"
            blocks += [Heading(name), Table(f"augmentation ratios, {name}", shown, 2, group="region")]
    blocks.append(Notes(caption(run.table, run.simulated)))
    made = run.settings(*TABLES["augmentation_ratio"].said)
    if run.paths("augmentation_ratio"):
        blocks.append(MadeBy("make_table augmentation_ratio", made, run.paths("augmentation_ratio")))
    blocks += [
        Figure(
            path,
            alt="Mean test Dice against the number of synthetic cases for each real patient, a panel a region, with "
            "intervals; the table above holds every number of it.",
            caption="Dice against augmentation ratio." + " Simulated cohort." * run.simulated,
            program="make_figures",
            settings=made,
        )
        for path in run.paths("ratio_figure")
    ]
    return Section("ratios", "Segmentation by augmentation ratio", blocks)
