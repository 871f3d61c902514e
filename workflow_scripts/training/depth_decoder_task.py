"""Training task of the depth decoder: real slabs from their latents, which are jittered as a generator's are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..base.seeds import torch_rng
from ..models.depth_decoder import DepthDecoder
from ..study.settings.training import TrainSettings
from .losses import ReconstructionLoss
from .slab_data import SlabData
from .task import Player


class DepthDecoderTask:
    """Player "depth_decoder" on random slabs.

    Parameters
    ----------
    module : DepthDecoder
    data : SlabData
    loss : ReconstructionLoss
        Of the autoencoder; its Kullback-Leibler term does not count, since the latents are given.
    through_plane : float
        Weight of the L1 distance of through-plane differences (`through_plane_loss`).
    latent_std : (e,) standard deviation of each latent channel over the train subset
    latent_noise : float
        Largest standard deviation of the Gaussian noise on the latents, in units of `latent_std`: a generator's latents
        do not fit from slice to slice as encoded ones do. Half of the slabs (drawn) have none, or the decoder learns to
        blur what fits; that of the others is drawn evenly from 0 to it.
    settings : TrainSettings
    seed : int
        Of the noise.
    """

    def __init__(
        self,
        module: DepthDecoder,
        data: SlabData,
        loss: ReconstructionLoss,
        through_plane: float,
        latent_std: Tensor,
        latent_noise: float,
        settings: TrainSettings,
        seed: int,
    ):
        self.players = {"depth_decoder": Player(module, settings.learning_rate, settings.weight_decay)}
        self._data, self._loss, self._through_plane = data, loss, through_plane
        self._noise = latent_noise * latent_std.view(1, -1, 1, 1, 1)
        self._batch_size, self._seed = settings.batch_size, seed

    def batch(self, step: int) -> dict[str, Tensor]:
        """x (B, M+R, S, H, W); noisy z (B, e, S + 2 halo, h, w); position (B, S + 2 halo)."""
        batch = self._data.draw(step, self._batch_size)
        rng = torch_rng(self._seed, "latent jitter", step)
        share = (2.0 * torch.rand((self._batch_size, 1, 1, 1, 1), generator=rng) - 1.0).clamp(min=0.0)
        noise = torch.randn(batch["z"].shape, generator=rng)
        return batch | {"z": batch["z"] + share * self._noise * noise}

    def loss(
        self, player: str, modules: Mapping[str, nn.Module], batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The autoencoder's reconstruction loss, plus that of the through-plane differences."""
        output = modules[player](batch["z"], batch["position"]).float()
        nothing = output.new_zeros(())
        loss, terms = self._loss(output, batch["x"], nothing, nothing)
        terms["through_plane"] = through_plane_loss(self._loss.as_images(output, batch["x"]), batch["x"])
        return loss + self._through_plane * terms["through_plane"], terms


def through_plane_loss(images: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbouring slices: both (B, C, S, H, W) -> scalar."""
    return (images.diff(dim=2) - x.diff(dim=2)).abs().mean()
