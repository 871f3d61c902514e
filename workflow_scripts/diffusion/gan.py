"""A least-squares GAN under tumour conditions: the training task, and the kind of generator."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..base.seeds import torch_rng
from ..models.build_gan import build_gan_discriminator, build_gan_generator
from ..models.gan import GanDiscriminator, GanGenerator
from ..study.settings.generator import Gan as GanSettings
from ..study.settings.training import TrainSettings
from ..training.losses import least_squares_discriminator, least_squares_generator
from ..training.orders import Order
from ..training.task import Player
from .generator import Cost
from .network_generator import NetworkGenerator
from .samplers import draw_noise
from .training_set import TrainingLatents, TrainingSet

BETAS = (0.5, 0.999)  # of AdamW, for both players (Radford et al. 2016)


class GanTask:
    """Players "generator" and "discriminator" with least-squares losses (Mao et al. 2017).

    latents : what is generated; in [-1, 1]
    conditions : (n, F) float32; normalised tumour conditions of the same cases
    gan : the config's block of that name
    settings : made of its ``training`` block
    """

    def __init__(
        self,
        generator: GanGenerator,
        discriminator: GanDiscriminator,
        latents: TrainingLatents,
        conditions: Tensor,
        gan: GanSettings,
        settings: TrainSettings,
        seed: int,
    ):
        rate = gan.discriminator_learning_rate or settings.learning_rate
        self.players = {
            "generator": Player(generator, settings.learning_rate, settings.weight_decay, BETAS),
            "discriminator": Player(discriminator, rate, settings.weight_decay, BETAS),
        }
        self._latents, self._conditions, self._z_dim = latents, conditions, generator.z_dim
        self._batch_size, self._seed = settings.batch_size, seed
        self._made: Tensor | None = None  # this step's volumes, from one player's turn to the next

    def batch(self, step: int) -> dict[str, Tensor]:
        """Real volumes (B, C, D, H, W), noise z (B, z_dim), conditions (B, F): made and real are asked for the same."""
        chosen = torch.from_numpy(Order(self._seed, "round of cases", len(self._latents)).batch(step, self._batch_size))
        z = torch.randn((self._batch_size, self._z_dim), generator=torch_rng(self._seed, "gan batch", step))
        return {"real": self._latents[chosen], "z": z, "conditions": self._conditions[chosen]}

    def loss(
        self, player: str, modules: Mapping[str, nn.Module], batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator is judged, then the discriminator learns from the same volumes."""
        judge = modules["discriminator"]
        if player == "generator":
            made = modules["generator"](batch["z"], batch["conditions"])
            self._made = made.detach()
            return least_squares_generator(judge(made, batch["conditions"])), {}
        return least_squares_discriminator(
            judge(batch["real"], batch["conditions"]), judge(self._made, batch["conditions"])
        )


class Gan(NetworkGenerator):
    """The generator's network of a GAN: volumes from noise in one pass."""

    network: GanGenerator

    kind: ClassVar[str] = "gan"
    network_block: ClassVar[str] = "gan"
    player: ClassVar[str] = "generator"
    normalised: ClassVar[bool] = False

    @classmethod
    def build(cls, blocks: dict, shape: Sequence[int], names: Sequence[str]) -> GanGenerator:
        return build_gan_generator(blocks["gan"], shape, len(names))

    @classmethod
    def task(cls, blocks: dict, data: TrainingSet, conditions: Tensor, settings: TrainSettings, seed: int) -> GanTask:
        shape, names = data.scale["shape"], data.conditions.names
        players = cls.build(blocks, shape, names), build_gan_discriminator(blocks["gan"], shape, len(names))
        return GanTask(*players, data.latents, conditions, GanSettings.read(blocks["gan"], "gan"), settings, seed)

    def draw(self, conditions: Tensor, rngs: list[torch.Generator], bounds: tuple[Tensor, Tensor]) -> Tensor:
        noise = draw_noise((len(conditions), self.network.z_dim), rngs).to(self.device)
        return self.network(noise, conditions)

    def describe(self) -> str:
        return "one pass"

    @classmethod
    def cost(cls, blocks: dict, shape: Sequence[int], names: Sequence[str]) -> Cost:
        network = cls.build(blocks, shape, names).eval()
        inputs = (torch.empty(1, network.z_dim), torch.empty(1, len(names)))
        return Cost(network, inputs, 1, (build_gan_discriminator(blocks["gan"], shape, len(names)),))
