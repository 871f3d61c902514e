"""How synthetic cases are drawn, and which of them are kept."""

from typing import Annotated

from pydantic import Field

from .base import Block, Count, Name, Precision, Seed, Share, Weight, key
from .generator import Editing, Sampler


class Gate(Block):
    """What a synthetic case must have to be kept."""

    min_volume_ml: Weight = key(0.5, "ml", "smallest whole tumour that passes")
    max_outside_foreground_fraction: Share = key(
        0.05, "share", "of the tumour outside the synthetic foreground, at most"
    )
    min_largest_component_fraction: Share = key(
        0.8,
        "share",
        "of the tumour in its largest piece, at least; where training tumours are in smaller pieces, the smallest of theirs "
        "less 0.05 is enough",
    )
    foreground_volume_tolerance: Weight = key(
        0.15, "share", "how far the foreground's volume may leave the training range"
    )
    feature_tolerance: Weight = key(0.25, "ranges", "how far a measured condition may leave the training range")


class Synthesis(Block):
    seed: Seed = key(0, "", "case i depends on (seed, i) alone")
    block_size: Count = key(10, "cases", "made by one job; case i is the same in whatever block")
    slices_per_batch: Count = key(32, "slices", "decoded at once: bounds memory")
    max_redraws: Annotated[int, Field(ge=0, le=100_000)] = key(8, "draws", "new ones for a case that the gate refused")
    smoothing: Weight = key(
        0.1, "standard deviations", "width of the kernel around a training patient's tumour conditions"
    )
    gate: Gate = key(Gate(), "", "the quality gate")


class SynthesisSettings(Synthesis):
    """What a program that draws cases is told."""

    sampler: Sampler = key(Sampler(), "", "of a denoiser; a GAN has none")
    editing: Editing = key(Editing(), "", "of tumours in training patients; other kinds have none")
    cases_per_batch: Count = key(
        1,
        "cases",
        "denoised at once. With 1 a case is the same in whatever company it is made, to the byte on a CPU; more is faster "
        "on a GPU, and equal up to rounding",
    )
    case_prefix: Name = key("SliceAug", "", "case ids are <prefix>-<number>-000")
    precision: Precision = key("auto", "", "auto: bf16 where the device has it in hardware")
