"""The slice VAE: shapes, its cost as published, and that the slice's position really matters."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from workflow_scripts.base.errors import UserError
from workflow_scripts.models.build_autoencoder import build_autoencoder

SPEC = {"kind": "slice_vae", "channels": [8, 12], "strides": [1, 2], "latent_channels": 3, "embedding_dim": 16}
GRID = {"size": [6, 16, 16], "spacing_mm": [3.0, 2.0, 2.0]}


def build(images=2, masks=1, grid=GRID, **changes):
    torch.manual_seed(0)
    return build_autoencoder(SPEC | changes, images, masks, grid)


@pytest.mark.parametrize(
    ("kwargs", "size", "latent"),
    [
        ({}, (6, 16, 16), (3, 6, 8, 8)),
        ({"images": 4, "masks": 3}, (5, 16, 24), (3, 5, 8, 12)),
        ({"images": 1, "masks": 1, "latent_channels": 1}, (1, 16, 16), (1, 1, 8, 8)),
        ({"channels": [4, 6, 8, 10], "strides": [1, 2, 2, 2]}, (2, 16, 16), (3, 2, 2, 2)),
        ({"channels": [4, 8], "strides": [2, 2]}, (2, 16, 16), (3, 2, 4, 4)),
        ({"channels": [4, 8], "strides": [1, 4]}, (2, 16, 16), (3, 2, 4, 4)),
        ({"channels": [4, 8, 8], "strides": [1, 1, 2]}, (2, 16, 16), (3, 2, 8, 8)),
        ({"channels": [4], "strides": [1]}, (2, 16, 16), (3, 2, 16, 16)),
        ({"position": "mm"}, (6, 16, 16), (3, 6, 8, 8)),
    ],
)
def test_shapes(kwargs, size, latent):
    model = build(**kwargs, grid={"size": list(size), "spacing_mm": [3.0, 2.0, 2.0]})
    channels = model.image_channels + model.mask_channels
    x = torch.rand(2, channels, *size) * 2 - 1
    z = model.encode_volumes(x, slices_per_batch=5)
    image, mask = model.decode_volumes(z, slices_per_batch=3)
    assert model.latent_shape(size) == latent
    assert z.shape == (2, *latent)
    assert image.shape == (2, model.image_channels, *size)
    assert mask.shape == (2, model.mask_channels, *size)
    assert image.abs().max() <= 1 and mask.min() >= 0 and mask.max() <= 1
    output, mean, log_variance = model(x[:, :, 0], model.positions(size[0])[:1].repeat(2), torch.zeros_like(z[:, :, 0]))
    assert output.shape == x[:, :, 0].shape and mean.shape == log_variance.shape == z[:, :, 0].shape


def test_the_published_network_has_the_published_cost():
    """Kebaili et al. 2024: 195.996 G multiply-accumulates for a batch of two 192 x 192 slices, 27.082 M parameters in
    convolutions (norms and embeddings excluded). The position embedding adds the rest."""
    spec = {"kind": "slice_vae", "channels": [128, 256, 512, 512], "strides": [1, 2, 2, 2], "latent_channels": 6}
    with torch.device("meta"):
        model = build_autoencoder(spec, 1, 1, {"size": [96, 192, 192], "spacing_mm": [1.5, 1.0, 1.0]})
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(2, 2, 192, 192), torch.empty(2), torch.empty(2, 6, 24, 24))
    counts = {str(name): flops / 2 for name, flops in counter.get_flop_counts()["Global"].items()}
    convolutions = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert counts["aten.convolution"] == pytest.approx(195.996e9, rel=1e-4)
    assert sum(weight.numel() for layer in convolutions for weight in layer.parameters()) == 27_081_898
    assert sum(counts.values()) == pytest.approx(195.998e9, rel=1e-4)  # with the position embedding
    assert sum(weight.numel() for weight in model.parameters()) == 27_852_714  # with norms and position embedding


@pytest.mark.parametrize("position", ["fraction", "mm"])
def test_the_position_changes_what_is_encoded_and_what_is_decoded(position):
    model = build(position=position)
    x, z = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 8, 8)
    positions = model.positions(6)
    means = torch.cat([model.encode(x, p[None])[0] for p in positions])
    images = torch.cat([model.decode(z, p[None]) for p in positions])
    for values in (means, images):
        distance = torch.cdist(values.flatten(1), values.flatten(1))
        assert (distance + torch.eye(6) > 1e-3).all()  # all six differ from one another


def test_gradients_reach_the_position_embedding_through_every_block():
    model = build()
    x = torch.rand(2, 3, 16, 16)
    output, _, _ = model(x, torch.tensor([0.2, 0.8]), torch.randn(2, 3, 8, 8))
    output.square().sum().backward()
    films = [(name, layer) for name, layer in model.named_modules() if name.endswith("film")]
    assert len(films) == 4  # stem, one level down, entry, one level up
    for name, layer in films:
        assert layer.weight.grad.abs().sum() > 0, name
    assert all(weight.grad.abs().sum() > 0 for weight in model.embedding.parameters())


def test_positions_are_fractions_or_millimetres_from_the_middle():
    assert build().positions(4).tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert build(position="mm").positions(4).tolist() == [-4.5, -1.5, 1.5, 4.5]


@pytest.mark.parametrize("slices_per_batch", [1, 4, 7, 100])
def test_the_batch_size_of_slices_changes_nothing_but_memory(slices_per_batch):
    model = build().eval()
    x = torch.rand(2, 3, 6, 16, 16) * 2 - 1
    z = model.encode_volumes(x, 12)
    torch.testing.assert_close(model.encode_volumes(x, slices_per_batch), z, rtol=1e-4, atol=1e-5)
    one = torch.cat([model.encode(x[:1, :, k], model.positions(6)[k : k + 1])[0][:, :, None] for k in range(6)], dim=2)
    torch.testing.assert_close(one, z[:1], rtol=1e-4, atol=1e-5)
    whole, part = model.decode_volumes(z, 12), model.decode_volumes(z, slices_per_batch)
    torch.testing.assert_close(part, whole, rtol=1e-4, atol=1e-5)


def test_a_grid_that_the_strides_do_not_divide_is_refused_with_one_that_fits():
    with pytest.raises(UserError, match=r"does not divide by 2.*size: \[6, 16, 16\]"):
        build(grid={"size": [6, 15, 16], "spacing_mm": [3, 2, 2]})


def test_volumes_that_do_not_fit_the_strides_are_refused():
    with pytest.raises(UserError, match=r"6 x 16 x 17 .*size: \[6, 16, 18\]"):
        build().encode_volumes(torch.zeros(1, 3, 6, 16, 17))
