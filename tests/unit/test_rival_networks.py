"""The networks of the other systems: shapes, exact inverses, and what conditions and options do."""

import pickle

import pytest
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.models.blocks import Conv3d
from workflow_scripts.models.build_autoencoder import build_autoencoder
from workflow_scripts.models.build_denoiser import build_denoiser
from workflow_scripts.models.build_gan import build_gan_discriminator, build_gan_generator
from workflow_scripts.models.patch_discriminator import PatchDiscriminator
from workflow_scripts.models.tiled_unet import tile, tiling, untile
from workflow_scripts.models.unet import UNet

VAE = {"kind": "vae_3d", "channels": [4, 8], "strides": [1, 2], "latent_channels": 3}
GAN = {"kind": "gan_3d", "z_dim": 5, "stem_channels": 4, "channels": [8, 4], "discriminator_channels": [4, 8],
       "embedding_dim": 8}  # fmt: skip


def vae(images=2, masks=1, size=(8, 16, 16), **changes):
    torch.manual_seed(0)
    return build_autoencoder(VAE | changes, images, masks, {"size": list(size), "spacing_mm": [3.0, 2.0, 2.0]})


@pytest.mark.parametrize(
    ("kwargs", "size", "latent"),
    [
        ({}, (8, 16, 16), (3, 4, 8, 8)),
        ({"images": 4, "masks": 3}, (4, 8, 12), (3, 2, 4, 6)),
        ({"channels": [4, 4, 4], "strides": [1, 2, 2]}, (8, 8, 8), (3, 2, 2, 2)),
        ({"channels": [4, 4], "strides": [2, 2]}, (8, 8, 8), (3, 2, 2, 2)),
        ({"channels": [4], "strides": [1], "latent_channels": 1}, (3, 5, 7), (1, 3, 5, 7)),
    ],
)
def test_shapes_of_the_3d_autoencoder(kwargs, size, latent):
    model = vae(size=size, **kwargs)
    channels = model.image_channels + model.mask_channels
    x = torch.rand(2, channels, *size) * 2 - 1
    z = model.encode_volumes(x)
    image, mask = model.decode_volumes(z)
    assert model.latent_shape(size) == latent and z.shape == (2, *latent)
    assert image.shape == (2, model.image_channels, *size) and mask.shape == (2, model.mask_channels, *size)
    assert image.abs().max() <= 1 and mask.min() >= 0 and mask.max() <= 1
    output, mean, log_variance = model(x, torch.zeros_like(z))
    assert output.shape == x.shape and mean.shape == log_variance.shape == z.shape


def test_a_grid_that_the_strides_do_not_divide_is_refused_with_one_that_fits():
    with pytest.raises(UserError, match=r"9 x 16 x 16.*size: \[10, 16, 16\]"):
        vae(size=(9, 16, 16))


def test_without_an_autoencoder_volumes_are_their_own_latents():
    space = build_autoencoder(None, 2, 3, {"size": [4, 6, 8], "spacing_mm": [1.0, 1.0, 1.0]})
    x = torch.rand(2, 5, 4, 6, 8) * 2.4 - 1.2
    image, mask = space.decode_volumes(space.encode_volumes(x))
    assert space.latent_shape((4, 6, 8)) == (5, 4, 6, 8)
    assert torch.equal(image, x[:, :2].clamp(-1, 1))
    assert torch.equal(mask > 0.5, x[:, 2:] > 0) and mask.min() >= 0 and mask.max() <= 1
    assert not list(space.parameters())


@pytest.mark.parametrize("size", [(16, 8, 8), (15, 8, 8), (7, 4, 6), (1, 3, 5), (2, 8, 4), (144, 24, 24), (5, 9, 2)])
def test_tiles_are_put_together_and_taken_apart_exactly(size):
    x = torch.randn(2, 3, *size)
    image = tile(x)
    rows, columns = tiling(*size)
    assert image.shape == (2, 3, rows * size[1], columns * size[2])
    assert rows * columns >= size[0] > (rows - 1) * columns
    assert torch.equal(untile(image, *size), x)
    assert torch.equal(image[:, :, : size[1], : size[2]], x[:, :, 0]), "slice 0 lies in the corner"


def test_the_tiled_image_is_nearly_square():
    assert tiling(96, 24, 24) == (10, 10)
    assert tiling(144, 24, 24) == (12, 12)


@pytest.mark.parametrize("kind", ["unet_3d", "unet_2d_tiled"])
@pytest.mark.parametrize("size", [(4, 8, 8), (7, 6, 5)])
def test_denoisers_give_back_the_shape_and_heed_their_features(kind, size):
    torch.manual_seed(0)
    spec = {"kind": kind, "channels": [8, 8, 16], "blocks_per_level": 1, "embedding_dim": 16, "middle_attention": True}
    net = build_denoiser(spec, 3, 2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # a new network predicts zero
    x, time = torch.randn(2, 3, *size), torch.tensor([3.0, 50.0])
    one, other = net(x, time, torch.zeros(2, 2)), net(x, time, torch.ones(2, 2))
    assert one.shape == x.shape and not torch.allclose(one, other, atol=1e-4)


def test_attention_lets_every_place_see_every_other():
    def reach(**options):
        torch.manual_seed(0)
        net = UNet(1, 1, (8, 8), dims=3, blocks_per_level=1, embedding_dim=8, **options)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        x = torch.randn(1, 1, 24, 4, 4, requires_grad=True)
        net(x, torch.zeros(1))[0, 0, 0, 0, 0].backward()
        return (x.grad[0, 0, -1] != 0).all()

    # Group normalisation alone joins all places; without it only attention does.
    class Plain(torch.nn.Identity):
        pass

    import workflow_scripts.models.unet as module

    original = module.group_norm
    module.group_norm = lambda channels: Plain()
    try:
        assert not reach()
        assert reach(middle_attention=True)
        assert reach(attention_levels=[1])
    finally:
        module.group_norm = original


def test_checkpointing_changes_neither_prediction_nor_gradient():
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = UNet(
            2, 2, (8, 8, 16), embedding_dim=16, n_conditions=2, middle_attention=True, checkpointing=checkpointing
        )
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        net(torch.ones(1, 2, 8, 8, 8), torch.ones(1), torch.ones(1, 2)).square().mean().backward()
        grads.append([parameter.grad for parameter in net.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True) if one is not None)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_gradients_of_shallow_volumes_are_right_in_bf16_too(depth):
    """PyTorch's own bf16 convolution on a CPU gives NaN, or worse, as the weight gradient at a depth of 2."""
    torch.manual_seed(0)
    layer, x = Conv3d(8, 8, 3, padding=1), torch.randn(2, 8, depth, 4, 4)
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            made = layer(x)
        gradients.append(torch.autograd.grad(made.float().square().mean(), layer.weight)[0])
    torch.testing.assert_close(*gradients, rtol=0.1, atol=0.02 * gradients[0].abs().max().item())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (4, 2), (1, 1)])
def test_a_single_small_volume_is_computed_as_in_a_batch_and_not_by_the_slow_way(kernel, stride):
    torch.manual_seed(0)
    layer, x = Conv3d(6, 5, kernel, stride=stride, padding=kernel // 2), torch.randn(2, 6, 7, 9, 8)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        alone = layer(x[:1])
    torch.testing.assert_close(alone, layer(x)[:1], rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(made.square().sum(), layer.weight)[0] for made in (alone, layer(x)[:1])]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    slow = {event.key for event in profile.key_averages()} & {"aten::slow_conv3d", "aten::slow_conv3d_forward"}
    assert not slow or kernel == 1 or not torch.backends.mkldnn.is_available()


def test_a_patch_discriminator_scores_patches():
    net = PatchDiscriminator(5, [4, 8, 8])
    assert net(torch.randn(2, 5, 16, 16, 24)).shape == (2, 1, 4, 4, 6)


@pytest.mark.parametrize("size", [(8, 8, 8), (7, 10, 5)])
def test_a_gan_makes_volumes_of_any_size_and_heeds_noise_and_features(size):
    torch.manual_seed(0)
    shape = (3, *size)
    generator, judge = build_gan_generator(GAN, shape, 2), build_gan_discriminator(GAN, shape, 2)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    z, features = torch.randn(2, 5), torch.zeros(2, 2)
    made = generator(z, features)
    assert made.shape == (2, *shape) and made.abs().max() <= 1
    assert not torch.allclose(made, generator(z + 1, features), atol=1e-4)
    assert not torch.allclose(made, generator(z, features + 1), atol=1e-4)
    assert judge(made, features).shape == (2,)
    assert not torch.allclose(judge(made, features), judge(made, features + 1), atol=1e-5)


def test_the_discriminator_is_normalised_and_can_be_sent_to_another_process():
    torch.manual_seed(0)
    judge = build_gan_discriminator(GAN, (3, 8, 8, 8), 2)
    with torch.no_grad():
        for _ in range(50):  # power iterations
            judge(torch.randn(1, 3, 8, 8, 8), torch.zeros(1, 2))
        for layer in judge.layers:
            largest = torch.linalg.matrix_norm(layer.normalised_weight().flatten(1), ord=2)
            assert largest.item() == pytest.approx(1.0, rel=0.02)
    copy = pickle.loads(pickle.dumps(judge)).eval()
    x, features = torch.randn(2, 3, 8, 8, 8), torch.zeros(2, 2)
    assert torch.equal(copy(x, features), judge.eval()(x, features))


@pytest.mark.parametrize("build", [build_gan_generator, build_gan_discriminator])
def test_an_unknown_gan_is_named_with_those_there_are(build):
    with pytest.raises(UserError, match=r"gan.kind is 'gan_4d', but must be gan_3d"):
        build(GAN | {"kind": "gan_4d"}, (1, 8, 8, 8), 2)
