"""How a network is trained: the block `training` of every network of the project."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Block, Count, Fault, Folder, Positive, Precision, Seed, Weight, key


class TrainSettings(Block):
    steps: Count = key(100000, "steps", "of the optimizer, each on one global batch")
    batch_size: Count = key(4, "samples", "of the global batch, which the devices share: slices, patches or volumes")
    learning_rate: Positive = key(1.0e-4, "", "of AdamW, after the warm-up")
    weight_decay: Weight = key(0.0, "", "of AdamW; 0 makes it Adam")
    warmup_steps: Seed = key(500, "steps", "over which the learning rate rises linearly from 0")
    decay: Literal["cosine", "constant"] = key("cosine", "", "of the learning rate after the warm-up")
    gradient_clip: Positive | None = key(1.0, "norm", "largest L2 norm of the gradient; null: none")
    ema_half_life_steps: Weight = key(
        500, "steps", "half-life of the averaged weights, which are the ones kept; 0: none"
    )
    precision: Precision = key("auto", "", "auto: bf16 where the device has it in hardware")
    devices: Annotated[int, Field(ge=1, le=1024)] = key(
        1, "GPUs", "or processes on a machine without; more than one: DistributedDataParallel"
    )
    checkpoint_minutes: Weight = key(
        10, "minutes", "least time between checkpoints, made at logged steps; 0: at each of them"
    )
    log_every_steps: Count = key(50, "steps", "averaged in one row of loss.csv")
    start_from: Folder | None = key(
        None,
        "path or null",
        "folder of a trained model of the same network, made on other patients, whose weights are the first ones: "
        "`config/pretraining.yaml` makes both of `slice_ldm` on simulated patients; null: random ones",
    )
    prefetch_batches: Annotated[int, Field(ge=0, le=1000)] = key(2, "batches", "prepared ahead, in a thread")

    @model_validator(mode="after")
    def _shared_batch(self) -> Self:
        if self.batch_size % self.devices:
            fitting = math.ceil(self.batch_size / self.devices) * self.devices
            what = f"is {self.batch_size}, which {self.devices} devices cannot share"
            raise Fault(["batch_size"], fitting, what)
        return self

    def learning_rate_factor(self, step: int) -> float:
        """Factor on the learning rate at step `step` (from 0): linear warm-up, then constant or half a cosine."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.decay == "constant":
            return 1.0
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
