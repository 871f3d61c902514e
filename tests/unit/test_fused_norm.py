"""Norm, scale and shift, SiLU and shortcut in one: what they compute, on a GPU too."""

import pytest
import torch
from torch.nn import functional

from workflow_scripts.models import fused_norm
from workflow_scripts.models.blocks import group_norm, norm_silu

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def exact(x, norm, film, shortcut):
    """In double precision, one step after the other."""
    h = functional.group_norm(x, norm.num_groups, norm.weight.double(), norm.bias.double(), norm.eps)
    if film is not None:
        scale, shift = film.reshape(*film.shape, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        h = h * (1 + scale) + shift
    h = functional.silu(h)
    return h if shortcut is None else h + shortcut


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("shape", "film_on", "shortcut_on"),
    [((3, 12, 7, 9), True, True), ((2, 20, 5, 6, 7), True, False), ((2, 7, 3, 3), False, True), ((1, 32, 1, 1), 0, 0)],
)
def test_values_and_gradients(shape, film_on, shortcut_on, device):
    assert fused_norm.works_on(torch.device(device)) == (device == "cuda")
    torch.manual_seed(0)
    norm = group_norm(shape[1]).to(device)
    torch.nn.init.normal_(norm.weight, 1.0, 0.3)
    torch.nn.init.normal_(norm.bias)
    inputs = [
        torch.randn(shape, device=device) * 2 + 30,  # far from 0: moments must not lose their digits
        torch.randn(shape[0], 2 * shape[1], device=device) if film_on else None,
        torch.randn(shape, device=device) if shortcut_on else None,
    ]
    x, film, shortcut = (value if value is None else value.requires_grad_() for value in inputs)
    given = [value for value in (x, film, shortcut) if value is not None] + [norm.weight, norm.bias]
    weights = torch.randn(shape, device=device)
    made = norm_silu(norm, x, film, shortcut)
    gradients = torch.autograd.grad(made, given, weights)
    doubles = [value if value is None else value.detach().double().requires_grad_() for value in inputs]
    wanted = exact(doubles[0], norm, *doubles[1:])
    sources = [value for value in doubles if value is not None] + [norm.weight, norm.bias]
    expected = torch.autograd.grad(wanted, sources, weights.double())
    for value, other in zip((made, *gradients), (wanted, *expected), strict=True):
        assert value.dtype == torch.float32
        assert (value.double() - other).norm() <= 2e-5 * other.norm() + 1e-6
