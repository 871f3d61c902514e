"""What a system costs: parameters and floating-point operations, counted without computing anything.

Networks are built on torch's meta device, where an operation has shapes and no numbers, so that networks of tens of
TFLOP are counted in seconds. One multiply-accumulate is two FLOP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, register_flop_formula

from ..diffusion.kinds import kind_of
from ..models.build_autoencoder import build_autoencoder
from ..models.build_denoiser import build_denoiser
from ..models.patch_discriminator import PatchDiscriminator
from ..models.slice_autoencoder import SliceAutoencoder

CONVOLUTION = "convolution"


@dataclass(frozen=True)
class Count:
    """Cost of one forward pass.

    flops: of everything that torch counts (convolutions, matrix products, attention); convolution_macs: multiply-
    accumulates of the convolutions alone.
    """

    flops: int
    convolution_macs: int


NOTHING = Count(0, 0)


@register_flop_formula(torch.ops.aten.mkldnn_convolution)
def _onednn_convolution(x_shape, weight_shape, *settings, out_shape=None, **options) -> int:
    """What `Conv3d` calls on a CPU, and torch's counter does not know."""
    return conv_flop_count(x_shape, weight_shape, out_shape)


def count(function: Callable, *inputs: torch.Tensor) -> Count:
    """Count what `function` does with `inputs`: on the meta device, which costs nothing, or on a real one."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    operations = counter.get_flop_counts().get("Global", {})
    convolutions = sum(flops for name, flops in operations.items() if CONVOLUTION in str(name))
    return Count(sum(operations.values()), convolutions // 2)


def parameters(*modules: nn.Module | None) -> int:
    """Trainable weights."""
    return sum(weight.numel() for module in modules if module is not None for weight in module.parameters())


def convolution_parameters(module: nn.Module) -> int:
    """Weights of the convolutions alone: what the paper counts."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d)]
    return sum(weight.numel() for layer in layers for weight in layer.parameters())


def system_cost(
    system: dict, image_channels: int, mask_channels: int, size: Sequence[int], conditions: Sequence[str]
) -> dict:
    """Cost of one volume, batch 1, at the run's own grid and widths.

    system : a resolved file of config/systems/
    image_channels, mask_channels : M modalities, R masks
    size : [D, H, W]
    conditions : names of the tumour conditions

    Returns parameters (autoencoder, network, discriminators), FLOP (encode, call, calls, sampling, decode, volume):
    "volume" is sampling and decoding, what a synthetic case costs; "calls" is how often the network is called.
    """
    grid = {"size": list(size), "spacing_mm": [1.0, 1.0, 1.0]}
    with torch.device("meta"):
        autoencoder = build_autoencoder(system["autoencoder"], image_channels, mask_channels, grid)
        shape = autoencoder.latent_shape(size)
        encode, decode = _coding(autoencoder, image_channels + mask_channels, size, shape)
        made_by = kind_of(system["kind"]).cost(system, shape, conditions)
        call = count(made_by.network, *made_by.inputs) if made_by.network else NOTHING
        discriminators = [_patch_discriminator(system, image_channels, mask_channels), *made_by.besides]
    sampling = call.flops * made_by.calls
    return {
        "autoencoder_parameters": parameters(autoencoder),
        "network_parameters": parameters(made_by.network),
        "discriminator_parameters": parameters(*discriminators),
        "encode_flop": encode.flops,
        "call_flop": call.flops,
        "calls": made_by.calls,
        "sampling_flop": sampling,
        "decode_flop": decode.flops,
        "volume_flop": sampling + decode.flops,
    }


def _coding(autoencoder: nn.Module, channels: int, size: Sequence[int], shape: Sequence[int]) -> tuple[Count, Count]:
    """Encoding and decoding of one volume."""
    if isinstance(autoencoder, SliceAutoencoder):
        position = torch.empty(size[0])
        encode = count(autoencoder.encode, torch.empty(size[0], channels, *size[1:]), position)
        latent = torch.empty(size[0], shape[0], *shape[2:])
        return encode, count(autoencoder.decode, latent, position)
    if not parameters(autoencoder):
        return NOTHING, NOTHING
    return count(autoencoder.encode, torch.empty(1, channels, *size)), count(autoencoder.decode, torch.empty(1, *shape))


def _patch_discriminator(system: dict, image_channels: int, mask_channels: int) -> nn.Module | None:
    block = (system["autoencoder"] or {}).get("discriminator")
    return PatchDiscriminator(image_channels + mask_channels, block["channels"]) if block else None


def published_cost(system: dict, entry: dict, n_conditions: int = 9) -> tuple[float, float]:
    """Our count at a setting that the paper prints: multiply-accumulates (G), parameters (M), convolutions alone.

    system : a file of config/systems/ as shipped
    entry : of its ``published`` list: part, size, batch, channels
    n_conditions : the paper conditions on nine
    """
    size, channels = list(entry["size"]), entry["channels"]
    with torch.device("meta"):
        if entry["part"] == "denoiser":
            module = build_denoiser(system["denoiser"], channels, n_conditions)
            network = getattr(module, "unet", module) if len(size) == 2 else module
            cost = count(network, torch.empty(entry["batch"], channels, *size), torch.empty(entry["batch"]))
        elif entry["part"] == "discriminator":
            module = PatchDiscriminator(channels, system["autoencoder"]["discriminator"]["channels"])
            cost = count(module, torch.empty(entry["batch"], channels, *size))
        else:
            module, cost = _published_autoencoder(system["autoencoder"], size, channels, entry["batch"])
    return cost.convolution_macs / 1e9, convolution_parameters(module) / 1e6


def _published_autoencoder(spec: dict, size: list[int], channels: int, batch: int) -> tuple[nn.Module, Count]:
    """Encoder and decoder once: the first of the channels is the image, the last one the mask."""
    grid = {"size": [96, *size] if len(size) == 2 else size, "spacing_mm": [1.0, 1.0, 1.0]}
    module = build_autoencoder(spec, channels - 1, 1, grid)
    latent = (batch, spec["latent_channels"], *(edge // module.reduction for edge in size))
    position = [torch.empty(batch)] if len(size) == 2 else []
    cost = count(module, torch.empty(batch, channels, *size), *position, torch.empty(latent))
    return module, cost
