"""The depth decoder: it begins as the slice decoder, sees its neighbours alone, and is the same in whatever parts it decodes."""

import pytest
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.evaluation.system_cost import count, decoder_parameters, decoding_cost
from workflow_scripts.models.build_autoencoder import build_autoencoder
from workflow_scripts.models.depth_decoder import build_depth_decoder, slab_slices

SPEC = {"kind": "slice_vae", "channels": [8, 12, 16], "strides": [1, 2, 2], "latent_channels": 3, "embedding_dim": 16}
GRID = {"size": [9, 16, 16], "spacing_mm": [3.0, 2.0, 2.0]}


def build(seed=0, trained=False, autoencoder=None, **spec):
    """The slice autoencoder and a depth decoder around it, whose branches along depth do something where `trained`."""
    torch.manual_seed(seed)
    slicewise = build_autoencoder(SPEC | (autoencoder or {}), 2, 1, GRID).eval()
    decoder = build_depth_decoder(spec, slicewise).eval()
    if trained:
        for mixer in decoder.mixers.values():
            torch.nn.init.normal_(mixer.project.weight, std=0.3)
    return slicewise, decoder


def latents(batch=2, depth=9):
    return torch.randn((batch, 3, depth, 4, 4), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("levels", ["all", [1], [3], [2, 3]])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_untrained_it_gives_what_the_slice_decoder_gives(levels, kernel_size):
    slicewise, decoder = build(levels=levels, kernel_size=kernel_size)
    for one, other in zip(decoder.decode_volumes(latents()), slicewise.decode_volumes(latents()), strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"strides": [2, 2, 1]}, {"position": "mm"}, {"channels": [8, 8, 8], "strides": [1, 1, 4]}]
)
def test_autoencoders_of_other_layouts_have_one_too(change):
    slicewise, decoder = build(autoencoder=change)
    torch.testing.assert_close(
        decoder.decode_volumes(latents())[0], slicewise.decode_volumes(latents())[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("spec", [{}, {"levels": [1, 3]}, {"kernel_size": 5}])
@pytest.mark.parametrize("slices_per_batch", [1, 2, 4, 7])
def test_decoded_in_parts_it_is_the_same_volume(spec, slices_per_batch):
    _, decoder = build(trained=True, **spec)
    whole, parts = (decoder.decode_volumes(latents(), slices) for slices in (9, slices_per_batch))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "reach"), [({}, 3), ({"levels": [2]}, 1), ({"kernel_size": 5, "levels": [1]}, 2), ({"kernel_size": 1}, 0)]
)
def test_a_slice_depends_on_its_neighbours_within_reach_and_on_no_other(spec, reach):
    _, decoder = build(trained=True, **spec)
    assert decoder.halo == reach
    changed = latents(1)
    changed[:, :, 4] += 1.0
    difference = (
        (decoder.decode_volumes(changed)[0] - decoder.decode_volumes(latents(1))[0]).abs().amax(dim=(0, 1, 3, 4))
    )
    assert [k for k in range(9) if difference[k] > 1e-5] == list(range(4 - reach, 4 + reach + 1))


def test_beyond_its_ends_the_outermost_slice_is_repeated():
    _, decoder = build(trained=True)
    index = torch.tensor([0, 0, 0, *range(9), 8, 8, 8])
    made = decoder(latents()[:, :, index], decoder.positions(9)[index].expand(2, -1))
    torch.testing.assert_close(made[:, :2].clamp(-1, 1), decoder.decode_volumes(latents())[0], rtol=1e-4, atol=1e-5)
    assert slab_slices(0, 2, 9, 3).tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    assert slab_slices(7, 2, 9, 3).tolist() == [4, 5, 6, 7, 8, 8, 8, 8]


def test_a_branch_along_depth_is_a_3d_convolution():
    """The mixer against its definition in torch's own Conv3d, of kernel (3, 1, 1)."""
    _, decoder = build(trained=True)
    mixer, h = decoder.mixers["2"], torch.randn(2, 7, 12, 8, 8)
    conv = torch.nn.Conv3d(12, 12, (3, 1, 1))
    conv.weight.data, conv.bias.data = mixer.depth.weight[..., None].detach(), mixer.depth.bias.detach()
    x = torch.stack([torch.nn.functional.silu(mixer.norm(h[:, k])) for k in range(7)], dim=2)
    x = torch.nn.functional.silu(conv(x))
    x = torch.einsum("oc,bcdhw->bdohw", mixer.project.weight[:, :, 0, 0], x) + mixer.project.bias.view(1, 1, -1, 1, 1)
    torch.testing.assert_close(mixer(h), h[:, 1:6] + x, rtol=1e-4, atol=1e-5)


def test_the_autoencoder_is_left_alone_and_fixed_layers_get_no_gradient():
    slicewise, decoder = build(trained=True)
    assert not {id(p) for p in decoder.parameters()} & {id(p) for p in slicewise.parameters()}
    decoder.fix_slice_layers()
    decoder(latents(), decoder.positions(9).expand(2, -1)).square().mean().backward()
    trained = {name for name, weight in decoder.named_parameters() if weight.grad is not None}
    assert trained == {name for name, _ in decoder.named_parameters() if name.startswith("mixers.")}
    assert all(weight.grad.abs().sum() > 0 for weight in decoder.mixers.parameters())


def test_its_cost_is_that_of_the_slice_decoder_and_of_the_branches():
    with torch.device("meta"):
        slicewise, decoder = build(levels=[1])
        shape = (3, 9, 4, 4)
        one, other = decoding_cost(slicewise, shape), decoding_cost(decoder, shape)
    before = count_of_levels(slicewise, 11)  # two neighbours more, but for the branch and the head behind it
    branch = 9 * 16 * 16 * (3 * 8 * 8 + 8 * 8)
    head = 16 * 16 * 8 * 3
    assert other.convolution_macs == before - 2 * head + branch
    assert one.convolution_macs == count_of_levels(slicewise, 9)
    assert decoder_parameters(decoder) - decoder_parameters(slicewise) == sum(
        p.numel() for p in decoder.mixers.parameters()
    )


def count_of_levels(slicewise, slices: int) -> int:
    with torch.device("meta"):
        return count(slicewise.decode, torch.empty(slices, 3, 4, 4), torch.empty(slices)).convolution_macs


def test_a_level_that_there_is_not_is_refused():
    with pytest.raises(UserError, match=r"levels \[4\] go beyond the 3 levels"):
        build(levels=[4])


def test_an_autoencoder_of_volumes_has_no_slices_to_mix():
    spec = {"kind": "vae_3d", "channels": [4, 8], "strides": [1, 2], "latent_channels": 2}
    volumes = build_autoencoder(spec, 2, 1, {"size": [8, 16, 16], "spacing_mm": [1.0, 1.0, 1.0]})
    with pytest.raises(UserError, match="goes with a slice autoencoder"):
        build_depth_decoder({}, volumes)
