"""A tumour cut out of one patient and put into another: what is cut, how it is matched, where it goes; and healing."""

import numpy as np
import pytest

from workflow_scripts.diffusion.hosts import Host, flipped
from workflow_scripts.mixing.carving import draw_threshold_mm, matched, mix, place, shifted, signed_distance_mm
from workflow_scripts.mixing.healing import healed

SHAPE, SPACING_MM = (12, 20, 20), (4.0, 2.0, 2.0)


def ball(centre, radius_mm) -> np.ndarray:
    """Boolean (D, H, W): voxels within `radius_mm` of the voxel `centre`."""
    offsets = [(np.arange(n) - c) * mm for n, c, mm in zip(SHAPE, centre, SPACING_MM, strict=True)]
    return sum(axis**2 for axis in np.meshgrid(*offsets, indexing="ij")) <= radius_mm**2


def head(name: str, centre, scale=1.0, offset=0.0, radius_mm=5.0, brain_mm=18.0) -> Host:
    """Two modalities with a left-right symmetric texture, and a tumour with two levels."""
    brain, levels = (
        ball((5.5, 9.5, 9.5), brain_mm),
        ball(centre, radius_mm).astype(np.uint8) + ball(centre, radius_mm / 2),
    )
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    texture = offset + scale * 0.1 * (np.sin(y) + np.cos(np.abs(x)) + np.sin(z))
    image = np.stack([texture, -texture]) + 0.5 * scale * (levels > 0)
    return Host(name, np.where(brain, image, -1.0).astype(np.float32), levels * brain, np.eye(4))


HOST, DONOR = head("host", (5, 9, 5), scale=0.5, offset=-0.3), head("donor", (6, 10, 13))


def test_the_signed_distance_is_in_mm_and_negative_inside():
    distance = signed_distance_mm(ball((5, 10, 10), 5), SPACING_MM)
    assert distance[5, 10, 10] < -4 and distance[5, 10, 10] == distance.min()
    assert distance[5, 10, 15] == pytest.approx(6.0)  # three voxels of 2 mm beyond the last one inside
    assert distance[8, 10, 10] == pytest.approx(8.0)


@pytest.mark.parametrize(("inner_share", "lowest"), [(0.0, 0.0), (0.5, -5.0)])
def test_the_threshold_is_a_mixture_of_two_even_draws(inner_share, lowest):
    distance = np.array([-10.0, 3.0])
    rng = np.random.default_rng(0)
    drawn = np.array([draw_threshold_mm(distance, inner_share, 8.0, rng) for _ in range(4000)])
    assert drawn.min() >= lowest and 7.9 < drawn.max() <= 8.0
    assert (drawn < 0).mean() == pytest.approx(0.5 * bool(inner_share), abs=0.03)
    assert drawn[drawn > 0].mean() == pytest.approx(4.0, abs=0.2)
    if inner_share:
        assert drawn.min() < -4.9 and drawn[drawn < 0].mean() == pytest.approx(-2.5, abs=0.2)


def test_the_carved_region_is_the_donors_and_the_rest_the_hosts():
    region = signed_distance_mm(DONOR.levels > 0, SPACING_MM) <= 3.0
    image, levels, carved = mix(DONOR, HOST, region, (0, 0, 0))
    assert (carved == (region & DONOR.foreground)).all() and carved.sum() > (DONOR.levels > 0).sum()
    inside = carved & HOST.foreground
    np.testing.assert_array_equal(image[:, ~inside], HOST.image[:, ~inside])
    np.testing.assert_allclose(image[:, inside], matched(DONOR, HOST)[:, inside])
    np.testing.assert_array_equal(levels, np.where(carved, DONOR.levels, HOST.levels))
    assert (levels[HOST.levels > 0] > 0).any()  # the host's own tumour stays


def test_healthy_tissue_has_median_and_spread_of_the_hosts():
    healthy = [case.foreground & ~ball(centre, 10) for case, centre in ((DONOR, (6, 10, 13)), (HOST, (5, 9, 5)))]
    for channel, of_host in zip(matched(DONOR, HOST), HOST.image, strict=True):
        ours, wanted = channel[healthy[0]], of_host[healthy[1]]
        assert np.median(ours) == pytest.approx(np.median(wanted), abs=0.01)
        spread = [np.median(np.abs(values - np.median(values))) for values in (ours, wanted)]
        assert spread[0] == pytest.approx(spread[1], rel=0.1)


def test_a_tumour_is_moved_as_far_as_it_stays_inside():
    tumour, brain = DONOR.levels > 0, HOST.foreground
    assert place(tumour, brain, (0, -2, -5)) == (0, -2, -5)
    there = shifted(tumour, place(tumour, brain, (0, 0, 8)))
    assert (there & brain).sum() >= 0.96 * tumour.sum() and there.sum() == tumour.sum()
    outside = shifted(tumour, (0, 0, 6))  # where it lies now, most of it is outside
    assert (outside & brain).mean() < 0.5 * outside.mean()
    assert (shifted(outside, place(outside, brain, (0, 0, 0))) & brain).sum() >= 0.96 * outside.sum()


def test_nothing_of_the_donor_enters_the_hosts_background():
    image, levels, _ = mix(DONOR, HOST, np.ones(SHAPE, bool), (0, 0, 6))
    assert (image[:, ~HOST.foreground] == -1).all() and (image[:, HOST.foreground] > -1).all()
    assert (levels[~HOST.foreground] > 0).any()  # which the gate sees, and takes off


def test_a_flip_mirrors_all_of_a_case():
    other = flipped(HOST)
    np.testing.assert_array_equal(other.image, HOST.image[..., ::-1])
    np.testing.assert_array_equal(other.levels, HOST.levels[..., ::-1])


def test_a_healed_host_is_like_its_other_side():
    well = healed(HOST)
    assert not well.levels.any() and (well.foreground == HOST.foreground).all()
    hole = HOST.levels > 0
    mirror = HOST.image[..., ::-1]
    assert np.abs(well.image - mirror)[:, hole].mean() < 0.03 < 0.2 < np.abs(HOST.image - mirror)[:, hole].mean()
    far = ~ball((5, 9, 5), 16)
    np.testing.assert_array_equal(well.image[:, far], HOST.image[:, far])


def test_a_tumour_across_the_midline_is_filled_from_around():
    case = head("both", (5, 9, 9.5))
    well = healed(case)
    hole = case.levels > 0
    assert (well.image[:, hole] > -1).all()
    assert np.abs(well.image[:, hole]).mean() < 0.25 < np.abs(case.image[0][hole]).mean()
