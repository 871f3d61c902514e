"""The terms of a reconstruction's loss."""

import pytest
import torch

from workflow_scripts.study.settings.autoencoder import Loss
from workflow_scripts.training.losses import ReconstructionLoss, kl_to_normal, soft_dice_loss


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
    block = {"l1": 2.0, "ssim": 1.0, "dice": 0.5, "bce": 0.25}
    logits = torch.cat([x[:, :2], 100 * x[:, 2:]], dim=1)
    loss, terms = ReconstructionLoss(Loss(kl=0, **block), 2)(logits, x, mean, log_variance)
    assert set(terms) == set(block) and loss.item() == pytest.approx(0.0, abs=1e-5)
    worse, terms = ReconstructionLoss(Loss(kl=0, **block), 2)(logits * 0.5, x, mean, log_variance)
    assert worse.item() == pytest.approx(sum(block[name] * value.item() for name, value in terms.items()), rel=1e-5)
    assert terms["l1"].item() == pytest.approx((x[:, :2] * 0.5).abs().mean().item(), rel=1e-5)
