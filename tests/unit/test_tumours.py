"""Tumour measurements against closed forms."""

import math

import numpy as np
import pytest
from brats import CONDITIONS, REGIONS

from workflow_scripts.base.errors import UserError
from workflow_scripts.cohort.tumours import measure
from workflow_scripts.study.conditions import condition_names


def ball(radius_mm, spacing_mm, size, centre_mm=(0.0, 0.0, 0.0)):
    """A ball on a grid whose centre is the origin; (z, y, x) everywhere."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(size, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (z - centre_mm[0]) ** 2 + (y - centre_mm[1]) ** 2 + (x - centre_mm[2]) ** 2 <= radius_mm**2


@pytest.mark.parametrize(("spacing_mm", "excess"), [((1.0, 1.0, 1.0), 0.1), ((2.0, 1.0, 0.5), 0.2)])
def test_ball(spacing_mm, excess):
    size = [round(60 / step) for step in spacing_mm]
    found = measure(ball(20.0, spacing_mm, size).astype(np.uint8), spacing_mm)
    assert found["volume_ml"] == pytest.approx(4 / 3 * math.pi * 20**3 / 1000, rel=0.01)
    # The mesh of a binary mask has facets: it has more area than the smooth ball, the more so in long voxels.
    assert 1.0 < found["surface_mm2"] / (4 * math.pi * 20**2) < 1.0 + excess
    assert 1.0 - excess < found["sphericity"] < 1.0
    assert [found[f"box_{side}_mm"] for side in ("width", "height", "depth")] == pytest.approx([40] * 3, abs=2.1)


def test_box_area_is_that_of_its_chamfered_mesh():
    """Half-level mesh of a box: faces between outer voxel centres, bevelled edges, a triangle at each corner."""
    levels = np.zeros((14, 16, 18), np.uint8)
    levels[3:9, 4:14, 5:13] = 1
    sz, sy, sx = spacing_mm = (3.0, 2.0, 1.5)
    d, h, w = (6 - 1) * sz, (10 - 1) * sy, (8 - 1) * sx
    faces = 2 * (d * h + h * w + d * w)
    bevels = 4 * (d * math.hypot(sy, sx) + h * math.hypot(sz, sx) + w * math.hypot(sz, sy)) / 2
    corners = 8 * 0.5 * math.sqrt((sz * sy) ** 2 + (sy * sx) ** 2 + (sz * sx) ** 2) / 4
    found = measure(levels, spacing_mm)
    assert found["surface_mm2"] == pytest.approx(faces + bevels + corners, rel=1e-5)
    assert found["volume_ml"] == pytest.approx(6 * 10 * 8 * sz * sy * sx / 1000)
    assert (found["box_width_mm"], found["box_height_mm"], found["box_depth_mm"]) == (8 * sx, 10 * sy, 6 * sz)


def test_centroid_is_in_mm_from_the_grid_centre_towards_right_anterior_superior():
    spacing_mm = (2.5, 1.0, 1.5)
    mask = ball(6.0, spacing_mm, (33, 60, 50), centre_mm=(10.0, -12.5, 9.0))
    found = measure(mask, spacing_mm)
    assert found["centroid_z_mm"] == pytest.approx(10.0, abs=0.1)
    assert found["centroid_y_mm"] == pytest.approx(-12.5, abs=0.1)
    assert found["centroid_x_mm"] == pytest.approx(9.0, abs=0.1)


def test_fractions_are_shares_of_the_whole_tumour():
    levels = np.zeros((10, 10, 10), np.uint8)
    levels[1:9, 1:6, 1:6] = 1  # 200 voxels
    levels[2:6, 2:5, 2:5] = 2  # 36
    levels[2:4, 2:5, 2:5] = 3  # 18
    found = measure(levels, (1, 1, 1), REGIONS)
    assert (found["tumor_core_fraction"], found["enhancing_tumor_fraction"]) == (36 / 200, 18 / 200)
    assert tuple(found) == CONDITIONS
    assert all(type(value) is float for value in found.values())


def test_a_tumour_that_touches_the_border_has_a_closed_surface():
    inside, border = np.zeros((12, 12, 12), np.uint8), np.zeros((12, 12, 12), np.uint8)
    inside[4:8, 4:8, 4:8] = 1
    border[:4, 4:8, 8:] = 1
    assert measure(border, (1, 1, 1))["surface_mm2"] == pytest.approx(measure(inside, (1, 1, 1))["surface_mm2"])


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 9), (2, 1, 30)])
def test_sphericity_never_passes_one(shape):
    assert 0 < measure(np.ones(shape, np.uint8), (1.0, 1.0, 1.0))["sphericity"] <= 1


def test_a_ragged_tumour_is_less_spherical_than_a_ball():
    smooth = ball(9.0, (1, 1, 1), (30, 30, 30))
    ragged = smooth & (np.random.default_rng(0).random(smooth.shape) > 0.2)
    assert measure(ragged, (1, 1, 1))["sphericity"] < 0.7 * measure(smooth, (1, 1, 1))["sphericity"]


def test_features_follow_the_regions():
    assert len(condition_names(["whole_tumor"])) == 9
    assert condition_names(["whole_tumor", "tumor_core"])[-1] == "tumor_core_fraction"
    assert condition_names(["whole_tumor", "tumor_core", "enhancing_tumor"]) == list(CONDITIONS)


def test_bad_masks_are_refused_with_a_sentence():
    with pytest.raises(UserError, match="empty"):
        measure(np.zeros((4, 4, 4), np.uint8), (1, 1, 1))
    with pytest.raises(UserError, match=r"\(D, H, W\)"):
        measure(np.ones((2, 4, 4, 4), np.uint8), (1, 1, 1))
