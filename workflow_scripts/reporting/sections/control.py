"""Report: what the generators make of a request, and how their masks differ from real ones."""

from __future__ import annotations

from ..blocks import Figure, Heading, MadeBy, Notes, Run, Section, Table
from ..control_tables import control_notes, mask_notes, readable_control, readable_shapes, readable_validity


def control(run: Run) -> Section | None:
    """Requested against measured tumours of held-out patients, and the sweep of one tumour."""
    table = run.csv("control")
    if table is None:
        return None
    blocks = []
    for name, part in readable_control(table):
        blocks += [Heading(name), Table(f"control, {name}", part)]
    blocks.append(Notes(control_notes(table, run.simulated)))
    blocks.append(MadeBy("make_control_tables", run.settings("evaluation.control"), str(run.paths("control")[0])))
    for path in run.paths("sweeps"):
        system = path.stem.removeprefix("control_sweep_")
        blocks.append(
            Figure(
                path,
                alt=f"Synthetic volumes of {system} from the same noise: the tumour grows in one row, and moves along each "
                "axis in the others, with the requested and the measured values.",
                caption=f"One tumour of {system} that grows and moves." + " Simulated cohort." * run.simulated,
                program="figure_control_sweep",
                settings=run.settings("evaluation.control"),
            )
        )
    return Section("control", "Control: what was requested, and what came out", blocks)


def masks(run: Run) -> Section | None:
    """Validity of the synthetic masks, and tests of their shapes against real ones."""
    table = run.csv("masks")
    if table is None:
        return None
    blocks = [Heading("Validity"), Table("validity of the masks", readable_validity(table))]
    for name, part in readable_shapes(table):
        blocks += [Heading(name), Table(f"shapes of the masks, {name}", part)]
    blocks.append(Notes(mask_notes(table, run.simulated)))
    blocks.append(MadeBy("make_control_tables", run.settings("evaluation.masks"), str(run.paths("masks")[0])))
    return Section("masks", "Masks: valid, and of the shapes of real ones?", blocks)
