"""What a denoiser is told of a tumour: the same for a training case and for a request, and where the tumour is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from brats import CONDITIONS, REGIONS

from workflow_scripts.base.errors import UserError
from workflow_scripts.cohort.tumours import measure
from workflow_scripts.diffusion.conditioning import Conditioning, n_maps, n_numbers, occupancy
from workflow_scripts.diffusion.conditions import ConditionTable
from workflow_scripts.models.unet import UNet
from workflow_scripts.study.settings.generator import Conditions
from workflow_scripts.training.augmentation import N_LABELS

GRID = {"size": [16, 24, 32], "spacing_mm": [5.0, 4.0, 3.0]}
SHAPE = (4, 16, 6, 8)
FEW = ["volume_ml", "sphericity", "fractions"]


def ellipsoid(centre_mm, half_mm) -> np.ndarray:
    """Levels of three nested ellipsoids, the inner ones half and a quarter of the outer one's volume; (z, y, x) mm."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(GRID["size"], GRID["spacing_mm"], strict=True)]
    place = np.stack(np.meshgrid(*axes, indexing="ij")) - np.array(centre_mm)[:, None, None, None]
    distance = np.sqrt(((place / np.array(half_mm)[:, None, None, None]) ** 2).sum(axis=0))
    return sum((distance <= share ** (1 / 3)).astype(np.uint8) for share in (1.0, 0.5, 0.25))


def measured(*tumours) -> torch.Tensor:
    rows = [measure(levels, GRID["spacing_mm"], REGIONS) for levels in tumours]
    return torch.tensor([[row[name] for name in CONDITIONS] for row in rows], dtype=torch.float32)


TUMOURS = ellipsoid((-8, 6, 12), (15, 14, 16)), ellipsoid((5, -10, -9), (22, 18, 12))


def conditioning(**settings) -> Conditioning:
    return Conditioning(
        Conditions(**settings), ConditionTable(CONDITIONS, measured(*TUMOURS).double().numpy()), GRID, SHAPE
    )


def centroid_mm(channel: torch.Tensor) -> list[float]:
    """(z, y, x) of a map (d, h, w)."""
    found = []
    for axis, (cells, size, mm) in enumerate(zip(SHAPE[1:], GRID["size"], GRID["spacing_mm"], strict=True)):
        weight = channel.sum(dim=tuple({0, 1, 2} - {axis}))
        place = (torch.arange(cells) - (cells - 1) / 2) * mm * size / cells
        found.append(float((weight * place).sum() / weight.sum()))
    return found


def test_the_ellipsoids_have_the_requested_volumes_at_the_requested_place():
    maps = conditioning(spatial="ellipsoid").maps(measured(*TUMOURS))
    assert maps.shape == (2, 3, *SHAPE[1:]) and maps.min() >= 0 and maps.max() <= 1
    cell_ml = np.prod(GRID["spacing_mm"]) * np.prod(GRID["size"]) / np.prod(SHAPE[1:]) / 1000
    for made, levels, centre in zip(maps, TUMOURS, ((-8, 6, 12), (5, -10, -9)), strict=True):
        for level, channel in enumerate(made, 1):
            volume_ml = (levels >= level).sum() * np.prod(GRID["spacing_mm"]) / 1000
            assert float(channel.sum() * cell_ml) == pytest.approx(volume_ml, rel=0.06)
            np.testing.assert_allclose(centroid_mm(channel), centre, atol=1.0)
        assert (made[0] >= made[1] - 1e-6).all() and (made[1] >= made[2] - 1e-6).all(), "concentric"


def test_a_map_is_near_to_the_share_of_each_cell_that_the_tumour_fills():
    maps = conditioning(spatial="ellipsoid").maps(measured(*TUMOURS))
    for made, levels in zip(maps, TUMOURS, strict=True):
        filled = torch.from_numpy((levels >= 1).astype(np.float32))
        assert (made[0] - torch.nn.functional.avg_pool3d(filled[None], (1, 4, 4))[0]).abs().max() < 0.25


def test_the_box_is_the_bounding_box():
    (made,) = occupancy(measured(TUMOURS[0]), CONDITIONS, GRID["size"], GRID, "box")
    occupied = np.nonzero(np.asarray(made[0]) > 0.5)
    found = np.nonzero(TUMOURS[0])
    assert [(axis.min(), axis.max()) for axis in occupied] == [(axis.min(), axis.max()) for axis in found]


def test_a_mirrored_tumour_has_the_mirrored_map():
    one, other = (
        conditioning(spatial="ellipsoid").maps(measured(levels))[0] for levels in (TUMOURS[0], TUMOURS[0][..., ::-1])
    )
    torch.testing.assert_close(one, other.flip(-1), atol=1e-5, rtol=0)


def test_few_scalars_with_noise_that_is_a_function_of_the_rng():
    told = conditioning(scalars=FEW, noise=0.5)
    rows = measured(*TUMOURS)
    plain = told.numbers(rows)
    assert plain.shape == (2, 4) and n_numbers(told.settings, CONDITIONS) == (4, 0)
    torch.testing.assert_close(plain[:, 0].sign(), torch.tensor([-1.0, 1.0]))
    one, again = (told.numbers(rows, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, again) and not torch.allclose(one, plain)


def test_the_jitter_is_a_share_of_the_tumours_own_size():
    told = conditioning(spatial="ellipsoid", spatial_jitter=0.1)
    rows = measured(TUMOURS[0]).expand(4000, -1)
    moved = told.perturbed(rows, torch.Generator().manual_seed(0))
    radius_mm = (3000 * float(rows[0, 0]) / (4 * np.pi)) ** (1 / 3)
    offset = moved[:, CONDITIONS.index("centroid_x_mm")] - rows[:, CONDITIONS.index("centroid_x_mm")]
    assert float(offset.std()) == pytest.approx(0.1 * radius_mm, rel=0.05) and abs(float(offset.mean())) < 0.1
    assert float((moved[:, 0] / rows[:, 0]).log().std()) == pytest.approx(0.1, rel=0.05)
    assert torch.equal(conditioning(spatial="ellipsoid").perturbed(rows, torch.Generator()), rows)


def test_at_sampling_the_label_says_that_nothing_was_changed():
    told = conditioning(scalars=FEW, augmentation_label=True)
    assert not told.numbers(measured(*TUMOURS))[:, 4:].any()
    labels = torch.rand(2, N_LABELS)
    assert torch.equal(told.numbers(measured(*TUMOURS), labels=labels)[:, 4:], labels)


def test_a_denoiser_hears_the_map_and_the_label_but_without_keep_the_label_alone():
    told = Conditions(scalars=FEW, spatial="ellipsoid", augmentation_label=True)
    numbers, labels = n_numbers(told, CONDITIONS)
    torch.manual_seed(0)
    net = UNet(
        2, 2, (8, 8, 16), embedding_dim=16, n_conditions=numbers, n_labels=labels, n_maps=n_maps(told, CONDITIONS)
    )
    torch.nn.init.normal_(net.head.weight)
    for block in net.modules():
        if hasattr(block, "conv_out"):
            torch.nn.init.normal_(block.conv_out.weight, std=0.1)
    x, time, maps = torch.randn(1, 2, 4, 4, 4), torch.tensor([5.0]), torch.rand(1, 3, 4, 4, 4)
    told, other, turned = torch.zeros(1, 12), torch.zeros(1, 12), torch.zeros(1, 12)
    other[0, 0], turned[0, -1] = 1.0, 1.0
    no = torch.tensor([False])
    assert not torch.allclose(net(x, time, told, None, maps), net(x, time, told, None, maps.flip(-1)))
    assert torch.equal(net(x, time, told, no, maps), net(x, time, other, no, maps.flip(-1)))
    torch.testing.assert_close(net(x, time, told, no, maps), net(x, time))
    assert not torch.allclose(net(x, time, told, no, maps), net(x, time, turned, no, maps))


def test_a_table_without_a_centroid_is_refused():
    with pytest.raises(UserError, match=r"conditions\.spatial needs centroid_x_mm"):
        occupancy(torch.ones(1, 1), ["volume_ml"], SHAPE[1:], GRID, "ellipsoid")
