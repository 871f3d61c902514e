"""The denoiser: its size against the paper's, its shapes, and what its conditions do."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from workflow_scripts.base.errors import UserError
from workflow_scripts.models.build_denoiser import build_denoiser
from workflow_scripts.models.unet import UNet

PAPER = [64, 128, 256, 512]


def small(dims=3, features=2, channels=(8, 8, 16, 16)):
    torch.manual_seed(0)
    net = UNet(4, 4, channels, dims=dims, embedding_dim=16, n_conditions=features)
    for module in net.modules():  # what training would do to the layers that start at zero
        if isinstance(module, nn.Conv2d | nn.Conv3d) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
    return net.eval()


@pytest.mark.parametrize(
    ("dims", "size", "giga_macs", "mega_parameters"),
    [(3, (96, 24, 24), 523.735, 132.101), (2, (224, 224), 294.16, 45.247)],
)
def test_convolutions_cost_what_the_paper_prints(dims, size, giga_macs, mega_parameters):
    with torch.device("meta"):
        net = UNet(2, 2, PAPER, dims=dims, n_conditions=9)
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 2, *size), torch.empty(1), torch.empty(1, 9))
    flops = {str(name): count for name, count in counter.get_flop_counts()["Global"].items()}
    macs = sum(count for name, count in flops.items() if "convolution" in name) / 2
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]
    parameters = sum(parameter.numel() for module in convolutions for parameter in module.parameters())
    assert macs / 1e9 == pytest.approx(giga_macs, rel=0.001)
    assert parameters / 1e6 == pytest.approx(mega_parameters, rel=0.001)


@pytest.mark.parametrize(
    ("dims", "size"), [(3, (16, 16, 16)), (3, (9, 7, 5)), (3, (1, 3, 2)), (2, (16, 16)), (2, (13, 6))]
)
def test_any_size_comes_out_as_it_went_in(dims, size):
    x = torch.randn(2, 4, *size)
    assert small(dims)(x, torch.tensor([0.0, 999.0]), torch.randn(2, 2)).shape == x.shape


@pytest.mark.parametrize("channels", [(8, 8), (8, 8, 12), (12, 24, 40, 20)])
def test_any_number_of_levels_and_any_width(channels):
    x = torch.randn(1, 4, 8, 8, 8)
    assert small(channels=channels)(x, torch.zeros(1), torch.zeros(1, 2)).shape == x.shape


def test_a_new_network_predicts_zero():
    net = UNet(4, 4, (8, 8, 16), embedding_dim=16, n_conditions=2)
    assert not net(torch.randn(1, 4, 8, 8, 8), torch.ones(1), torch.ones(1, 2)).any()


def test_time_and_every_feature_change_the_prediction():
    net, x, time, features = small(), torch.randn(1, 4, 8, 8, 8), torch.tensor([10.0]), torch.zeros(1, 2)
    reference = net(x, time, features)
    assert not torch.allclose(reference, net(x, time + 100, features), atol=1e-4)
    for column in range(2):
        changed = features.clone()
        changed[0, column] = 1
        assert not torch.allclose(reference, net(x, time, changed), atol=1e-5)


def test_a_dropped_sample_gets_the_null_token_and_the_others_keep_their_features():
    net, x, time, features = small(), torch.randn(2, 4, 8, 8, 8), torch.tensor([10.0, 10.0]), torch.randn(2, 2)
    kept, null = net(x, time, features), net(x, time)
    mixed = net(x, time, features, torch.tensor([True, False]))
    assert torch.allclose(mixed[0], kept[0], atol=1e-6)
    assert torch.allclose(mixed[1], null[1], atol=1e-6)
    assert not torch.allclose(kept[1], null[1], atol=1e-5)


def test_every_weight_learns_even_where_all_features_are_kept():
    net = small()
    net(torch.randn(2, 4, 8, 8, 8), torch.ones(2), torch.randn(2, 2), torch.ones(2, dtype=torch.bool)).sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


def test_conditions_reach_every_block():
    net = small()
    net(torch.randn(1, 4, 8, 8, 8), torch.ones(1), torch.randn(1, 2)).square().sum().backward()
    films = [parameter for name, parameter in net.named_parameters() if name.endswith("film.weight")]
    assert len(films) == 3 * 2 + 2 + 3 * 3
    assert all(film.grad.abs().sum() > 0 for film in films)


def test_the_config_block_builds_it():
    spec = {"kind": "unet_3d", "channels": [8, 8, 16], "blocks_per_level": 1, "embedding_dim": 16}
    net = build_denoiser(spec, latent_channels=3, n_conditions=5)
    assert net(torch.randn(1, 3, 4, 4, 4), torch.zeros(1), torch.zeros(1, 5)).shape == (1, 3, 4, 4, 4)


def test_an_unknown_kind_is_named_with_those_there_are():
    with pytest.raises(UserError, match=r"'unet_4d'.*unet_3d"):
        build_denoiser({"kind": "unet_4d"}, 3, 5)
