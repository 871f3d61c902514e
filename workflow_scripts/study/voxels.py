"""What the voxels of a data set mean: where they count, which values are told apart, and what no case can be."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .settings.base import Block, Fault, Number, Share, Weight, Words, key

MASK = "seg"  # the part of a case that holds its labels
FOREGROUND = "foreground"  # the part that says where the foreground is, where the rule is `mask`
Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$", max_length=64), Words("a name of letters, digits and _")
]
Range = Annotated[list[Number], Field(min_length=2, max_length=2)]


class Foreground(Block):
    """Which voxels of a case are looked at; all others are background, exactly -1."""

    rule: Literal["zero_background", "threshold", "mask", "none"] = key(
        "zero_background",
        "",
        "zero_background: where a modality is not 0; threshold: where one is larger than `above`; mask: where the file "
        f"`{FOREGROUND}` of the case is not 0; none: the whole volume",
    )
    above: Number | None = key(None, "the images' own", "of `threshold`")
    max_fraction: Share = key(0.98, "share", "of the volume, above which a background of 0 is missing")

    @model_validator(mode="after")
    def _limit(self) -> Self:
        if (self.rule == "threshold") != (self.above is not None):
            raise Fault(["above"], 0 if self.above is None else None, "goes with the rule threshold, and with no other")
        return self


class Intensity(Block):
    """The values that are mapped to -1 and 1; what lies beyond is clipped."""

    spreads: Range | None = key(
        None,
        "robust standard deviations",
        "from the median of the foreground's voxels, in each case anew: [-4, 10]. A robust standard deviation is the range "
        "of the middle half by 1.349, as of a normal distribution; a tumour hardly moves it",
    )
    percentiles: Range | None = key(None, "percent", "of the foreground's voxels, in each case anew")
    window: dict[Name, Range] | None = key(
        None, "the images' own", "modality: low and high, the same for all cases, as for CT; before the other two"
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        given = [rule for rule in (self.spreads, self.percentiles) if rule is not None]
        if len(given) > 1 or not (given or self.window):
            raise Fault(
                ["spreads"], [-4, 10], "or `percentiles` or `window` must be there, and one alone of the first two"
            )
        rising = all(low < high for low, high in [*given, *(self.window or {}).values()])
        if not rising or not 0 <= min(self.percentiles or [0]) <= max(self.percentiles or [0]) <= 100:
            raise Fault(["spreads"], [-4, 10], "or `percentiles` or `window`: low and high must rise, percent to 100")
        return self

    def fixed(self, modality: str) -> list[float] | None:
        """Low and high of a modality that has a window; None where each case has its own."""
        return (self.window or {}).get(modality)


class Bounds(Block):
    """A case beyond is refused."""

    spacing_mm: Range | None = key(None, "mm", "smallest and largest voxel edge")
    foreground_ml: Range | None = key(None, "ml", "smallest and largest foreground")


class Lesions(Block):
    """What counts as a lesion in lesion-wise scores."""

    dilation_voxels: Annotated[int, Field(ge=0, le=100)] = key(
        3, "voxels", "parts of the expert's mask that a dilation by so many voxels of the case joins are one lesion"
    )
    min_volume_mm3: Weight = key(50, "mm3", "lesions up to this volume are left out of the lesion-wise scores")
    small_volume_ml: Weight = key(
        1.0, "ml", "lesions below it are the small ones: the share of them that is hit is reported"
    )
