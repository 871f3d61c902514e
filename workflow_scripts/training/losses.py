"""The loss of an autoencoder of images in [-1, 1] and nested masks: a weighted sum of terms, each a mean over samples."""

from __future__ import annotations

from typing import cast

import torch
from monai.losses import SSIMLoss
from torch import Tensor
from torch.nn import functional

from ..models.feature_network import FeatureNetwork, load_feature_network
from ..study.settings.autoencoder import Loss

TERMS = ("l1", "ssim", "kl", "dice", "bce", "perceptual")
SSIM_WINDOW = 11  # pixels, Gaussian of standard deviation 1.5: Wang et al. 2004


def ssim_window(*edges: int) -> int:
    """Edge of the SSIM window, pixels: `SSIM_WINDOW`, or the largest odd number that a smaller image holds."""
    smallest = min(edges)
    return min(SSIM_WINDOW, smallest - 1 + smallest % 2)


def kl_to_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of the posterior to a standard normal: summed over the latent (as in Kebaili et al. 2024 and
    Rombach et al. 2022), averaged over the batch. mean, log_variance (B, ...) -> scalar."""
    terms = mean.square() + log_variance.exp() - 1.0 - log_variance
    return 0.5 * terms.flatten(1).sum(dim=1).mean()


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft Dice of each sample and channel, averaged: logits, target in {0, 1} (B, R, *size) -> scalar.

    One voxel is added above and below the line, so that an empty mask predicted empty costs nothing.
    """
    probability = logits.sigmoid()
    overlap = (probability * target).flatten(2).sum(dim=2)
    total = probability.flatten(2).sum(dim=2) + target.flatten(2).sum(dim=2)
    return (1.0 - (2.0 * overlap + 1.0) / (total + 1.0)).mean()


def perceptual_loss(network: FeatureNetwork, x: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance of unit feature vectors, summed over stages (Zhang et al. 2018, without learned weights).

    x, y (B, C, H, W) in [-1, 1]; each channel is a grey image of its own -> scalar
    """
    pair = torch.cat([x, y]).clamp(-1.0, 1.0)
    grey = ((pair + 1.0) / 2.0).flatten(0, 1)[:, None].expand(-1, 3, -1, -1)  # (2 B C, 3, H, W)
    loss = x.new_zeros(())
    for features in network.stages(grey):
        unit = functional.normalize(features, dim=1, eps=1e-6)
        one, other = unit.chunk(2)
        loss = loss + (one - other).square().sum(dim=1).mean()
    return loss


def least_squares_generator(made: Tensor) -> Tensor:
    """What the made samples lack to be judged real (Mao et al. 2017, arXiv 1611.04076, eq. 9): scores -> scalar."""
    return (made.float() - 1.0).square().mean()


def least_squares_discriminator(real: Tensor, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of the discriminator (Mao et al. 2017, eq. 9), 1 for real and 0 for made; its terms: both mean scores."""
    loss = 0.5 * ((real.float() - 1.0).square().mean() + made.float().square().mean())
    return loss, {"score_real": real.float().mean(), "score_made": made.float().mean()}


def as_slices(x: Tensor) -> Tensor:
    """Slices as they are, volumes as their axial slices: (B, C, H, W) or (B, C, D, H, W) -> (n, C, H, W)."""
    return x if x.ndim == 4 else x.transpose(1, 2).flatten(0, 1)


class ReconstructionLoss:
    """Weighted sum of the terms of the config's ``loss`` block.

    L1, 1 - SSIM and the perceptual term compare intensities, the latter two in axial slices. Where Dice and BCE both weigh 0, the masks are learned as
    images in [-1, 1] by those terms too, as in Kebaili et al. 2024; else Dice and BCE alone teach them.

    Parameters
    ----------
    settings : Loss
        The config's ``loss`` block.
    image_channels : int
        M; the channels after them are masks.
    """

    def __init__(self, settings: Loss, image_channels: int):
        self.weights = {term: float(getattr(settings, term)) for term in TERMS}
        self.image_channels = image_channels
        self.masks_as_images = not self.weights["dice"] and not self.weights["bce"]
        self._network: FeatureNetwork | None = None
        if self.weights["perceptual"]:
            self._network = load_feature_network(settings.perceptual_weights, settings.perceptual_sha256)

    def __call__(self, output: Tensor, x: Tensor, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, dict]:
        """output and x (B, M+R, H, W) or (B, M+R, D, H, W), mean and log_variance (B, ...) -> loss, terms before weighting."""
        m = self.image_channels
        image, target = output[:, :m], x[:, :m]
        logits, mask = output[:, m:], (x[:, m:] + 1.0) / 2.0
        if self.masks_as_images:
            image, target = self.as_images(output), x
        wanted = {
            "l1": lambda: functional.l1_loss(image, target),
            "ssim": lambda: self._ssim(image, target),
            "kl": lambda: kl_to_normal(mean, log_variance),
            "dice": lambda: soft_dice_loss(logits, mask),
            "bce": lambda: functional.binary_cross_entropy_with_logits(logits, mask),
            "perceptual": lambda: self._perceptual(image, target),
        }
        terms = {name: term() for name, term in wanted.items() if self.weights[name]}
        loss = cast(Tensor, sum(self.weights[name] * value for name, value in terms.items()))
        return loss, terms

    def as_images(self, output: Tensor) -> Tensor:
        """What the decoder gives, with its logits as masks from -1 to 1: (B, M+R, ...) -> (B, M+R, ...)."""
        image, logits = output[:, : self.image_channels], output[:, self.image_channels :]
        return torch.cat([image, 2.0 * logits.sigmoid() - 1.0], dim=1)

    @staticmethod
    def _ssim(image: Tensor, target: Tensor) -> Tensor:
        image, target = as_slices(image), as_slices(target)
        return SSIMLoss(spatial_dims=2, data_range=2.0, win_size=ssim_window(*image.shape[2:]))(image, target)

    def _perceptual(self, image: Tensor, target: Tensor) -> Tensor:
        assert self._network is not None, "loaded where the term counts"
        self._network.to(image.device)
        return perceptual_loss(self._network, as_slices(image), as_slices(target))
