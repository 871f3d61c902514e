"""What is measured of segmentations, images, control and masks, and how it is told."""

from typing import Annotated, Literal

from pydantic import Field

from .base import Block, Count, Digest, Folder, Number, Positive, Seed, Share, Unique, Words, key
from .memorisation import Memorisation
from .synthesis import SynthesisSettings

Confidence = Annotated[Number, Field(gt=0, lt=1)]
Planes = Annotated[list[Literal["axial", "sagittal", "coronal"]], Field(min_length=1), Unique]


class SegmentationScores(Block):
    hd_percentile: Annotated[Number, Field(gt=0, le=100)] = key(95, "percent", "of the surface distances: 95 is HD95")


class ImageFeatures(Block):
    """What the features of an image depend on, and how they are computed."""

    network: Literal[
        "efficientnet_lite0", "inception_v3", "radimagenet_resnet50", "medicalnet_resnet10", "medicalnet_resnet50"
    ] = key(
        "efficientnet_lite0",
        "",
        "feature network: `efficientnet_lite0` (ImageNet), `inception_v3` (files of pytorch-fid or torchvision), "
        "`radimagenet_resnet50` (its authors' PyTorch file), `medicalnet_resnet10`, `medicalnet_resnet50` (3D; sees whole "
        "volumes, and planes do not count)",
    )
    weights: Annotated[str, Field(min_length=1)] = key(
        "package", "`package` or path", "of the network; all but EfficientNet-Lite0 need a path"
    )
    sha256: Digest | None = key(None, "", "of the weights file, where one is given")
    batch_size: Count = key(32, "slices", "through the network at once on a GPU; a CPU takes fewer, as its cache does")
    planes: Planes = key(["axial", "sagittal", "coronal"], "", "in which the volumes are cut")
    min_foreground_fraction: Share = key(0.05, "share", "slices with less foreground than this are left out")
    slice_step_mm: Annotated[Number, Field(ge=0)] = key(
        3.0,
        "mm",
        "slices of a plane lie at most so far apart, fewer are not seen where the grid is finer; 0: each slice is",
    )


class ImageMetrics(Block):
    """How sets of images are compared."""

    neighbours: Count = key(
        5, "cases", "k of precision, recall, density and coverage; at most one less than the cases compared"
    )
    jackknife_groups: Annotated[int, Field(ge=0, le=10_000)] = key(
        10,
        "groups",
        "of cases, each left out once, from which FID gets its interval: as many further distances for each figure; "
        "below 3: no interval",
    )


class Images(ImageMetrics, ImageFeatures):
    ms_ssim_cases: Annotated[int, Field(ge=2)] = key(
        30, "cases", "of each set whose pairs are compared by MS-SSIM, each with the two before it"
    )


class Cost(Block):
    volumes: Count = key(3, "volumes", "synthetic ones over which seconds are measured, one at a time")


class Control(Block):
    requests: Count = key(
        100, "tumours", "of held-out patients asked for, a synthetic volume each; all, where there are fewer"
    )
    sweep_steps: Annotated[int, Field(ge=0, le=1000), Words("a whole number of at least 2, or 0")] = key(
        5, "volumes", "a row of the figure in which one synthetic patient's tumour grows and moves; 0: no figure"
    )


class Masks(Block):
    permutations: Annotated[int, Field(ge=19)] = key(1999, "", "of the two-sample test over all shape features at once")
    reference_root: Folder = key(
        "none",
        "`none` or path",
        "folder of real masks without images, named as in the cohort: a larger reference for the shapes of synthetic "
        "masks. Training patients in it are left out, known by their ids",
        examples=["none", "/data/masks"],
    )


class Intervals(Block):
    bootstrap_samples: Annotated[int, Field(ge=100, le=10_000_000)] = key(2000, "", "of the intervals")
    confidence: Confidence = key(0.95, "", "of the intervals; 1 - confidence is the level of the tests")
    power: Annotated[Number, Field(ge=0.5, lt=1)] = key(
        0.8, "", "chance with which the smallest detectable gain would be found, in spite of Holm's correction"
    )
    seed: Seed = key(0, "", "of the bootstrap")


class ImageMetricsSettings(ImageMetrics):
    """What the program that compares sets of images is told."""

    intervals: Intervals = key(Intervals(), "", "of the figures")


class Figures(Block):
    cases: Count = key(
        4,
        "cases",
        "real and synthetic ones drawn side by side; synthetic ones drawn beside their nearest training case",
    )
    modality: str | None = key(None, "", "that is drawn; null: the data set's own choice")


class Report(Block):
    viewer_megabytes: Annotated[Number, Field(ge=0, le=500)] = key(
        25,
        "MB",
        "that the volumes of the report's viewer may take, as text in the file (the viewer itself takes 1 MB more); sampled "
        "more coarsely where they would take more, and the caption says so; 0: no viewer",
    )
    real_volumes: bool = key(
        False,
        "",
        "true: whole volumes of `evaluation.figures.cases` real training patients go into the report, and with it wherever "
        "it goes",
    )


class Evaluation(Block):
    segmentation: SegmentationScores = key(SegmentationScores(), "", "scores of the predicted masks")
    images: Images = key(Images(), "", "image quality")
    cost: Cost = key(Cost(), "", "of a synthetic volume")
    control: Control = key(Control(), "", "requested against measured tumours")
    masks: Masks = key(Masks(), "", "validity and shapes of synthetic masks")
    comparison_ratio: Positive | None = key(
        None,
        "synthetic per real",
        "the arm whose Dice gain stands in the comparison of systems; null: 1, or the smallest there is",
    )
    tables: Intervals = key(Intervals(), "", "intervals and tests")
    figures: Figures = key(Figures(), "", "pictures of cases")
    report: Report = key(Report(), "", "report.html")


class ViewerSettings(Report, Figures):
    """What the program that packs volumes for the report is told."""

    modalities: list[str] = key([], "", "image channels of the volumes")
    regions: Annotated[list[str], Field(min_length=1)] = key(meaning="mask channels of the volumes")


class ScoreSettings(SegmentationScores):
    """What the program that scores segmentations is told."""

    regions: Annotated[list[str], Field(min_length=1)] = key(meaning="mask channels")


class AuditSettings(Memorisation):
    """What the audit of memorisation is told."""

    images: ImageFeatures = key(ImageFeatures(), "", "of the features; always of the packaged network")
    slices_per_batch: Count = key(32, "slices", "decoded at once")


class CostSettings(Cost, SynthesisSettings):
    """What the program that measures seconds is told."""


class ControlSettings(Control, SynthesisSettings):
    """What a program that asks for given tumours is told."""
