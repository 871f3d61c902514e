"""Training task of an autoencoder, with or without a discriminator of its reconstructions."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..base.seeds import torch_rng
from ..models.build_autoencoder import Autoencoder
from ..models.slice_autoencoder import SliceAutoencoder
from ..models.volume_autoencoder import VolumeAutoencoder
from ..study.settings.autoencoder import Discriminator
from ..study.settings.training import TrainSettings
from .losses import ReconstructionLoss, least_squares_discriminator, least_squares_generator
from .patch_data import PatchData
from .slice_data import SliceData
from .task import Player


class AutoencoderTask:
    """Player "autoencoder" on random slices or patches; with a discriminator a second player of that name.

    module, data : the data's batches hold what the network's ``forward`` takes, but for the noise
    seed : of the posterior samples
    adversarial : its settings:
        weight of the adversarial term, start_step from which it counts (the discriminator learns from step 0 on), and
        the discriminator's learning_rate.
    """

    def __init__(
        self,
        module: SliceAutoencoder | VolumeAutoencoder,
        data: SliceData | PatchData,
        loss: ReconstructionLoss,
        settings: TrainSettings,
        seed: int,
        discriminator: nn.Module | None = None,
        adversarial: Discriminator | None = None,
    ):
        self.players = {"autoencoder": Player(module, settings.learning_rate, settings.weight_decay)}
        if discriminator is not None:
            self._adversarial = adversarial or Discriminator()
            rate = self._adversarial.learning_rate
            self.players["discriminator"] = Player(discriminator, rate, settings.weight_decay, betas=(0.5, 0.9))
        self._data, self._loss, self._batch_size, self._seed = data, loss, settings.batch_size, seed
        self._latent_channels, self._reduction = module.latent_channels, module.reduction
        self._made: Tensor | None = None  # this step's reconstruction, from one player's turn to the next

    def batch(self, step: int) -> dict[str, Tensor]:
        """x (B, M+R, *size), noise (B, e, *size / reduction), and for slices position (B,)."""
        batch = self._data.draw(step, self._batch_size)
        size = [edge // self._reduction for edge in batch["x"].shape[2:]]
        shape = (self._batch_size, self._latent_channels, *size)
        return batch | {"noise": torch.randn(shape, generator=torch_rng(self._seed, "posterior", step))}

    def loss(
        self, player: str, modules: Mapping[str, nn.Module], batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The autoencoder reconstructs the batch through sampled latents; then the discriminator judges the same."""
        if player == "discriminator":
            return least_squares_discriminator(modules[player](batch["x"]), modules[player](self._made))
        output, mean, log_variance = (value.float() for value in modules[player](**batch))
        loss, terms = self._loss(output, batch["x"], mean, log_variance)
        if "discriminator" in self.players:
            made = self._loss.as_images(output, batch["x"])
            terms["adversarial"] = least_squares_generator(modules["discriminator"](made))
            if step >= self._adversarial.start_step:
                loss = loss + self._adversarial.weight * terms["adversarial"]
            self._made = made.detach()
        return loss, terms


def reconstruct(module: Autoencoder, x: Tensor, slices_per_batch: int) -> tuple[Tensor, Tensor]:
    """Volumes through the posterior mean and back: x (B, M+R, D, H, W) -> image, mask probabilities."""
    with torch.inference_mode():
        return module.decode_volumes(module.encode_volumes(x, slices_per_batch), slices_per_batch)
