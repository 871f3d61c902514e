"""Report: the augmentation-ratio table and its figure."""

from ...registry import TABLES
from ...tables.augmentation_ratio import caption, readable_parts
from ..blocks import Heading, MadeBy, Notes, Run, Section, Table


def ratios(run: Run) -> Section:
    """For each n_real the readable ratio table, what its numbers are, and the figure."""
    blocks = []
    for n_real, part in run.table.groupby("n_real", sort=True):
        for heading, shown in readable_parts(part):
            name = f"{n_real} real training patients: {heading}"
            blocks += [Heading(name), Table(f"augmentation ratios, {name}", shown, 2, group="region")]
    blocks.append(Notes(caption(run.table, run.simulated)))
    if run.paths("augmentation_ratio"):
        made = run.settings(*TABLES["augmentation_ratio"].said)
        blocks.append(MadeBy("reporting.make_table augmentation_ratio", made, run.paths("augmentation_ratio")))
    blocks += run.figures("dice_vs_ratio")
    return Section("ratios", "Segmentation by augmentation ratio", blocks)
