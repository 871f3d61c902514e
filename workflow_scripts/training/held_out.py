"""Which step's weights a training keeps: those with the lowest loss on cases that it does not learn from.

With few cases a network begins to learn them by heart, and its loss on others rises again, long before its own loss says
so (2505.17638 for denoisers). The cases that are judged by have then been looked at: they are no test.
"""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..base.cli import log

Weights = dict[str, dict[str, Tensor]]


class HeldOut(Protocol):
    """Of a task that asks for it: how often, and by what its weights are judged."""

    every_steps: int

    def loss(self, modules: Mapping[str, Callable[..., Tensor]], device: torch.device) -> float:
        """The same draws each time, so that two steps are compared on the same. `modules` are called as in training."""


class Choice:
    """The best weights so far of all players, averaged ones where there are such.

    held_out : None: nothing is judged, and nothing kept
    """

    def __init__(self, held_out: HeldOut | None):
        self._held_out = held_out
        self.step, self.loss = 0, math.inf
        self.weights: Weights = {}

    def due(self, done: int, steps: int) -> bool:
        """Whether the weights after `done` of `steps` steps are judged."""
        return self._held_out is not None and (done % self._held_out.every_steps == 0 or done == steps)

    def regular(self, steps: int) -> bool:
        """Whether a training of more steps is judged at this one too."""
        return self._held_out is None or steps % self._held_out.every_steps == 0

    @torch.no_grad()
    def judge(self, done: int, modules: Mapping[str, nn.Module], weights: Weights, device: torch.device) -> None:
        """Keep `weights` if they are better than those before."""
        assert self._held_out is not None

        def called(name: str) -> Callable[..., Tensor]:
            return lambda *inputs: functional_call(modules[name], weights[name], inputs)

        for module in modules.values():
            module.eval()  # without dropout, and back
        loss = self._held_out.loss({name: called(name) for name in modules}, device)
        for module in modules.values():
            module.train()
        if loss < self.loss:
            self.step, self.loss = done, loss
            self.weights = {
                name: {key: value.detach().cpu().clone() for key, value in of.items()} for name, of in weights.items()
            }
        log.info("held-out loss after %d steps: %.5f (lowest: %.5f after %d)", done, loss, self.loss, self.step)

    def state_dict(self) -> dict:
        return {"step": self.step, "loss": self.loss, "weights": self.weights}

    def load_state_dict(self, state: Mapping) -> None:
        self.step, self.loss, self.weights = state["step"], state["loss"], state["weights"]
