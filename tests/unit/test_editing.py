"""Known-region sampling, and the change laid into the patient."""

import numpy as np
import pytest
import torch

from workflow_scripts.diffusion import editing
from workflow_scripts.diffusion.samplers import SAMPLERS, draw_noise
from workflow_scripts.diffusion.schedules import Flow, cosine, scaled_linear
from workflow_scripts.study.settings.generator import SAMPLERS as GO_WITH_FLOW

SHAPE, SPACING_MM = (1, 3, 6, 8, 8), (5.0, 4.0, 4.0)
DETERMINISTIC = [name for name in SAMPLERS if name != "ddpm"]
PATIENT = torch.randn(SHAPE, generator=torch.Generator().manual_seed(7))


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def schedules(sampler):
    return [Flow(100)] if GO_WITH_FLOW[sampler] else [cosine(100), scaled_linear(100, 0.002, 0.02)]


def guess(x, t):
    """An estimate of the clean latent that looks at all of the noisy one, its neighbours too."""
    return torch.tanh(x + 0.3 * x.roll(1, -1)) * (1 - t / 200)


def sample(sampler, schedule, region, steps=7, seen=None):
    known = editing.Known(PATIENT, torch.as_tensor(region))
    predict = known.kept(guess)

    def watched(x, t):
        if seen is not None:
            seen.append((t, x))
        return predict(x, t)

    noise = draw_noise(SHAPE, rng())
    start = known.start(noise, *schedule.at(schedule.timesteps - 1))
    return SAMPLERS[sampler](watched, start, schedule, steps, rng(2), 0.0), noise


@pytest.fixture
def half():
    region = np.zeros(SHAPE[2:], dtype=bool)
    region[2:5, 3:, :5] = True
    return region


@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_outside_of_the_region_each_step_sees_the_patient_noised_with_the_noise_of_the_start(sampler, half):
    for schedule in schedules(sampler):
        seen = []
        made, noise = sample(sampler, schedule, half, seen=seen)
        for t, x in seen:
            alpha, sigma = schedule.at(t)
            torch.testing.assert_close(
                x[:, :, ~half], (alpha * PATIENT + sigma * noise)[:, :, ~half], atol=2e-5, rtol=0
            )
        assert torch.equal(made[:, :, ~half], PATIENT[:, :, ~half])
        assert (made - PATIENT)[:, :, half].abs().mean() > 0.3


def test_ancestral_sampling_sees_the_patient_at_the_level_of_each_step(half):
    schedule, seen = cosine(100), []
    made, _ = sample("ddpm", schedule, half, steps=50, seen=seen)
    for t, x in seen[5:]:
        alpha, sigma = schedule.at(t)
        noise = (x - alpha * PATIENT)[:, :, ~half] / sigma
        assert noise.mean().abs() < 0.15
        assert 0.85 < noise.std() < 1.15
    torch.testing.assert_close(made[:, :, ~half], PATIENT[:, :, ~half])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_empty_region_gives_the_patient_and_a_whole_one_plain_sampling(sampler):
    for schedule in schedules(sampler):
        torch.testing.assert_close(sample(sampler, schedule, False)[0], PATIENT)  # to rounding, of `ddpm` alone
        made, noise = sample(sampler, schedule, True)
        assert torch.equal(made, SAMPLERS[sampler](guess, noise, schedule, 7, rng(2), 0.0))


def brain(size=(12, 20, 21), half=(4, 8, 8)):
    axes = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) / edge for n, edge in zip(size, half, strict=True)], indexing="ij"
    )
    return sum(axis**2 for axis in axes) <= 1


def conditions(centre_zyx_mm, box_zyx_mm):
    volume_ml = np.pi / 6 * np.prod(box_zyx_mm) / 1000
    names = ("volume_ml", *editing.CENTROID, *editing.BOX)
    return dict(zip(names, (volume_ml, *centre_zyx_mm, *(2 * edge for edge in box_zyx_mm)), strict=True))


def centroid_mm(mask):
    return (np.argwhere(mask).mean(axis=0) - (np.array(mask.shape) - 1) / 2) * SPACING_MM


def test_a_wanted_tumour_lies_where_it_is_asked_for_if_that_is_in_the_brain():
    tumour, centroid = editing.wanted_tumour(conditions((2.0, 9.0, -5.0), (20, 16, 24)), brain(), SPACING_MM)
    np.testing.assert_allclose(centroid_mm(tumour), (2.5, 10.0, -4.0))  # the nearest voxel
    assert list(centroid.values()) == [2.0, 9.0, -5.0]
    assert np.ptp(np.argwhere(tumour), axis=0).tolist() == [4, 4, 6]


@pytest.mark.parametrize("centre", [(0.0, 60.0, 0.0), (-25.0, 0.0, 30.0), (500.0, -500.0, 500.0)])
def test_a_tumour_wanted_outside_is_moved_to_the_nearest_place_inside(centre):
    inside = brain()
    tumour, centroid = editing.wanted_tumour(conditions(centre, (15, 12, 12)), inside, SPACING_MM)
    assert tumour.any()
    assert not (tumour & ~inside).any()
    np.testing.assert_allclose(centroid_mm(tumour), list(centroid.values()), atol=3)
    assert (np.sign(np.round(centroid_mm(tumour))) * np.sign(centre) >= 0).all()


def test_a_tumour_larger_than_the_brain_is_cut_off_at_it():
    tumour, _ = editing.wanted_tumour(conditions((0, 0, 0), (900, 900, 900)), brain(), SPACING_MM)
    assert np.array_equal(tumour, brain())


def test_weights_fall_from_the_margin_to_nothing():
    mask = np.zeros((5, 5, 21), dtype=bool)
    mask[:, :, :5] = True
    weight = editing.feather(mask, SPACING_MM, margin_mm=8, fade_mm=16)[2, 2]
    np.testing.assert_allclose(weight[:12], [1] * 7 + [0.75, 0.5, 0.25, 0, 0])
    assert not editing.feather(np.zeros_like(mask), SPACING_MM, 8, 8).any()


def test_latent_cells_are_those_that_hold_a_voxel():
    mask = np.zeros((6, 8, 8), dtype=bool)
    mask[3, 4, 7] = True
    cells = editing.latent_region(mask, (6, 2, 2))
    assert np.argwhere(cells).tolist() == [[3, 1, 1]]
    assert np.array_equal(editing.voxels_of(cells, mask.shape), np.kron(cells, np.ones((1, 4, 4), dtype=bool)))


def test_a_change_keeps_the_background_and_all_that_it_has_no_weight_on():
    inside = brain()
    host = np.where(inside, np.random.default_rng(0).normal(0, 0.1, (2, *inside.shape)), -1.0).astype(np.float32)
    tumour = np.zeros_like(inside)
    tumour[4:8, 8:12, 9:13] = True
    weight = editing.feather(tumour, SPACING_MM, 4, 4)
    made = editing.laid_in(host, np.where(tumour, 0.9, 0.2), np.full(inside.shape, 0.2), weight, inside)
    np.testing.assert_allclose(made[:, tumour], host[:, tumour] + 0.7, atol=1e-6)
    assert np.array_equal(made[:, ~tumour], host[:, ~tumour])
