"""Training task of the slice autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..base.seeds import torch_generator
from ..models.slice_autoencoder import SliceAutoencoder
from .losses import ReconstructionLoss
from .settings import TrainSettings
from .slice_data import SliceData
from .task import Player


class AutoencoderTask:
    """One player, "autoencoder", on random slices.

    Parameters
    ----------
    module : SliceAutoencoder
    data : SliceData
    loss : ReconstructionLoss
    settings : TrainSettings
    seed : int
        Of the posterior samples.
    """

    def __init__(
        self,
        module: SliceAutoencoder,
        data: SliceData,
        loss: ReconstructionLoss,
        settings: TrainSettings,
        seed: int,
        grid: dict,
    ):
        self.players = {"autoencoder": Player(module, settings.learning_rate, settings.weight_decay)}
        self._data, self._loss, self._batch_size, self._seed = data, loss, settings.batch_size, seed
        self._positions = module.positions(grid["size"][0])
        latent_channels, _, height, width = module.latent_shape(grid["size"])
        self._latent_shape = (latent_channels, height, width)

    def batch(self, step: int) -> dict[str, Tensor]:
        """x (B, M+R, H, W), position (B,), noise (B, e, h, w)."""
        x, slices = self._data.draw(step, self._batch_size)
        generator = torch_generator(self._seed, "posterior", step)
        noise = torch.randn((len(x), *self._latent_shape), generator=generator)
        return {"x": x, "position": self._positions[slices], "noise": noise}

    def loss(
        self, player: str, modules: dict[str, nn.Module], batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruct the batch through sampled latents."""
        output, mean, log_variance = modules[player](batch["x"], batch["position"], batch["noise"])
        return self._loss(output.float(), batch["x"], mean.float(), log_variance.float())


def reconstruct(module: nn.Module, x: Tensor, slices_per_batch: int) -> tuple[Tensor, Tensor]:
    """Volumes through the posterior mean and back: x (B, M+R, D, H, W) -> image, mask probabilities."""
    with torch.inference_mode():
        return module.decode_volumes(module.encode_volumes(x, slices_per_batch), slices_per_batch)
