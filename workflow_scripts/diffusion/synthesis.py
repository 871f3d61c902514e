"""From a trained generator to synthetic cases: conditions, noise, sampling, decoding, and the quality gate."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..base.errors import UserError
from ..base.seeds import numpy_rng, torch_rng
from ..cohort.regions import channels_to_levels
from ..models.build_autoencoder import build_autoencoder
from ..models.build_denoiser import build_denoiser
from ..models.build_gan import build_gan_generator
from ..study.generators import check_together
from ..training.depth_decoder_files import FOLDER, load_depth_decoder
from ..training.devices import autocast
from ..training.model_files import CONTRACT, load_model, load_weights
from .conditions import ConditionTable, draw_conditions
from .gate import foreground_mask, judge
from .samplers import SAMPLERS, X0Predictor, draw_noise
from .schedules import Schedule, build_schedule
from .settings import SynthesisSettings

DARKEST_FOREGROUND = -1.0 + 2e-4
"""Smallest intensity inside the foreground: one step of the int16 code above the background, which is exactly -1."""


@dataclass(frozen=True)
class Generator:
    """A trained generator, ready on a device.

    Attributes
    ----------
    contract : dict
        Its model.json.
    autoencoder : nn.Module
        A `VoxelSpace` where the system has none.
    decoder : nn.Module
        What decodes the latents: a depth decoder, or the autoencoder itself.
    network : nn.Module
        The denoiser, or the generator of a GAN.
    schedule : Schedule or None
        Of the noise; None for a GAN.
    """

    contract: dict
    autoencoder: nn.Module
    decoder: nn.Module
    network: nn.Module
    schedule: Schedule | None
    conditions: ConditionTable
    device: torch.device


@dataclass(frozen=True)
class Case:
    """A synthetic case that passed the gate.

    image: float32 (M, D, H, W) in [-1, 1], background exactly -1; levels: uint8 (D, H, W); requested and measured:
    condition name -> value.
    """

    number: int
    attempts: int
    requested: dict[str, float]
    measured: dict[str, float]
    image: np.ndarray
    levels: np.ndarray


@dataclass(frozen=True)
class Refusal:
    """A draw that the gate refused; `last` if the case is given up. measured is None where there was no tumour."""

    number: int
    attempt: int
    reasons: tuple[str, ...]
    measured: dict[str, float] | None
    last: bool


def load_generator(folder: str | os.PathLike, device: torch.device, depth_decoder: bool | None = None) -> Generator:
    """Load the generator in `folder`.

    Parameters
    ----------
    depth_decoder : True: decode with the depth decoder in it; False: without; None: with it where there is one

    Raises UserError if there is no generator, if its files are damaged, or if the depth decoder is missing or another
    autoencoder's.
    """
    weights, contract = load_model(folder)
    if contract["kind"] != "generator":
        raise UserError(f"{folder} holds a trained {contract['kind']}: give the folder of a generator")
    names = tuple(contract["features"]["names"])
    parts: dict[str, dict[str, Tensor]] = {"autoencoder": {}, "network": {}, "features": {}}
    for key, value in weights.items():
        part, _, name = key.partition(".")
        parts.setdefault(part, {})[name] = value
    if list(parts["features"]) != ["table"] or len(parts) > 3:
        raise UserError(f"{folder}: the weights lack features.table, or hold unknown parts; train the model again")
    channels = len(contract["modalities"]), len(contract["regions"])
    shape = contract["latent"]["shape"]
    is_gan = contract["diffusion"] is None
    modules = {
        "autoencoder": build_autoencoder(contract["autoencoder"], *channels, contract["grid"]),
        "network": build_gan_generator(contract["spec"], shape, len(names))
        if is_gan
        else build_denoiser(contract["spec"], shape[0], len(names)),
    }
    for name, module in modules.items():
        load_weights(module, parts[name], folder)
        module.eval().requires_grad_(False).to(device)
    decoder = modules["autoencoder"]
    kept = Path(folder) / FOLDER
    if depth_decoder and not (kept / CONTRACT).is_file():
        raise UserError(f"{folder} holds no depth decoder: run `snakemake generator`, or set `depth_decoder: false`")
    if depth_decoder is not False and (kept / CONTRACT).is_file():
        decoder = load_depth_decoder(kept, decoder, parts["autoencoder"]).eval().requires_grad_(False).to(device)
    table = ConditionTable(names, parts["features"]["table"].double().numpy())
    schedule = None if is_gan else build_schedule(contract["diffusion"])
    return Generator(contract, **modules, decoder=decoder, schedule=schedule, conditions=table, device=device)


def grid_affine(grid: Mapping) -> np.ndarray:
    """Affine (voxel (w, h, d) to RAS mm) of the model's grid, its centre at the origin."""
    spacing_whd = np.asarray(grid["spacing_mm"], dtype=np.float64)[::-1]
    size_whd = np.asarray(grid["size"])[::-1]
    affine = np.diag([*spacing_whd, 1.0])
    affine[:3, 3] = -spacing_whd * (size_whd - 1) / 2
    return affine


def synthesise(
    generator: Generator,
    numbers: Iterable[int],
    settings: SynthesisSettings,
    requests: Mapping[int, Mapping[str, float]] | None = None,
    extrapolate: bool = False,
    inspect: Callable[[np.ndarray], Sequence[str]] | None = None,
) -> Iterator[Case | Refusal]:
    """Make the cases of these numbers; refused draws come out as well, the last one of a case marked so.

    Features, noise and the sampler's noise of case i depend on (seed, i, attempt) alone.

    Parameters
    ----------
    requests : number -> requested conditions, all or some; the others are drawn
    extrapolate : the gate does not look at the training range of the conditions
    inspect : reasons to refuse the finished image (M, D, H, W) of a case that has passed the gate; none: it is kept
    """
    requests = requests or {}
    gate = settings.gate | ({"feature_tolerance": math.inf} if extrapolate else {})
    todo = deque((number, 0) for number in numbers)
    while todo:
        batch = [todo.popleft() for _ in range(min(settings.cases_per_batch, len(todo)))]
        drawn = [
            draw_conditions(
                generator.conditions,
                numpy_rng(settings.seed, "features", number, attempt),
                settings.smoothing,
                requests.get(number),
            )
            for number, attempt in batch
        ]
        rngs = [torch_rng(settings.seed, "noise", number, attempt) for number, attempt in batch]
        latents = sample_latents(generator, np.stack(drawn), rngs, settings)
        again = []
        for (number, attempt), conditions, latent in zip(batch, drawn, latents, strict=True):
            made = _decoded_case(generator, number, attempt, conditions, latent, settings, gate, inspect)
            if isinstance(made, Refusal) and not made.last:
                again.append((number, attempt + 1))
            yield made
        todo.extendleft(reversed(again))


@torch.inference_mode()
def sample_latents(
    generator: Generator, conditions: np.ndarray, rngs: list[torch.Generator], settings: SynthesisSettings
) -> Tensor:
    """Latents (B, e, D, h, w), in the autoencoder's own scale, for tumour conditions (B, F) and an rng each."""
    latent, sampler, device = generator.contract["latent"], settings.sampler, generator.device
    mean, std, low, high = (
        torch.tensor(latent[key], device=device).view(1, -1, 1, 1, 1) for key in ("mean", "std", "low", "high")
    )
    conditions = torch.from_numpy(generator.conditions.normalise(conditions)).float().to(device)
    with autocast(device, settings.precision):
        if generator.schedule is None:
            noise = draw_noise((len(conditions), generator.network.z_dim), rngs).to(device)
            z = generator.network(noise, conditions)
        else:
            check_together(generator.contract["diffusion"], sampler)
            predict = X0Predictor(
                generator.network,
                generator.schedule,
                generator.contract["diffusion"].get("parameterization", "v"),
                conditions,
                sampler["guidance"],
                (low, high),
            )
            noise = draw_noise((len(conditions), *latent["shape"]), rngs).to(device)
            sample = SAMPLERS[sampler["name"]]
            z = sample(predict, noise, generator.schedule, sampler["steps"], rngs, sampler["eta"])
    return z.float() * std + mean


@torch.inference_mode()
def decode(generator: Generator, latent: Tensor, settings: SynthesisSettings) -> tuple[np.ndarray, np.ndarray]:
    """Image float32 (M, D, H, W) and nested levels uint8 (D, H, W) of one latent (e, D, h, w), as decoded."""
    image, probabilities = decode_channels(generator, latent, settings)
    return image, channels_to_levels(probabilities, generator.contract["regions"])


@torch.inference_mode()
def decode_channels(generator: Generator, latent: Tensor, settings: SynthesisSettings) -> tuple[np.ndarray, np.ndarray]:
    """Image (M, D, H, W) and mask probabilities (R, D, H, W), float32, of one latent (e, D, h, w): not yet nested."""
    with autocast(generator.device, settings.precision):
        image, mask = generator.decoder.decode_volumes(latent[None], settings.slices_per_batch)
    return image[0].float().cpu().numpy(), mask[0].float().cpu().numpy()


def cut_to_foreground(image: np.ndarray, levels: np.ndarray, foreground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (M, D, H, W) and levels (D, H, W) with nothing outside of the foreground, where the image is exactly -1."""
    image = np.where(foreground, np.clip(image, DARKEST_FOREGROUND, 1.0), np.float32(-1.0)).astype(np.float32)
    return image, np.where(foreground, levels, 0).astype(np.uint8)


def _decoded_case(
    generator: Generator,
    number: int,
    attempt: int,
    conditions: np.ndarray,
    latent: Tensor,
    settings: SynthesisSettings,
    gate: dict,
    inspect: Callable[[np.ndarray], Sequence[str]] | None,
) -> Case | Refusal:
    image, levels = decode(generator, latent, settings)
    foreground = foreground_mask(image)
    contract = generator.contract
    spacing_mm = contract["grid"]["spacing_mm"]
    verdict = judge(levels, foreground, spacing_mm, generator.conditions, contract["foreground_volume_ml"], gate)
    image, levels = cut_to_foreground(image, levels, foreground)
    reasons = verdict.reasons or tuple(inspect(image) if inspect else ())
    if reasons:
        return Refusal(number, attempt, reasons, verdict.measured, attempt >= settings.max_redraws)
    requested = dict(zip(generator.conditions.names, conditions.tolist(), strict=True))
    return Case(number, attempt + 1, requested, verdict.measured, image, levels)
