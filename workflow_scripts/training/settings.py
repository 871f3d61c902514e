"""The settings of a training (key `training` of a stage's config block), checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from difflib import get_close_matches

from ..base.errors import UserError


def check_keys(block: dict, known: list[str], where: str) -> None:
    """Refuse keys of `block` that are not `known`; the message names the nearest known key."""
    for key in block:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
            raise UserError(f"{where}: unknown key `{key}`; {hint}")


@dataclass(frozen=True)
class TrainSettings:
    """How long and how a network is trained; defaults where a key is absent.

    Attributes
    ----------
    steps : int
        Optimizer steps, each on one global batch.
    batch_size : int
        Samples in the global batch (shared by the devices).
    learning_rate, weight_decay : float
        Of AdamW; weight decay 0 makes it Adam.
    warmup_steps : int
        Steps over which the learning rate rises linearly from 0.
    decay : "constant" | "cosine"
        What the learning rate does after the warm-up.
    gradient_clip : float or None
        Largest L2 norm of a player's gradient.
    ema_half_life_steps : float
        Half-life of the running average of the weights, steps; 0: none.
    precision : "auto" | "bf16" | "32"
        auto: bf16 where the device is made for it.
    devices : int
        GPUs, or processes on a machine without; more than one: DistributedDataParallel.
    checkpoint_minutes : float
        Least time between checkpoints, which are made at logged steps; 0: at every logged step.
    log_every_steps : int
        Steps averaged in one row of loss.csv.
    prefetch_batches : int
        Batches made ahead in the background.
    """

    steps: int
    batch_size: int
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    warmup_steps: int = 0
    decay: str = "constant"
    gradient_clip: float | None = None
    ema_half_life_steps: float = 0
    precision: str = "auto"
    devices: int = 1
    checkpoint_minutes: float = 10
    log_every_steps: int = 50
    prefetch_batches: int = 2

    @classmethod
    def from_config(cls, block: dict, where: str = "training") -> TrainSettings:
        """Check a config block. Raises UserError that names the key, its value and what it may be."""
        check_keys(block, [field.name for field in fields(cls)], where)
        missing = {"steps", "batch_size"} - set(block)
        if missing:
            raise UserError(f"{where}: `{sorted(missing)[0]}` is missing")
        for key in ("steps", "batch_size", "devices", "log_every_steps"):
            _whole(block, key, 1, where)
        for key in ("warmup_steps", "prefetch_batches"):
            _whole(block, key, 0, where)
        for key in ("learning_rate", "weight_decay", "ema_half_life_steps", "checkpoint_minutes"):
            _at_least_zero(block, key, where)
        if block.get("gradient_clip") is not None:
            _at_least_zero(block, "gradient_clip", where)
            if block["gradient_clip"] == 0:
                raise UserError(f"{where}: `gradient_clip: 0` would stop all learning; write null for no clipping")
        _one_of(block, "decay", ("constant", "cosine"), where)
        block = dict(block)
        if block.get("precision") == 32:  # YAML reads an unquoted 32 as a number
            block["precision"] = "32"
        _one_of(block, "precision", ("auto", "bf16", "32"), where)
        settings = cls(**block)
        if settings.batch_size % settings.devices:
            fitting = math.ceil(settings.batch_size / settings.devices) * settings.devices
            raise UserError(
                f"{where}: batch_size {settings.batch_size} cannot be shared by {settings.devices} devices; "
                f"write a multiple, e.g. `batch_size: {fitting}`"
            )
        return settings

    def learning_rate_factor(self, step: int) -> float:
        """Factor on the learning rate at step `step` (from 0): linear warm-up, then constant or half a cosine."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.decay == "constant":
            return 1.0
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _whole(block: dict, key: str, least: int, where: str) -> None:
    value = block.get(key, least)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{where}: `{key}: {value}` must be a whole number of at least {least}")


def take_count(config: dict, key: str, default: int, where: str) -> tuple[int, dict]:
    """A count among other settings: its value, a whole number of at least 1, and the settings without it.

    Raises UserError that names `where` and the key.
    """
    _whole(config, key, 1, where)
    return config.get(key, default), {name: value for name, value in config.items() if name != key}


def _at_least_zero(block: dict, key: str, where: str) -> None:
    value = block.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise UserError(f"{where}: `{key}: {value}` must be a number of at least 0")


def _one_of(block: dict, key: str, choices: tuple[str, ...], where: str) -> None:
    if key in block and block[key] not in choices:
        raise UserError(f"{where}: `{key}: {block[key]}` must be one of {', '.join(choices)}")
