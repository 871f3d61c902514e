"""What the programs are told that write results for use elsewhere."""

from typing import Annotated

from pydantic import Field

from .base import Block, Count, Name, Unique, Weight, key


class MixSettings(Block):
    """Of the program that writes a mix as an nnU-Net raw data set."""

    run: Name = key(meaning="the run's name")
    modalities: Annotated[list[str], Field(min_length=1), Unique] = key(meaning="image channels, in this order")
    regions: Annotated[list[str], Field(min_length=1), Unique] = key(meaning="nested regions, from the outside in")
    n_real: Count = key(unit="patients", meaning="real training patients")
    ratio: Weight = key(0, "", "synthetic cases for each real one")
    synthetic_only: bool = key(False, "", "without the real training cases")


class DatasheetSettings(Block):
    """Of the program that describes a set of synthetic cases."""

    run: Name = key(meaning="the run's name")
    system: Name = key(meaning="name of the system that made them")
    label: str = key(meaning="what it is")
    kind: str = key(meaning="of generator")
    simulated: bool = key(False, "", "the training patients are simulated")
    n_real: Count = key(unit="patients", meaning="real training patients")
    modalities: list[str] = key(meaning="image channels")
    regions: list[str] = key(meaning="nested regions, from the outside in")
    spacing_mm: list[float] = key(unit="mm", meaning="voxel edges along depth, height, width")
    size: list[int] = key(unit="voxels", meaning="of the grid: depth, height, width")
