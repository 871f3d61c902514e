"""The terms of a reconstruction's loss."""

import pytest
import torch
from monai.losses import SSIMLoss

from workflow_scripts.study.settings.autoencoder import Loss
from workflow_scripts.training.losses import ReconstructionLoss, kl_to_normal, soft_dice_loss, ssim_map


def test_the_terms_of_the_loss_are_what_they_say():
    mean, log_variance = torch.full((2, 3, 2, 2), 2.0), torch.full((2, 3, 2, 2), 0.5)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum() / 2
    assert kl_to_normal(mean, log_variance).item() == pytest.approx(expected.item(), rel=1e-5)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, 0, 2:6, 2:6] = 1
    assert soft_dice_loss(100 * (2 * mask - 1), mask).item() == pytest.approx(0.0, abs=1e-6)
    assert soft_dice_loss(-100 * (2 * mask - 1), mask).item() > 0.9
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    x[:, 2] = x[:, 2].sign()
    block = {"l1": 2.0, "ssim": 1.0, "tumour": 0.5, "dice": 0.5, "bce": 0.25}
    logits = torch.cat([x[:, :2], 100 * x[:, 2:]], dim=1)
    loss, terms = ReconstructionLoss(Loss(kl=0, **block), 2, False)(logits, x, mean, log_variance)
    assert set(terms) == set(block) and loss.item() == pytest.approx(0.0, abs=1e-5)
    worse, terms = ReconstructionLoss(Loss(kl=0, **block), 2, False)(logits * 0.5, x, mean, log_variance)
    assert worse.item() == pytest.approx(sum(block[name] * value.item() for name, value in terms.items()), rel=1e-5)
    assert terms["l1"].item() == pytest.approx((x[:, :2] * 0.5).abs().mean().item(), rel=1e-5)


def test_slices_without_a_region_do_not_outweigh_the_one_that_has_it():
    mask = torch.zeros(16, 1, 8, 8)
    mask[3, 0, 2:6, 2:6] = 1
    nothing = torch.full_like(mask, -100.0)
    assert soft_dice_loss(nothing, mask).item() > 0.9


def test_a_small_ring_of_the_tumour_counts_as_much_as_a_large_one():
    x = torch.full((1, 5, 16, 16), -1.0)  # one image channel, the foreground, three regions
    x[:, 0], x[:, 1], x[:, 2, 2:14, 2:14], x[:, 3, 4:10, 4:10], x[:, 4, 5:7, 5:7] = 0.0, 1.0, 1.0, 1.0, 1.0
    loss = ReconstructionLoss(Loss(l1=1, ssim=0, kl=0, dice=0.1, bce=0, tumour=1.0), 1, True)
    for region, inner in ((2, 3), (3, 4), (4, None)):
        ring = (x[:, region] > 0) & (x[:, inner] < 0 if inner else True)
        wrong = x.clone()
        wrong[:, 0][ring] += 0.3
        _, terms = loss(wrong, x, torch.zeros(1, 1), torch.zeros(1, 1))
        assert terms["tumour"].item() == pytest.approx(0.1, rel=1e-5)  # 0.3 in one of three rings, whatever its size
    _, terms = loss(torch.where(x[:, 2:3] > 0, x, x + 1.0), x, torch.zeros(1, 1), torch.zeros(1, 1))
    assert terms["tumour"].item() == 0.0  # healthy tissue is none of it


def test_outside_of_the_true_foreground_an_image_may_be_anything():
    x = torch.rand(2, 4, 16, 16) * 1.8 - 0.9
    x[:, 2:] = x[:, 2:].sign()
    x[:, 2] = -1.0
    x[:, 2, 4:12, 3:13] = 1.0
    x[:, :2] = torch.where(x[:, 2:3] > 0, x[:, :2], torch.tensor(-1.0))
    inside = x[:, 2:3].expand(-1, 2, -1, -1) > 0
    nothing = torch.zeros(2, 1, 1, 1)
    loss = ReconstructionLoss(Loss(kl=0, dice=0, bce=0), 2, True)
    anything = torch.cat([torch.where(inside, x[:, :2], torch.randn(2, 2, 16, 16)), 100 * x[:, 2:]], dim=1)
    assert loss(anything, x, nothing, nothing)[0].item() == pytest.approx(0.0, abs=1e-5)
    darker = torch.cat([x[:, :2] - 0.1, 100 * x[:, 2:]], dim=1)
    of_images = ReconstructionLoss(Loss(kl=0), 2, True)(darker, x, nothing, nothing)[1]
    assert of_images["l1"].item() == pytest.approx(0.1, rel=1e-4) and of_images["ssim"].item() > 0.001


def test_similarity_is_that_of_the_field_at_every_pixel():
    x, y = torch.rand(2, 3, 20, 24) * 2 - 1, torch.rand(2, 3, 20, 24) * 2 - 1
    whole = ssim_map(x, y)
    assert whole.shape == x.shape
    reference = 1 - SSIMLoss(spatial_dims=2, data_range=2.0)(x, y)  # of whole windows alone
    assert whole[:, :, 5:-5, 5:-5].mean().item() == pytest.approx(reference.item(), rel=1e-4)
