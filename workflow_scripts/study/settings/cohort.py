"""The cohort: its simulation, its grid and its splits."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from .base import Block, Count, Fault, Number, Positive, Seed, Size, Unique, Words, key

MIN_TUMOUR_VOXELS = 30  # fewer cannot hold a core and a rim
MAX_TUMOUR_ML = 250  # more finds no room in many heads
NONE = "none"  # of a path: there is none
LEAST_TRAIN = 2  # patients: one alone has no other to be told apart from


class DemoCohort(Block):
    """The simulated cohort: used with `data_root: demo` alone; never evidence."""

    cases: Annotated[int, Field(ge=1, le=99_999)] = key(220, "patients", "size of the simulated cohort")
    spacing_mm: Annotated[Number, Field(ge=0.5, le=5)] = key(1.0, "mm", "voxel edge")
    tumour_volume_ml: Annotated[list[Positive], Field(min_length=2, max_length=2)] = key(
        [5, 120], "ml", "smallest and largest whole tumour"
    )
    contrast_spread: Annotated[Number, Field(ge=0, le=1)] = key(
        0.04,
        "log",
        "standard deviation over patients and modalities of the logarithm of each tissue's signal; a wide one makes patients "
        "to learn from before real ones",
    )
    seed: Seed = key(0, "", "patient i depends on (seed, i) alone")

    @model_validator(mode="after")
    def _volumes_fit(self) -> Self:
        smallest, (low, high) = MIN_TUMOUR_VOXELS * self.spacing_mm**3 / 1000, self.tumour_volume_ml
        if not smallest <= low <= high <= MAX_TUMOUR_ML:
            what = (
                f"is {self.tumour_volume_ml}, but must rise, within {smallest:.2g} and "
                f"{MAX_TUMOUR_ML} ml at a spacing of {self.spacing_mm} mm"
            )
            raise Fault(["tumour_volume_ml"], [5, 120], what)
        return self


class Preprocessing(Block):
    spacing_mm: Annotated[list[Annotated[Number, Field(gt=0, le=50)]], Field(min_length=3, max_length=3)] = key(
        [1.0, 1.0, 1.0], "mm", "voxel edges along depth (axial slices), height, width"
    )
    size: Size = key([144, 192, 192], "voxels", "depth, height, width; the autoencoder's strides divide the last two")
    shards: Annotated[int, Field(ge=1, le=10_000)] = key(16, "jobs", "that share the cases")


class Splits(Block):
    """Counted in patients; by patient, stratified by tumour volume."""

    n_real: Annotated[list[Annotated[int, Field(ge=LEAST_TRAIN, le=1_000_000)]], Field(min_length=1), Unique] = key(
        [20, 50, 100], "patients", "nested training subsets, smallest first; the whole study is made for each"
    )
    val: Count = key(20, "patients", "real validation patients, never trained on")
    test: Count = key(100, "patients", "real test patients, never seen by any stage")
    seed: Seed = key(0, "", "of the split")
    file: Annotated[str, Field(pattern=r"^[^{}\n]*[^{}\s][^{}\n]*$"), Words("none, or a path, without { and }")] = key(
        NONE,
        "`none` or path",
        "CSV or TSV with the columns case_id or patient_id, and set (train, val, test or unused), which is taken as it is: `val` and "
        "`test` are then its own, and the subsets of `n_real` are nested within its train patients",
        examples=[NONE, "/data/splits.csv"],
    )
    folds: Annotated[int, Field(ge=2, le=100)] | None = key(
        None,
        "",
        "a study for each of so many folds, pooled by `pool_folds`: every patient is a test patient once, and `test` does not count. "
        "Null: one study",
    )
    fold: Annotated[int, Field(ge=0)] = key(0, "", "of `folds`, from 0: the one whose patients this study tests")

    @model_validator(mode="after")
    def _subsets_rise(self) -> Self:
        if self.fold >= (self.folds or 1):
            raise Fault(["fold"], 0, f"is {self.fold}, but there are folds 0 to {(self.folds or 1) - 1}")
        if self.folds and self.file != NONE:
            raise Fault(["folds"], None, f"and file exclude each other: {self.file} says who is tested")
        if self.n_real != sorted(self.n_real):
            raise Fault(["n_real"], sorted(self.n_real), "must rise: each subset lies within the next")
        return self


class SplitSettings(Splits):
    """What the program that splits the cohort is told."""

    region: str = key(meaning="by whose volume the splits are stratified")
    train: list[Count] = key(
        [], "patients", "of every train subset, smallest first: those of n_real and further ones; none: n_real"
    )
    others: dict[str, Count] = key({}, "patients", "train subset -> other patients, the next of the order")

    @property
    def sizes(self) -> list[int]:
        """Patients of every train subset, smallest first."""
        return self.train or self.n_real


class Measured(Block):
    """What a program that measures tumours is told."""

    regions: Annotated[list[str], Field(min_length=1)] = key(meaning="mask channels, nested")
