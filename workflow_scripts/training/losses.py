"""The loss of an autoencoder of images in [-1, 1] and nested masks: a weighted sum of terms, each a mean over samples."""

from typing import cast

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional

from ..models.feature_network import FeatureNetwork, load_feature_network
from ..study.settings.autoencoder import Loss

TERMS = ("l1", "ssim", "tumour", "kl", "dice", "bce", "perceptual")
SSIM_WINDOW = 11  # pixels, Gaussian of standard deviation 1.5: Wang et al. 2004


def ssim_window(*edges: int) -> int:
    """Edge of the SSIM window, pixels: `SSIM_WINDOW`, or the largest odd number that a smaller image holds."""
    smallest = min(edges)
    return min(SSIM_WINDOW, smallest - 1 + smallest % 2)


def mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over the voxels of a sample that lie inside, 0 where none does, averaged over samples: both (B, C, ...) ->
    scalar. Each sample by itself, so that devices that share a batch come to the same mean."""
    total, count = ((part.flatten(1).sum(dim=1)) for part in (values * inside, inside))
    return (total / count.clamp(min=1.0)).mean()


def rings(mask: Tensor) -> Tensor:
    """The rings between nested masks, each region less the next inner one: (B, R, ...) in {0, 1} -> the same shape."""
    return torch.cat([mask[:, :-1] - mask[:, 1:], mask[:, -1:]], dim=1)


def ssim_map(image: Tensor, target: Tensor) -> Tensor:
    """SSIM of intensities in [-1, 1] at every pixel, edges mirrored: both (B, C, H, W) -> (B, C, H, W)."""
    rows, columns = (_blur(edge, ssim_window(*image.shape[2:]), image.device) for edge in image.shape[2:])
    moments = torch.stack([image, target, image.square(), target.square(), image * target])
    mean, other, squares, other_squares, product = rows @ moments @ columns.T
    variances = squares - mean.square() + other_squares - other.square()
    luminance = (2.0 * mean * other + 0.02**2) / (mean.square() + other.square() + 0.02**2)
    return luminance * (2.0 * (product - mean * other) + 0.06**2) / (variances + 0.06**2)


def _blur(edge: int, window: int, device: torch.device) -> Tensor:
    """The Gaussian window along an axis, as a matrix: a product is faster than a convolution of single channels."""
    place = torch.arange(window, dtype=torch.float32, device=device) - window // 2
    kernel = torch.exp(-place.square() / (2 * 1.5**2))
    unit = functional.pad(torch.eye(edge, device=device)[:, None], [window // 2] * 2, mode="reflect")
    return functional.conv1d(unit, (kernel / kernel.sum()).view(1, 1, -1))[:, 0].T


def kl_to_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of the posterior to a standard normal: summed over the latent (as in Kebaili et al. 2024 and
    Rombach et al. 2022), averaged over the batch. mean, log_variance (B, ...) -> scalar."""
    terms = mean.square() + log_variance.exp() - 1.0 - log_variance
    return 0.5 * terms.flatten(1).sum(dim=1).mean()


def over_devices(sums: Tensor) -> Tensor:
    """The sums of this device's part of a batch, added up over all devices that share it; gradients flow through."""
    if distributed.is_initialized():
        return cast(Tensor, all_reduce(sums))
    return sums


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft Dice of each channel over the whole batch, averaged: logits, target in {0, 1} (B, R, *size) -> scalar.

    Over the batch, because of a small region most slices have none: slice by slice, those would outweigh the few that
    teach its shape. One voxel is added above and below the line, for a batch without the region.
    """
    probability = logits.sigmoid()
    parts = torch.stack([probability * target, probability + target]).transpose(1, 2).flatten(2).sum(dim=2)
    overlap, total = over_devices(parts)
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

    L1, 1 - SSIM, the tumour's and the perceptual term compare intensities, SSIM and the last in axial slices. Where the first mask is the
    foreground, they look inside the true one alone: what the image shows outside is cut away by that mask. Where Dice and
    BCE both weigh 0, the masks are learned as images in [-1, 1] by those terms too, as in Kebaili et al. 2024; else Dice
    and BCE alone teach them.

    settings : the config's ``loss`` block
    image_channels : M; the channels after them are masks
    foreground_channel : whether the first of the masks is the foreground
    """

    def __init__(self, settings: Loss, image_channels: int, foreground_channel: bool):
        self.weights = {term: float(getattr(settings, term)) for term in TERMS}
        self.image_channels, self.foreground_channel = image_channels, foreground_channel
        self.masks_as_images = not self.weights["dice"] and not self.weights["bce"]
        self._network: FeatureNetwork | None = None
        if self.weights["perceptual"]:
            self._network = load_feature_network(settings.perceptual_weights, settings.perceptual_sha256)

    def __call__(self, output: Tensor, x: Tensor, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, dict]:
        """output and x (B, M+R, H, W) or (B, M+R, D, H, W), mean and log_variance (B, ...) -> loss, terms before weighting."""
        m = self.image_channels
        logits, mask = output[:, m:], (x[:, m:] + 1.0) / 2.0
        image, target = self.as_images(output, x), x
        inside = torch.ones_like(x)
        if self.foreground_channel:
            inside[:, :m] = mask[:, :1]
        if not self.masks_as_images:
            image, target, inside = image[:, :m], target[:, :m], inside[:, :m]
        wanted = {
            "l1": lambda: mean_inside((image - target).abs(), inside),
            "ssim": lambda: self._ssim(image, target, inside),
            "tumour": lambda: self._in_tumour(image[:, :m], target[:, :m], mask),
            "kl": lambda: kl_to_normal(mean, log_variance),
            "dice": lambda: soft_dice_loss(logits, mask),
            "bce": lambda: functional.binary_cross_entropy_with_logits(logits, mask),
            "perceptual": lambda: self._perceptual(image, target),
        }
        terms = {name: term() for name, term in wanted.items() if self.weights[name]}
        loss = cast(Tensor, sum(self.weights[name] * value for name, value in terms.items()))
        return loss, terms

    def as_images(self, output: Tensor, x: Tensor) -> Tensor:
        """What the decoder gives of x, its logits as masks from -1 to 1, its image cut by the true foreground where x
        has that: both (B, M+R, ...) -> (B, M+R, ...)."""
        image, logits = output[:, : self.image_channels], output[:, self.image_channels :]
        if self.foreground_channel:
            image = torch.where(x[:, self.image_channels : self.image_channels + 1] > 0, image, -1.0)
        return torch.cat([image, 2.0 * logits.sigmoid() - 1.0], dim=1)

    def _in_tumour(self, image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Mean over rings of the absolute error inside a ring of the whole batch; 0 for a ring that it lacks."""
        error = (image - target).abs().mean(dim=1, keepdim=True)
        each = rings(mask[:, int(self.foreground_channel) :])
        parts = torch.stack([error * each, each]).transpose(1, 2).flatten(2).sum(dim=2)
        total, count = over_devices(parts)
        return (total / count.clamp(min=1.0)).mean()

    def _ssim(self, image: Tensor, target: Tensor, inside: Tensor) -> Tensor:
        image, target = as_slices(image), as_slices(target)
        if self.foreground_channel:
            return mean_inside(1.0 - ssim_map(image, target), as_slices(inside))
        from monai.losses import SSIMLoss  # MONAI takes seconds to load

        return SSIMLoss(spatial_dims=2, data_range=2.0, win_size=ssim_window(*image.shape[2:]))(image, target)

    def _perceptual(self, image: Tensor, target: Tensor) -> Tensor:
        assert self._network is not None, "loaded where the term counts"
        self._network.to(image.device)
        return perceptual_loss(self._network, as_slices(image), as_slices(target))
