"""Report: what the generators make of a request, and how their masks differ from real ones."""

from __future__ import annotations

from ...tables.control import control_notes, mask_notes, readable_control, readable_shapes, readable_validity
from ..blocks import Figure, MadeBy, Notes, Run, Section, tables

INTERVALS = tuple(f"evaluation.tables.{key}" for key in ("bootstrap_samples", "confidence", "seed"))


def control(run: Run) -> Section | None:
    """Requested against measured tumours of held-out patients, and the sweep of one tumour."""
    table = run.csv("control")
    if table is None:
        return None
    blocks = [*tables("control", readable_control(table)), Notes(control_notes(table, run.simulated))]
    made = run.settings("evaluation.control.requests", "synthesis.seed", *INTERVALS)
    blocks.append(MadeBy("make_control_tables", made, run.paths("control")))
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


def masks(run: Run) -> Section | None:
    """Validity of the synthetic masks, and tests of their shapes against real ones."""
    table = run.csv("masks")
    if table is None:
        return None
    parts = [("Validity", readable_validity(table)), *readable_shapes(table)]
    blocks = [*tables("masks", parts), Notes(mask_notes(table, run.simulated))]
    blocks.append(MadeBy("make_control_tables", run.settings("evaluation.masks"), run.paths("masks")))
    return Section("masks", "Masks: valid, and of the shapes of real ones?", blocks)
