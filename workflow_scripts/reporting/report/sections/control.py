"""Report: what the generators make of a request."""

from __future__ import annotations

from ...tables.control import TABLE
from ..blocks import Figure, Run, Section, table_blocks


def control(run: Run) -> Section | None:
    """Requested against measured tumours of held-out patients, and the sweep of one tumour."""
    blocks = table_blocks(run, "control", TABLE)
    if not blocks:
        return None
    drawn = run.settings("evaluation.control.sweep_steps", "evaluation.figures.modality", "synthesis.seed")
    for path, n_real, system in run.figures("sweeps", "control_sweep"):
        blocks.append(
            Figure(
                path,
                alt=f"Synthetic volumes of {system}, n_real = {n_real}, from the same noise: the tumour grows in one row, "
                "and moves along each axis in the others, with the requested and the measured values.",
                caption=f"One tumour of {system} that grows and moves, n_real = {n_real}."
                + " Simulated cohort." * run.simulated,
                program="figure_control_sweep",
                settings=drawn,
            )
        )
    return Section("control", "Control: what was requested, and what came out", blocks)
