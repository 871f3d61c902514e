"""Arithmetic of the network: nnU-Net's own mixed precision on CUDA, bfloat16 or float32 where asked for."""

import torch
from torch import nn

from ...training.devices import resolve_precision
from ..networks import use_own_convolutions


def use_precision(network: nn.Module, device: torch.device, precision: str) -> str:
    """Make the network's forward pass compute in `precision` and return float32; returns what was chosen.

    ``auto`` leaves CUDA to nnU-Net (float16 with loss scaling) and takes bfloat16 on a CPU made for it, float32 on
    others. ``bf16`` and ``32`` hold on every device. Weights and losses stay float32.
    """
    if precision == "auto" and device.type == "cuda":
        return "16-mixed"
    precision = resolve_precision(precision, device)
    use_own_convolutions(network)
    plain = network.forward

    def forward(x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            out = plain(x)
        return [part.float() for part in out] if isinstance(out, list | tuple) else out.float()

    network.forward = forward
    return precision
