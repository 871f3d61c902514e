"""Report: what the generators make of a request."""

from ...tables.control import TABLE
from ..blocks import Run, Section, table_blocks


def control(run: Run) -> Section | None:
    """Requested against measured tumours of held-out patients, and the sweep of one tumour."""
    blocks = table_blocks(run, "control", TABLE)
    if not blocks:
        return None
    return Section("control", "Control: what was requested, and what came out", blocks + run.figures("control_sweep"))
