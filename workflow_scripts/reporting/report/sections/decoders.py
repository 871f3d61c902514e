"""Report: decoding slice by slice and along depth."""

from __future__ import annotations

from ...tables.depth_decoder import TITLE, decoder_notes, readable_decoders
from ..blocks import MadeBy, Notes, Run, Section, tables


def decoders(run: Run) -> Section | None:
    """What the depth decoder changes, and what it costs; None where no system has one."""
    table = run.csv("decoders")
    if table is None:
        return None
    made = MadeBy("make_decoder_table", run.settings("systems", "evaluation.decoders"), run.paths("decoders"))
    return Section(
        "decoders", TITLE, [*tables("decoders", readable_decoders(table)), Notes(decoder_notes(table)), made]
    )
