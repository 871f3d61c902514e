"""Report: whether synthetic cases are copies of training cases."""

from __future__ import annotations

from ..blocks import Figure, MadeBy, Notes, Run, Section, tables
from ..memorisation_table import memorisation_notes, readable_memorisation


def memorisation(run: Run) -> Section | None:
    """The share of copies by each threshold, and the nearest pairs."""
    table = run.csv("memorisation")
    if table is None:
        return None
    parts = [("Nearest training cases", readable_memorisation(table))]
    blocks = [*tables("memorisation", parts), Notes(memorisation_notes(table))]
    made = run.settings("memorisation")
    blocks.append(MadeBy("make_memorisation_table", made, str(run.paths("memorisation")[0])))
    for path in run.paths("pairs"):
        system = path.stem.removeprefix("memorisation_")
        blocks.append(
            Figure(
                path,
                alt=f"Synthetic cases of {system}, each beside its nearest training case in the same pose, and the "
                "difference of the two.",
                caption=f"Synthetic cases of {system} beside their nearest training cases."
                + " Simulated cohort." * run.simulated,
                program="figure_memorisation",
                settings=made,
            )
        )
    return Section("memorisation", "Memorisation: are synthetic cases copies of training cases?", blocks)
