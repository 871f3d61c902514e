"""The arms of the study, and how segmenters are trained and used in each."""

from typing import Annotated, Literal

from pydantic import Field

from ..arms import MIXING, REPLACE
from ..segmenters import SEGMENTERS
from .base import Block, Count, Number, Positive, Precision, Seed, Size, Unique, Weight, key
from .cohort import LEAST_TRAIN

MOST_WORKERS = 12  # nnU-Net's own default
Ratio = Annotated[Number, Field(ge=0, le=1000)]
Part = Annotated[Number, Field(gt=0, lt=1)]


class Controls(Block):
    """Arms of real cases alone, in the same table; they say what a gain is worth."""

    switch_augmentation: bool = key(
        True,
        "",
        "one more real-only arm, with the segmenter's data augmentation the other way than `segmentation.augmentation`",
    )
    oversampled_ratios: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Unique] = key(
        [1],
        "copies",
        "real-only arms whose cases are listed 1 + ratio times, as many as in that mix; segmenters draw cases uniformly and "
        "every arm makes the same steps, so they show how far chance alone moves the scores",
    )


class Ladder(Block):
    """Arms that say what the study can show: real only, and other real patients as they are and through an autoencoder."""

    ratio: Annotated[Number, Field(gt=0, le=1000)] | None = key(
        None,
        "patients per real",
        "other real patients, the next of the nested order; where they lie beyond the largest train subset, or the largest of "
        "`learning_curve`, there is no such arm. Null: 1 where it is among `ratios`, else the smallest of them",
    )
    reconstructions: bool = key(True, "", "also those patients encoded and decoded, by each autoencoder of the systems")


class Segmentation(Block):
    """Null: the segmenter's own value."""

    segmenters: Annotated[list[Literal[tuple(SEGMENTERS)]], Field(min_length=1), Unique] = key(  # type: ignore[valid-type]
        ["nnunet"], "names", "what is trained on each arm; monai_dynunet is for quick looks"
    )
    ratios: Annotated[list[Ratio], Field(min_length=1), Unique] = key(
        [0, 0.5, 1, 2, 4], "synthetic per real", "the arms; 0, real only, must be among them"
    )
    synthetic_only_ratios: Annotated[list[Annotated[Number, Field(gt=0, le=1000)]], Unique] = key(
        [1], "synthetic per real", "arms without any real training case, same counting; [] for none"
    )
    controls: Controls = key(Controls(), "", "arms of real cases alone")
    ladder: Ladder | None = key(
        Ladder(), "block or null", "arms with other real patients: the ceiling of any generator; null: none"
    )
    learning_curve: Annotated[list[Annotated[int, Field(ge=LEAST_TRAIN, le=1_000_000)]], Unique] = key(
        [],
        "patients",
        "further train subsets, of the same nested order, on which real only alone is trained: Dice against patients, by "
        "which synthetic cases are priced. They cost no generator",
    )
    mixing: Annotated[list[Literal[tuple(MIXING)]], Field(min_length=1), Unique] = key(  # type: ignore[valid-type]
        [REPLACE],
        "names",
        "how the patches of a mix are drawn, an arm for each way: " + "; ".join(f"{k}: {v}" for k, v in MIXING.items()),
    )
    real_share: Part = key(0.5, "share", "of each batch that `mixing: [real_share]` draws from the real cases")
    synthetic_first: Part = key(
        0.5, "share", "of the steps that `mixing: [synthetic_first]` makes on synthetic cases alone"
    )
    seeds: Annotated[list[Seed], Field(min_length=1), Unique] = key([0, 1, 2], "", "each arm is trained with each")
    epochs: Count | None = key(None, "", "null: nnunet 1000, monai_dynunet 20")
    iterations_per_epoch: Count | None = key(
        None, "", "null: 250; every arm makes epochs x iterations steps, however many cases it has"
    )
    val_iterations_per_epoch: Seed | None = key(
        None, "", "of nnunet; null: 50; they are watched only: nothing is chosen by them. 0: none"
    )
    patch_size: Size | None = key(None, "voxels", "depth, height, width; null: by the segmenter's plan")
    batch_size: Count | None = key(None, "patches", "null: by the segmenter's plan")
    features_per_stage: Annotated[list[Count], Field(min_length=2)] | None = key(
        None, "channels", "of each stage; null: by the segmenter's plan"
    )
    initial_learning_rate: Positive | None = key(
        None, "", "of nnunet's SGD, null: 0.01; monai_dynunet's AdamW takes a tenth of it"
    )
    augmentation: bool = key(True, "", "the segmenter's own data augmentation")
    mirroring: bool = key(True, "", "average predictions over flips: eight times the work")
    precision: Precision = key("auto", "", "of training and prediction; on CUDA nnU-Net's own mixed precision")
    workers: Annotated[int, Field(ge=0, le=1024)] | None = key(
        None,
        "processes",
        "of data augmentation; null: as many as the job's CPUs allow on a GPU, none on a CPU; the batches are the same "
        "whatever their number",
    )
    checkpoint_minutes: Weight = key(
        10, "minutes", "between checkpoints within an epoch; there is one at each epoch's end"
    )

    def workers_for(self, threads: int, on_gpu: bool) -> int:
        """Processes that make batches in a job with `threads` CPUs."""
        if self.workers is not None:
            return self.workers
        return min(max(threads - 1, 1), MOST_WORKERS) if on_gpu else 0


class PlanSettings(Segmentation):
    """What the program that plans the segmentation is told."""

    modalities: Annotated[list[str], Field(min_length=1)] = key(meaning="image channels of the volumes")
    regions: Annotated[list[str], Field(min_length=1)] = key(meaning="mask channels, nested")
