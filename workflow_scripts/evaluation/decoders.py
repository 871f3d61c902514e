"""Two decoders of the same latents, slice by slice and along depth: how well they give back a volume, at what cost."""

import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..base.seeds import torch_rng
from ..models.build_autoencoder import build_autoencoder
from ..models.depth_decoder import DepthDecoder, build_depth_decoder
from ..models.slice_autoencoder import SliceAutoencoder
from ..training.devices import autocast, default_device, describe, resolve_precision
from . import reconstruction
from .system_cost import decoder_parameters, decoding_cost

COLUMNS = ("decoder", "latent_noise", *reconstruction.COLUMNS)
SLICES_PER_BATCH = 32
REPEATS = 3  # of the decoding that is timed, after one that is not counted

Decoder = SliceAutoencoder | DepthDecoder


def decode(decoder: Decoder, z: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Image (M, D, H, W) and mask probabilities (R, D, H, W) of z (e, D, h, w); fp32, on the device of `z`."""
    with torch.inference_mode(), autocast(default_device(), precision):
        image, probabilities = decoder.decode_volumes(z[None], SLICES_PER_BATCH)
    return image[0], probabilities[0]


def jittered(z: Tensor, std: Tensor, latent_noise: float, *keys: int | str) -> Tensor:
    """z (e, D, h, w) with Gaussian noise of `latent_noise` times `std` (e,), a function of `keys`."""
    return z + latent_noise * std.view(-1, 1, 1, 1) * torch.randn(z.shape, generator=torch_rng(*keys))


def decoder_rows(
    case_id: str,
    made: Mapping[str, tuple[Tensor, Tensor]],
    x: Tensor,
    latent_noise: float,
    contract: Mapping,
) -> list[dict]:
    """Rows (`COLUMNS`) of one case: what `reconstruction.reconstruction_rows` gives, for each decoder.

    made : name of the decoder -> what `decode` gave
    x : (M+R, D, H, W) the real volume, masks as -1 and 1
    latent_noise : of the latents that were decoded, in standard deviations
    contract : of the autoencoder
    """
    rows = []
    names = contract["modalities"], contract["regions"]
    for name, pair in made.items():
        volumes = reconstruction.as_released(*pair, x, contract)
        found = reconstruction.reconstruction_rows(case_id, *volumes, *names)
        rows += [{"decoder": name, "latent_noise": latent_noise} | row for row in found]
    return rows


def cost_rows(decoders: Mapping[str, Decoder], z: Tensor, contract: dict, spec: dict, precision: str) -> list[dict]:
    """A row a decoder: trainable weights, operations of one volume (counted), and seconds (measured, the median).

    z : (e, D, h, w) on the CPU
    contract : of the autoencoder
    spec : levels and kernel_size of the depth decoder
    """
    with torch.device("meta"):
        slicewise = build_autoencoder(
            contract["spec"], len(contract["modalities"]), len(contract["masks"]), contract["grid"]
        )
        counted = {"slice": slicewise, "depth": build_depth_decoder(spec, slicewise)}
        operations = {name: decoding_cost(decoder, z.shape) for name, decoder in counted.items()}
    device = default_device()
    rows = []
    for name, decoder in decoders.items():
        seconds = []
        for _ in range(REPEATS + 1):
            started = time.perf_counter()
            decode(decoder, z, precision)  # ends on the CPU: waits for the GPU
            seconds.append(time.perf_counter() - started)
        rows.append(
            {
                "decoder": name,
                "parameters_m": decoder_parameters(decoder) / 1e6,
                "convolution_macs_g": operations[name].convolution_macs / 1e9,
                "gflop_per_volume": operations[name].flops / 1e9,
                "seconds_per_volume": float(np.median(seconds[1:])),
                "device": describe(device, resolve_precision(precision, device)),
                "grid": "x".join(map(str, contract["grid"]["size"])),
            }
        )
    return rows


def coronal_strip(images: list[Tensor], tumour: Tensor) -> np.ndarray:
    """A quick look at the coronal slice with the most tumour: uint8 (height, width), a row a volume, modalities side by
    side, superior up. images: (M, D, H, W) each, in [-1, 1]; tumour (D, H, W) booleans."""
    index = int(tumour.sum(dim=(0, 2)).argmax())
    rows = [torch.cat(list(image[:, :, index].flip(1)), dim=1) for image in images]  # (D, M W)
    return ((torch.cat(rows) + 1.0) * 127.5).round().clamp(0, 255).byte().numpy()


GRADIENTS = {"axial slices": 0, "rows": 1, "columns": 2}
"""Direction in which neighbouring voxels are compared -> axis of a volume (D, H, W)."""


def gradient_rows(image: Tensor, foreground: Tensor, modalities: list[str]) -> list[dict]:
    """Mean absolute difference of neighbouring voxels of the foreground, per modality and direction, in intensities.

    image (M, D, H, W) in [-1, 1]; foreground (D, H, W) booleans
    """
    rows = []
    for direction, axis in GRADIENTS.items():
        gradients = reconstruction.through_plane_gradient(image.movedim(axis + 1, 1), foreground.movedim(axis, 0))
        rows += [
            {"channel": name, "between": direction, "value": float(value)}
            for name, value in zip(modalities, gradients, strict=True)
        ]
    return rows
