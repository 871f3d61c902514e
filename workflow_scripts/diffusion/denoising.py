"""Denoising diffusion and flow matching, over latents or voxels: the training task, and the kind of generator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..base.errors import UserError
from ..base.seeds import torch_rng
from ..models.build_denoiser import build_denoiser
from ..study.settings.generator import SAMPLERS as GO_WITH_FLOW
from ..study.settings.generator import Conditions, Diffusion, Sampler
from ..study.settings.training import TrainSettings
from ..training.orders import Order
from ..training.task import Player
from .conditioning import Conditioning, n_maps, n_numbers
from .conditions import ConditionTable
from .editing import Known
from .generator import Cost
from .network_generator import NetworkGenerator
from .parameterizations import add_noise, loss_weight, target
from .samplers import SAMPLERS, DepthCorrelated, Predictor, X0Predictor, draw_noise, network_calls
from .schedules import build_schedule
from .training_set import TrainingSet

HELD_OUT_BATCHES = 16
UNCHANGED = 0.5
"""Share of the samples, of cases that have changed copies, that are the case itself or its mirror image."""


class DenoisingTask:
    """What `training.launch.train` needs to train a denoiser.

    denoiser : with the ``forward`` of `models.unet.UNet`
    data : what is diffused, normalised, and the tumour conditions of the same cases
    conditioning : what the denoiser is told of them
    diffusion : the config's block of that name
    settings : made of its ``training`` block
    """

    def __init__(
        self,
        denoiser: nn.Module,
        data: TrainingSet,
        conditioning: Conditioning,
        diffusion: Diffusion,
        settings: TrainSettings,
        seed: int,
    ):
        self.players = {"denoiser": Player(denoiser, settings.learning_rate, settings.weight_decay)}
        self._latents, self._variants, self._conditioning = data.latents, data.variants, conditioning
        self._conditions = torch.from_numpy(data.conditions.rows).float()  # (n, F)
        self._depth_correlation = diffusion.depth_correlation
        self._parameterization = diffusion.parameterization
        self._l1 = diffusion.loss == "l1"
        self._dropout = diffusion.condition_dropout
        self._schedule = build_schedule(diffusion)
        levels = self._schedule.of(torch.arange(self._schedule.timesteps), torch.float64)  # (T,) each
        self._weight = loss_weight(self._parameterization, *levels, diffusion.min_snr_gamma)
        self._batch_size, self._seed = settings.batch_size, seed
        self.held_out: HeldOutLoss | None = None

    def batch(self, step: int) -> dict[str, Tensor]:
        """Clean latents (B, e, D, h, w), noise of that shape, time steps (B,), conditions (B, S + L), keep (B,) booleans,
        and the spatial condition, maps (B, R, D, h, w), if there is one.

        Cases come in shuffled rounds: each is seen equally often, half of the times as it is or mirrored, where it has
        changed copies, else as one of those. Time steps are stratified over the batch (Kingma et
        al. 2021, arXiv 2107.00630, appendix I.1), which steadies the loss of small batches.
        """
        chosen = torch.from_numpy(Order(self._seed, "round of cases", len(self._latents)).batch(step, self._batch_size))
        rng = torch_rng(self._seed, "diffusion batch", step)
        latents, conditions, labels = self._cases(chosen, step)
        noise = draw_noise(latents.shape, DepthCorrelated(rng, self._depth_correlation))
        u = torch.rand(1, generator=rng) + torch.arange(self._batch_size) / self._batch_size
        time = ((u % 1.0) * len(self._weight)).long().clamp(max=len(self._weight) - 1)
        keep = torch.rand(self._batch_size, generator=rng) >= self._dropout
        told = torch_rng(self._seed, "condition noise", step)
        conditions = self._conditioning.perturbed(conditions, told)
        batch = {"latents": latents, "noise": noise, "time": time, "keep": keep}
        batch["conditions"] = self._conditioning.numbers(conditions, told, labels)
        maps = self._conditioning.maps(conditions)
        return batch if maps is None else batch | {"maps": maps}

    def _cases(self, chosen: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Latents, conditions (B, F) and labels (B, L) of the cases of these numbers, or of copies of them."""
        if self._variants is None:
            return self._latents[chosen], self._conditions[chosen], None
        count = self._variants.latents.shape[1]
        rng = torch_rng(self._seed, "variants", step)
        unchanged = torch.rand(len(chosen), generator=rng) < UNCHANGED
        few, any_one = (torch.randint(top, chosen.shape, generator=rng) for top in (min(2, count), count))
        place = chosen, torch.where(unchanged, few, any_one)
        return self._variants.latents[place], self._variants.conditions[place], self._variants.labels[place]

    def loss(
        self, player: str, modules: Mapping[str, Callable[..., Tensor]], batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted distance between prediction and target, a mean over samples, and the same without weights."""
        x0, noise, time = batch["latents"], batch["noise"], batch["time"]
        place = (-1, *[1] * (x0.ndim - 1))
        level = [value.view(place) for value in self._schedule.of(time)]  # alpha, sigma: (B, 1, 1, 1, 1)
        noisy = add_noise(x0, noise, *level)
        maps = [batch["maps"]] if "maps" in batch else []
        prediction = modules[player](noisy, time.float(), batch["conditions"], batch["keep"], *maps)
        error = prediction.float() - target(self._parameterization, x0, noise, *level)
        distance = (error.abs() if self._l1 else error.square()).flatten(1).mean(dim=1)  # (B,)
        weight = self._weight.to(time.device)[time].float()
        return (weight * distance).mean(), {"unweighted": distance.mean()}


class HeldOutLoss:
    """The loss of a task over the validation cases: the same noise and time steps each time, and the conditions as they are.

    See `training.held_out.HeldOut`.
    """

    def __init__(self, task: DenoisingTask, every_steps: int):
        self.every_steps, self._task = every_steps, task

    def loss(self, modules: Mapping[str, Callable[..., Tensor]], device: torch.device) -> float:
        found = []
        for number in range(HELD_OUT_BATCHES):
            batch = {name: value.to(device) for name, value in self._task.batch(number).items()}
            found.append(float(self._task.loss("denoiser", modules, batch, number)[0]))
        return sum(found) / len(found)


class Denoising(NetworkGenerator):
    """A denoiser, from pure noise to a clean latent by one of `samplers.SAMPLERS`."""

    kind: ClassVar[str] = "diffusion"
    network_block: ClassVar[str] = "denoiser"
    player: ClassVar[str] = "denoiser"
    normalised: ClassVar[bool] = True

    @classmethod
    def build(cls, blocks: dict, shape: Sequence[int], names: Sequence[str]) -> nn.Module:
        told = Conditions.read(blocks["conditions"], "conditions")
        return build_denoiser(blocks["denoiser"], shape[0], *n_numbers(told, names), n_maps(told, names))

    @classmethod
    def task(
        cls, blocks: dict, data: TrainingSet, conditions: Tensor, settings: TrainSettings, seed: int
    ) -> DenoisingTask:
        denoiser = cls.build(blocks, data.scale["shape"], data.conditions.names)
        told = Conditions.read(blocks["conditions"], "conditions")
        conditioning = Conditioning(told, data.conditions, data.contract["grid"], data.scale["shape"])
        diffusion = Diffusion.read(blocks["diffusion"], "diffusion")
        task = DenoisingTask(denoiser, data, conditioning, diffusion, settings, seed)
        if data.held_out is not None and diffusion.held_out_every_steps is not None:
            latents, rows = data.held_out
            held_out = replace(
                data, latents=latents, conditions=ConditionTable(data.conditions.names, rows), variants=None
            )
            plain = replace(conditioning, settings=told.model_copy(update={"noise": 0.0, "spatial_jitter": 0.0}))
            asked = diffusion.model_copy(update={"condition_dropout": 0.0})
            judged = DenoisingTask(denoiser, held_out, plain, asked, settings, seed)
            task.held_out = HeldOutLoss(judged, diffusion.held_out_every_steps)
        return task

    @property
    def conditioning(self) -> Conditioning:
        """What the denoiser is told of a request."""
        told = Conditions.read(self.contract["generator"]["conditions"], "conditions")
        return Conditioning(told, self.conditions, self.contract["grid"], self.contract["latent"]["shape"])

    def draw(
        self,
        conditions: Tensor,
        rngs: list[torch.Generator],
        bounds: tuple[Tensor, Tensor],
        known: Known | None = None,
    ) -> Tensor:
        """As `NetworkGenerator.draw`; with what is `known`, in its region alone."""
        diffusion = Diffusion.read(self.contract["generator"]["diffusion"], "diffusion")
        sampler = self.settings.sampler
        if GO_WITH_FLOW[sampler.name] != diffusion.is_flow:
            raise UserError(
                f"sampler.name is {sampler.name!r}, which does not go with the schedule that {self.contract['name']} was "
                f"trained on: write one of {', '.join(name for name in GO_WITH_FLOW if GO_WITH_FLOW[name] != GO_WITH_FLOW[sampler.name])}"
            )
        schedule, parameterization = build_schedule(diffusion), diffusion.parameterization
        wanted = torch.from_numpy(self.conditions.restore(conditions.double().cpu().numpy())).float()
        numbers, maps = self.conditioning.numbers(wanted), self.conditioning.maps(wanted)
        numbers, maps = numbers.to(self.device), None if maps is None else maps.to(self.device)
        predict: Predictor = X0Predictor(
            self.network, schedule, parameterization, numbers, sampler.guidance, bounds, maps
        )
        source = DepthCorrelated(rngs, diffusion.depth_correlation)
        noise = draw_noise((len(conditions), *self.contract["latent"]["shape"]), source).to(self.device)
        if known is not None:
            noise = known.start(noise, *schedule.at(schedule.timesteps - 1))
            predict = known.kept(predict)
        return SAMPLERS[sampler.name](predict, noise, schedule, sampler.steps, source, sampler.eta)

    def describe(self) -> str:
        return f"{self.settings.sampler.name}, {self.settings.sampler.steps} steps"

    @classmethod
    def cost(cls, blocks: dict, shape: Sequence[int], names: Sequence[str]) -> Cost:
        network = cls.build(blocks, shape, names).eval()
        told = Conditions.read(blocks["conditions"], "conditions")
        inputs = (torch.empty(1, *shape), torch.empty(1), torch.empty(1, sum(n_numbers(told, names))))
        return Cost(network, inputs, network_calls(Sampler.read(blocks["sampler"], "sampler")))
