"""Report: what the synthetic images look like, and how near they come to real ones."""

import pandas as pd

from ...looks import region_name
from ...tables.cells import number
from ...tables.images import TABLE
from ..blocks import Details, MadeBy, Notes, Run, Section, Table, Text, table_blocks
from .tables import folded


def case_figures(run: Run) -> Section | None:
    """Real and synthetic cases side by side, a figure a system and n_real."""
    drawn = run.figures("real_and_synthetic")
    if not drawn:
        return None
    sizes = sorted({figure.path.parent.name for figure in drawn}, key=lambda name: int(name.removeprefix("n_real~")))
    shown = [figure for figure in drawn if figure.path.parent.name == sizes[-1]]
    others = [figure for figure in drawn if figure.path.parent.name != sizes[-1]]
    more = [Details("The same with fewer training patients", others)] if others else []
    return Section("cases", "Real and synthetic cases", [*shown, *more])


def metrics(run: Run) -> Section:
    """Every image metric of every system beside what real cases reach."""
    blocks = table_blocks(run, "images", TABLE)
    return Section("images", "Image quality", folded(run, "images", blocks) if blocks else [Text("Not measured.")])


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
    said = Text(
        "What is lost between a validation case and what the autoencoder makes of it: no generator behind it does better."
    )
    return Section("reconstruction", title, [said, Details("The table, and what its numbers are", shown)])
