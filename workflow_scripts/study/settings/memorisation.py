"""Is a synthetic case a copy of a training case?"""

from typing import Annotated, Literal

from pydantic import Field

from .base import Block, Number, key


class Memorisation(Block):
    action: Literal["audit", "warn", "refuse"] = key(
        "refuse", "", "copies are reported; also logged; or refused and drawn again before anything is released"
    )
    false_positive_rate: Annotated[Number, Field(gt=0, lt=1)] = key(
        0.05,
        "share",
        "of real patients, never trained on, that may be taken for copies; m patients allow 1/(m+1) at best",
    )
    resolution_mm: Annotated[Number, Field(gt=0, le=20)] = key(
        4.0,
        "mm",
        "at which images are compared: voxel edge of the coarse grid, and standard deviation of the smoothing",
    )
    max_shift_mm: Annotated[Number, Field(ge=0, le=20)] = key(
        8.0, "mm", "shift along each axis within which they are compared"
    )
