"""Denoising diffusion and flow matching, over latents or voxels: the training task, and the kind of generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..base.errors import UserError
from ..base.seeds import torch_rng
from ..models.build_denoiser import build_denoiser
from ..study.settings.generator import SAMPLERS as GO_WITH_FLOW
from ..study.settings.generator import Diffusion, Sampler
from ..study.settings.training import TrainSettings
from ..training.orders import Order
from ..training.task import Player
from .generator import Cost
from .network_generator import NetworkGenerator
from .parameterizations import add_noise, loss_weight, target
from .samplers import SAMPLERS, X0Predictor, draw_noise, network_calls
from .schedules import build_schedule
from .training_set import TrainingLatents, TrainingSet


class DenoisingTask:
    """What `training.launch.train` needs to train a denoiser.

    Parameters
    ----------
    denoiser : nn.Module
        With the ``forward`` of `models.unet.UNet`.
    latents : TrainingLatents
        What is diffused, normalised per channel.
    conditions : (n, F) float32
        Normalised tumour conditions of the same cases.
    diffusion : Diffusion
        The config's block of that name.
    settings : TrainSettings
        Made of its ``training`` block.
    seed : int

    """

    def __init__(
        self,
        denoiser: nn.Module,
        latents: TrainingLatents,
        conditions: Tensor,
        diffusion: Diffusion,
        settings: TrainSettings,
        seed: int,
    ):
        self.players = {"denoiser": Player(denoiser, settings.learning_rate, settings.weight_decay)}
        self._latents, self._conditions = latents, conditions
        self._parameterization = diffusion.parameterization
        self._l1 = diffusion.loss == "l1"
        self._dropout = diffusion.condition_dropout
        self._schedule = build_schedule(diffusion)
        levels = self._schedule.of(torch.arange(self._schedule.timesteps), torch.float64)  # (T,) each
        self._weight = loss_weight(self._parameterization, *levels, diffusion.min_snr_gamma)
        self._batch_size, self._seed = settings.batch_size, seed

    def batch(self, step: int) -> dict[str, Tensor]:
        """Clean latents (B, e, D, h, w), noise of that shape, time steps (B,), conditions (B, F), keep (B,) booleans.

        Cases come in shuffled rounds: each is seen equally often. Time steps are stratified over the batch (Kingma et
        al. 2021, arXiv 2107.00630, appendix I.1), which steadies the loss of small batches.
        """
        chosen = torch.from_numpy(Order(self._seed, "round of cases", len(self._latents)).batch(step, self._batch_size))
        rng = torch_rng(self._seed, "diffusion batch", step)
        latents = self._latents[chosen]
        noise = torch.randn(latents.shape, generator=rng)
        u = torch.rand(1, generator=rng) + torch.arange(self._batch_size) / self._batch_size
        time = ((u % 1.0) * len(self._weight)).long().clamp(max=len(self._weight) - 1)
        keep = torch.rand(self._batch_size, generator=rng) >= self._dropout
        return {"latents": latents, "noise": noise, "time": time, "conditions": self._conditions[chosen], "keep": keep}

    def loss(
        self, player: str, modules: Mapping[str, nn.Module], batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted distance between prediction and target, a mean over samples, and the same without weights."""
        x0, noise, time = batch["latents"], batch["noise"], batch["time"]
        place = (-1, *[1] * (x0.ndim - 1))
        level = [value.view(place) for value in self._schedule.of(time)]  # alpha, sigma: (B, 1, 1, 1, 1)
        noisy = add_noise(x0, noise, *level)
        prediction = modules[player](noisy, time.float(), batch["conditions"], batch["keep"])
        error = prediction.float() - target(self._parameterization, x0, noise, *level)
        distance = (error.abs() if self._l1 else error.square()).flatten(1).mean(dim=1)  # (B,)
        weight = self._weight.to(time.device)[time].float()
        return (weight * distance).mean(), {"unweighted": distance.mean()}


class Denoising(NetworkGenerator):
    """A denoiser, from pure noise to a clean latent by one of `samplers.SAMPLERS`."""

    kind: ClassVar[str] = "diffusion"
    network_block: ClassVar[str] = "denoiser"
    player: ClassVar[str] = "denoiser"
    normalised: ClassVar[bool] = True

    @classmethod
    def build(cls, spec: dict, shape: Sequence[int], n_conditions: int) -> nn.Module:
        return build_denoiser(spec, shape[0], n_conditions)

    @classmethod
    def task(
        cls, blocks: dict, data: TrainingSet, conditions: Tensor, settings: TrainSettings, seed: int
    ) -> DenoisingTask:
        denoiser = cls.build(blocks["denoiser"], data.scale["shape"], conditions.shape[1])
        return DenoisingTask(
            denoiser, data.latents, conditions, Diffusion.read(blocks["diffusion"], "diffusion"), settings, seed
        )

    def draw(self, conditions: Tensor, rngs: list[torch.Generator], bounds: tuple[Tensor, Tensor]) -> Tensor:
        diffusion = Diffusion.read(self.contract["generator"]["diffusion"], "diffusion")
        sampler = self.settings.sampler
        if GO_WITH_FLOW[sampler.name] != diffusion.is_flow:
            raise UserError(
                f"sampler.name is {sampler.name!r}, which does not go with the schedule that {self.contract['name']} was "
                f"trained on: write one of {', '.join(name for name in GO_WITH_FLOW if GO_WITH_FLOW[name] != GO_WITH_FLOW[sampler.name])}"
            )
        schedule, parameterization = build_schedule(diffusion), diffusion.parameterization
        predict = X0Predictor(self.network, schedule, parameterization, conditions, sampler.guidance, bounds)
        noise = draw_noise((len(conditions), *self.contract["latent"]["shape"]), rngs).to(self.device)
        return SAMPLERS[sampler.name](predict, noise, schedule, sampler.steps, rngs, sampler.eta)

    def describe(self) -> str:
        return f"{self.settings.sampler.name}, {self.settings.sampler.steps} steps"

    @classmethod
    def cost(cls, blocks: dict, shape: Sequence[int], n_conditions: int) -> Cost:
        network = cls.build(blocks["denoiser"], shape, n_conditions).eval()
        inputs = (torch.empty(1, *shape), torch.empty(1), torch.empty(1, n_conditions))
        return Cost(network, inputs, network_calls(Sampler.read(blocks["sampler"], "sampler")))
