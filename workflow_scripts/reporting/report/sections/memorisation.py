"""Report: whether synthetic cases are copies of training cases."""

from __future__ import annotations

from ...tables.memorisation import TABLE, memorisation_warnings
from ..blocks import Caution, Figure, Run, Section, table_blocks


def memorisation(run: Run) -> Section | None:
    """The share of copies by each threshold, and the nearest pairs."""
    table = run.csv("memorisation")
    if table is None:
        return None
    warnings = memorisation_warnings(table)
    blocks = [*map(Caution, warnings), *table_blocks(run, "memorisation", TABLE, cautions=warnings)]
    made = run.settings("memorisation")
    drawn = run.settings("evaluation.figures.cases", "evaluation.figures.modality")
    for path, n_real, system in run.figures("pairs", "memorisation"):
        blocks.append(
            Figure(
                path,
                alt=f"Synthetic cases of {system}, n_real = {n_real}, each beside its nearest training case in the same "
                "pose, and the difference of the two; last a held-out patient likewise.",
                caption=f"Synthetic cases of {system} beside their nearest training cases, n_real = {n_real}; last a "
                "held-out patient beside the nearest one." + " Simulated cohort." * run.simulated,
                program="figure_memorisation",
                settings=[*drawn, *made],
            )
        )
    return Section("memorisation", "Memorisation: are synthetic cases copies of training cases?", blocks)
