"""The kinds of generators: which blocks of a system's file each has, and what must go together in them. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from ..base.errors import UserError

SAMPLERS = {"dpmpp_2m": False, "ddim": False, "ddpm": False, "euler": True, "heun": True}
"""Name -> whether it goes with the schedule `flow`; the others go with those that keep the variance."""


def check_together(diffusion: Mapping, sampler: Mapping | None = None) -> None:
    """Raise UserError unless parameterization, schedule and sampler go together: all of flow, or none."""
    schedule, sampler = diffusion.get("schedule", "cosine"), sampler or {}
    predicted, is_flow = diffusion.get("parameterization", "v"), schedule == "flow"
    if (predicted == "flow") != is_flow:
        line = "schedule: flow" if predicted == "flow" else "parameterization: flow"
        raise UserError(
            f"diffusion: `parameterization: {predicted}` and `schedule: {schedule}` do not go together: the straight path "
            f"has a velocity of its own; write `{line}` too"
        )
    name = sampler.get("name", "dpmpp_2m")
    if sampler and SAMPLERS.get(name, is_flow) != is_flow:
        fitting = ", ".join(other for other, of_flow in SAMPLERS.items() if of_flow == is_flow)
        raise UserError(
            f"sampler.name is {name!r}, which does not go with diffusion's `schedule: {schedule}`: write one of {fitting}"
        )
