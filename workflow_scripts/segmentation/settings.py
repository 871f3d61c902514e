"""The settings of an arm's training and of prediction, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..base.errors import UserError

PRECISIONS = ("auto", "bf16", "32")
MOST_WORKERS = 12  # nnU-Net's own default
COUNTS = ("epochs", "iterations_per_epoch")


@dataclass(frozen=True)
class SegmentationSettings:
    """How nnU-Net is trained and used; None is nnU-Net's own value.

    Attributes
    ----------
    epochs, iterations_per_epoch : int or None
        1000 and 250. Every arm makes epochs x iterations steps, however many cases it has.
    val_iterations_per_epoch : int or None
        50. They are watched only: nothing is chosen by them. 0: none.
    initial_learning_rate : float or None
        0.01, falling by nnU-Net's polynomial schedule.
    augmentation : bool
        nnU-Net's own data augmentation.
    mirroring : bool
        At prediction, average over all flips of the axes that were flipped in training (eight times the work).
    precision : "auto" | "bf16" | "32"
        See `precision.use_precision`.
    workers : int or None
        Processes that make batches, the same batches whatever their number; 0: the training process itself. None: on a
        GPU one for each of the job's CPUs but one, at most MOST_WORKERS; 0 on a CPU, which the training itself keeps busy.
    checkpoint_minutes : float
        Time between checkpoints within an epoch; there is one at each epoch's end.
    """

    epochs: int | None = None
    iterations_per_epoch: int | None = None
    val_iterations_per_epoch: int | None = None
    initial_learning_rate: float | None = None
    augmentation: bool = True
    mirroring: bool = True
    precision: str = "auto"
    workers: int | None = None
    checkpoint_minutes: float = 10.0

    @classmethod
    def from_config(cls, block: dict) -> SegmentationSettings:
        """Check the keys of a stage's config block that concern training; others are left to their own stages.

        Raises UserError that names the key, its value and what it may be.
        """
        block = {field.name: block[field.name] for field in fields(cls) if field.name in block}
        if block.get("precision") == 32:  # YAML reads an unquoted 32 as a number
            block["precision"] = "32"
        for key in COUNTS:
            _check(block, key, lambda value: value is None or (type(value) is int and value >= 1), "1 or more, or null")
        for key, null in (("val_iterations_per_epoch", True), ("workers", True)):
            allowed = "a whole number from 0" + ", or null" * null
            _check(
                block, key, lambda value, n=null: (n and value is None) or (type(value) is int and value >= 0), allowed
            )
        _check(block, "initial_learning_rate", lambda value: value is None or _positive(value), "above 0, or null")
        for key in ("augmentation", "mirroring"):
            _check(block, key, lambda value: isinstance(value, bool), "true or false")
        _check(block, "precision", lambda value: value in PRECISIONS, " or ".join(PRECISIONS))
        _check(block, "checkpoint_minutes", lambda value: value == 0 or _positive(value), "minutes, 0 or more")
        return cls(**block)

    def workers_for(self, threads: int, on_gpu: bool) -> int:
        """Processes that make batches in a job with `threads` CPUs."""
        if self.workers is not None:
            return self.workers
        return min(max(threads - 1, 1), MOST_WORKERS) if on_gpu else 0


def read_plan_settings(config: dict) -> dict:
    """The overrides in a stage's config block. Raises UserError for a value that is no positive whole number."""
    settings = {key: config.get(key) for key in ("patch_size", "batch_size", "features_per_stage")}
    for key, value in settings.items():
        numbers = [value] if key == "batch_size" else value
        right = value is None or (
            isinstance(numbers, list)
            and all(type(number) is int and number > 0 for number in numbers)
            and (key != "patch_size" or len(numbers) == 3)
        )
        if not right:
            example = {"patch_size": [96, 128, 128], "batch_size": 2, "features_per_stage": [32, 64, 128, 256]}[key]
            raise UserError(f"segmentation.{key} is {value!r}: write null, or for example {key}: {example}")
    return settings


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _check(block: dict, key: str, is_right, allowed: str) -> None:
    if key in block and not is_right(block[key]):
        raise UserError(f"segmentation.{key} is {block[key]!r}, but must be {allowed}")
