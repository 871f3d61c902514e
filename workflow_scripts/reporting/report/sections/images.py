"""Report: what the synthetic images look like, and how near they come to real ones."""

import pandas as pd

from ...looks import region_name
from ...tables.cells import number
from ...tables.images import TABLE
from ..blocks import MadeBy, Notes, Run, Section, Table, Text, table_blocks


def case_figures(run: Run) -> Section | None:
    """Real and synthetic cases side by side, a figure a system and n_real."""
    blocks = run.figures("real_and_synthetic")
    return Section("cases", "Real and synthetic cases", blocks) if blocks else None


def metrics(run: Run) -> Section:
    """Every image metric of every system beside what real cases reach."""
    return Section("images", "Image quality", table_blocks(run, "images", TABLE) or [Text("Not measured.")])


def reconstruction(run: Run) -> Section:
    """Mean over validation cases of each metric, per autoencoder, channel and plane."""
    title = "Autoencoder: what it can show at best"
    rows = []
    for label, table in run.labelled("reconstruction"):
        for (metric, channel), part in table.groupby(["metric", "channel"], sort=False):
            means = part.groupby("plane", sort=False).value.mean()
            digits = 1 if metric.startswith("psnr") else 3
            row = {"model": label, "metric": metric, "channel": region_name(channel), "cases": part.case_id.nunique()}
            rows.append(row | {plane: number(mean, digits) for plane, mean in means.items()})
    if not rows:
        return Section("reconstruction", title, [Text("Not measured.")])
    frame = pd.DataFrame(rows).fillna("")
    made = MadeBy("autoencoder.measure_reconstruction", run.settings("training_seed"))
    shown = [Table("reconstruction by the autoencoders", frame, 3), Notes(["Means over the validation cases."]), made]
    return Section("reconstruction", title, shown)
