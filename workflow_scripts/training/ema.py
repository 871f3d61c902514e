"""Running average of a network's weights: what is saved and sampled from."""

import torch
from torch import nn


class EMA:
    """Exponential moving average of a module's floating-point parameters in fp32; buffers are copied as they are.

    half_life_steps : after so many steps an old weight counts half. While fewer steps have been made the average is
        shorter ((1 + step) / (10 + step), as in TensorFlow's ExponentialMovingAverage), so that the initial weights
        fade.
    """

    def __init__(self, module: nn.Module, half_life_steps: float):
        self._module = module
        self._decay = 0.5 ** (1 / half_life_steps)
        self._names = [name for name, _ in module.named_parameters()]
        self._shadow = [parameter.detach().float().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (counted from 0)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        weights = [parameter.detach().float() for parameter in self._module.parameters()]
        torch._foreach_lerp_(self._shadow, weights, 1 - decay)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Averaged parameters with the module's present buffers, by the names of the module's own state_dict."""
        state = {name: value.detach() for name, value in self._module.state_dict().items()}
        state.update(zip(self._names, self._shadow, strict=True))
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the averages; buffers come with the module's own state."""
        for name, shadow in zip(self._names, self._shadow, strict=True):
            shadow.copy_(state[name])
