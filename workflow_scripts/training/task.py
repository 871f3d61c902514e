"""What the training loop trains: players, and a task that gives them batches and losses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


@dataclass
class Player:
    """One network with its optimizer, AdamW (Adam where weight_decay is 0).

    The loop moves `module` in place. Its buffers must follow from its weights (spectral norm) or not enter the
    training loss: they are not exchanged between devices.
    """

    module: nn.Module
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)


class Task(Protocol):
    """What is trained. With more than one device it is pickled into each process."""

    players: dict[str, Player]

    def batch(self, step: int) -> dict[str, Tensor]:
        """The global batch of step `step` (from 0): CPU tensors with the samples first, pure function of the step.

        Every random draw that a loss needs (noise, time steps, dropped conditions) is part of it.
        """

    def loss(
        self, player: str, modules: Mapping[str, nn.Module], batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of `player`, a mean over samples, and its terms for the curve (the same names at every step).

        `modules` are the players' networks, to be called; `batch` is this device's share. Runs outside autocast:
        networks compute in the run's precision and return fp32.
        """
