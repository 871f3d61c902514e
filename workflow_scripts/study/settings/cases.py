"""What the programs are told that read the cases of a cohort as they lie on disk."""

from typing import Annotated, Literal

from pydantic import Field

from ..dataset import Dataset
from .base import Block, Unique, key
from .cohort import Measured, Preprocessing
from .synthesis import Gate


class MergeSettings(Block):
    on_bad_case: Literal["reject", "fail"] = key("reject", "", "a case that fails a check is listed, or stops the run")


class CaseSettings(MergeSettings):
    dataset: Dataset = key(meaning="what the cases are")


class JoinSettings(CaseSettings):
    """Of the program that joins the shards and looks at the cohort as a whole."""

    layout: str = key("auto", "", "the one layout of the data set that is read; `auto` looks")
    patients: bool = key(False, "", "whether a table of the user says who the patients are")


class ImageSettings(CaseSettings):
    modalities: Annotated[list[str], Field(min_length=1), Unique] = key(meaning="image channels, in this order")


class FindSettings(ImageSettings):
    """Of the program that finds cases."""

    layout: str = key("auto", "", "the one layout of the data set that is read; `auto` looks")


class GridSettings(ImageSettings, Preprocessing):
    """Of the program that checks cases and puts them on the common grid."""


class ExternalSettings(GridSettings):
    """Of the program that reads the cases of somebody else's generator."""

    regions: Annotated[list[str], Field(min_length=1), Unique] = key(meaning="mask channels, from the outside in")


class JudgeSettings(Measured):
    """Of the program that puts them through the gate."""

    gate: Gate = key(Gate(), "", "the quality gate")


class ReferenceMaskSettings(Measured, MergeSettings):
    """Of the program that measures masks without images."""

    dataset: Dataset = key(meaning="what the masks are")
    spacing_mm: Annotated[list[float], Field(min_length=3, max_length=3)] = key(
        unit="mm", meaning="voxel edges along depth, height, width"
    )
