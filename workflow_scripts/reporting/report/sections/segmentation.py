"""Report: the augmentation-ratio table and its figure."""

from __future__ import annotations

from ...tables.cells import SIMULATED
from ...tables.ratio import caption, readable_parts
from ..blocks import Figure, Heading, MadeBy, Notes, Run, Section, Table


def ratios(run: Run) -> Section:
    """For each n_real the readable ratio table, what its numbers are, and the figure."""
    blocks = []
    for n_real, part in run.table.groupby("n_real", sort=True):
        for heading, shown in readable_parts(part):
            name = f"{n_real} real training patients: {heading}"
            blocks += [Heading(name), Table(f"augmentation ratios, {name}", shown, 2, group="region")]
    blocks.append(Notes([sentence for sentence in caption(run.table, run.simulated) if sentence != SIMULATED]))
    keys = [f"evaluation.tables.{key}" for key in ("bootstrap_samples", "confidence", "power", "seed")]
    keys = ["segmentation.ratios", "segmentation.controls", "segmentation.seeds", *keys]
    if run.paths("table"):
        blocks.append(MadeBy("make_tables", run.settings(*keys), run.paths("table")))
    blocks += [
        Figure(
            path,
            alt="Mean test Dice against the number of synthetic cases for each real patient, a panel a region, with "
            "intervals; the table above holds every number of it.",
            caption="Dice against augmentation ratio." + " Simulated cohort." * run.simulated,
            program="make_figures",
            settings=run.settings(*keys),
        )
        for path in run.paths("ratio-figure")
    ]
    return Section("ratios", "Segmentation by augmentation ratio", blocks)
