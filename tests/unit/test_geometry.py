"""Grids survive: any orientation, spacing and obliqueness in, and back on the case's own voxels."""

import itertools

import nibabel
import numpy as np
import pytest
from brats import REGIONS, WRITTEN
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy.spatial.transform import Rotation
from small_cases import anatomy, lps_affine, make_case, prepare

from workflow_scripts.cohort.geometry import from_ras, ras_grid, resample, spacing_of, to_ras, to_source_grid
from workflow_scripts.cohort.nifti import read_synthetic_case, read_volume, write_case, write_nifti
from workflow_scripts.cohort.regions import levels_to_channels
from workflow_scripts.cohort.volumes import VolumeStore

CASE = "BraTS-GLI-00000-000"
ORIENTATIONS = [
    np.column_stack([order, signs])
    for order in itertools.permutations(range(3))
    for signs in itertools.product([1, -1], repeat=3)
]
NAMES = ["".join(nibabel.orientations.ornt2axcodes(item)) for item in ORIENTATIONS]


def stored(array, affine, orientation):
    """The same image with its axes permuted and flipped."""
    return apply_orientation(array, orientation), affine @ inv_ornt_aff(orientation, array.shape)


def rotated(angles_degrees, shape=(32, 32, 16), spacing_mm=(6.0, 6.0, 8.0)):
    """An oblique affine around the grid's centre."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles_degrees, degrees=True).as_matrix() @ np.diag(spacing_mm)
    affine[:3, 3] = [12.5, -30.0, 7.25] - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def write_reoriented(root, orientation):
    """One small case in BraTS' own orientation, then stored another way."""
    for path in make_case(root, CASE).values():
        image = nibabel.load(path)
        array, affine = stored(np.asarray(image.dataobj), image.affine, orientation)
        path.unlink()
        write_nifti(path, np.ascontiguousarray(array), affine)
    return path  # the mask's


def source_levels(path):
    return np.array([0, 2, 1, 3], dtype=np.uint8)[np.asarray(nibabel.load(path).dataobj)]


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=NAMES)
def test_to_ras_and_back_moves_no_voxel(orientation):
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    shuffled, affine = stored(array, np.diag([2.0, 3.0, 4.0, 1.0]), orientation)
    volume, ras_affine = to_ras(shuffled, affine)
    np.testing.assert_array_equal(volume, array.transpose(2, 1, 0))
    np.testing.assert_allclose(ras_affine, np.diag([2.0, 3.0, 4.0, 1.0]), atol=1e-12)
    np.testing.assert_array_equal(from_ras(volume, affine), shuffled)
    assert ras_grid(shuffled.shape, affine)[0] == (4, 3, 2)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5], ids=NAMES[::5])
def test_orientation_on_disk_does_not_matter_and_masks_come_back_voxel_by_voxel(tmp_path, orientation):
    make_case(tmp_path / "plain", CASE)
    plain = VolumeStore(prepare(tmp_path / "plain", tmp_path / "plain_out") / "volumes")
    seg = write_reoriented(tmp_path / "turned", orientation)
    turned = VolumeStore(prepare(tmp_path / "turned", tmp_path / "turned_out") / "volumes")
    np.testing.assert_array_equal(plain.image(CASE), turned.image(CASE))
    np.testing.assert_array_equal(plain.levels(CASE), turned.levels(CASE))
    np.testing.assert_allclose(plain.meta(CASE)["affine"], turned.meta(CASE)["affine"], atol=1e-9)
    back = to_source_grid(levels_to_channels(np.asarray(turned.levels(CASE)), REGIONS), turned.meta(CASE))
    np.testing.assert_array_equal(back, levels_to_channels(source_levels(seg), REGIONS))


def test_volumes_lie_where_their_affine_says(tmp_path):
    """The brightest voxel, marked in the file at a known place in mm, is found there in the volume."""
    paths = make_case(tmp_path / "data", CASE)
    image = nibabel.load(paths["t2f"])
    data = np.asarray(image.dataobj).copy()
    index = (20, 9, 6)
    data[index] = 30000
    paths["t2f"].unlink()
    write_nifti(paths["t2f"], data, image.affine)
    store = VolumeStore(
        prepare(tmp_path / "data", tmp_path / "out", {"intensity": {"percentiles": [0, 100]}}) / "volumes"
    )
    d, h, w = np.unravel_index(np.argmax(store.image(CASE)[3]), store.levels(CASE).shape)
    place = np.array(store.meta(CASE)["affine"]) @ [w, h, d, 1]
    np.testing.assert_allclose(place, image.affine @ [*index, 1], atol=1e-6)
    assert w < store.levels(CASE).shape[2] / 2, "x = 20 of 32 in a file stored right to left is left of the middle"


@pytest.mark.parametrize(
    ("affine", "shape", "spacing_mm", "dice"),
    [
        (lps_affine((48, 40, 30), (4.0, 5.0, 4.5)), (48, 40, 30), [4.0, 4.0, 4.0], 0.95),
        (lps_affine((60, 60, 16), (3.2, 3.2, 8.0)), (60, 60, 16), [4.0, 4.0, 4.0], 0.93),
        (rotated((8, -5, 12), (48, 48, 32), (4.0, 4.0, 4.0)), (48, 48, 32), [4.0, 4.0, 4.0], 0.93),
        (rotated((-30, 20, 40), (48, 48, 32), (4.0, 4.0, 4.0)), (48, 48, 32), [4.0, 4.0, 4.0], 0.93),
        (rotated((10, 15, -20), (64, 64, 22), (3.0, 3.0, 6.0)), (64, 64, 22), [4.0, 4.0, 4.0], 0.90),
    ],
    ids=["anisotropic", "thick slices", "oblique", "steeply oblique", "oblique and thick"],
)
def test_a_mask_comes_back_on_a_grid_that_has_to_be_interpolated(tmp_path, affine, shape, spacing_mm, dice):
    spacing = tuple(spacing_of(affine))
    seg = make_case(tmp_path / "data", CASE, affine=affine, shape=shape, spacing_mm=spacing)["seg"]
    out = prepare(tmp_path / "data", tmp_path / "out", {"spacing_mm": spacing_mm, "size": [40, 48, 48]})
    store = VolumeStore(out / "volumes")
    meta, levels = store.meta(CASE), np.asarray(store.levels(CASE))
    wanted = source_levels(seg) >= 1
    back = to_source_grid(levels_to_channels(levels, REGIONS), meta)[0] > 0.5
    assert back.shape == wanted.shape
    assert 2 * (back & wanted).sum() / (back.sum() + wanted.sum()) > dice
    direction = np.array(meta["affine"])[:3, :3]
    np.testing.assert_allclose(direction, np.diag(spacing_mm[::-1]), atol=1e-9, err_msg="axes along R, A and S")
    there = np.argwhere(levels)[:, ::-1].mean(axis=0) @ direction + np.array(meta["affine"])[:3, 3]
    here = np.argwhere(wanted).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(there, here, atol=0.6, err_msg="the tumour's centroid in mm")
    volume_ml = [np.count_nonzero(levels) * np.prod(spacing_mm) / 1e3, wanted.sum() * np.prod(spacing) / 1e3]
    assert volume_ml[0] == pytest.approx(volume_ml[1], rel=0.05)


@pytest.mark.parametrize("offset", [(0, 0, 0), (3, -2, 5), (-40, 0, 0)])
def test_a_shift_by_whole_voxels_is_a_copy(offset):
    volume = np.random.default_rng(0).integers(0, 9, (6, 7, 8)).astype(np.int16)
    target = np.eye(4)
    target[:3, 3] = offset
    moved = resample(volume, np.eye(4), target, (5, 9, 8))
    assert moved.dtype == np.int16
    padded = np.pad(volume, 50)
    first = [50 + step for step in offset[::-1]]
    np.testing.assert_array_equal(moved, padded[first[0] :, first[1] :, first[2] :][:5, :9, :8])


def test_larger_voxels_are_means_over_boxes_and_keep_the_sum():
    volume = np.random.default_rng(1).random((12, 9, 6)).astype(np.float32)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = 1.0
    means = volume.reshape(4, 3, 3, 3, 2, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(resample(volume, np.eye(4), affine, (4, 3, 2)), means, rtol=1e-5)
    odd = np.diag([1.7, 1.7, 1.7, 1.0])
    odd[:3, 3] = -1.4
    assert resample(volume, np.eye(4), odd, (11, 11, 11)).sum() * 1.7**3 == pytest.approx(volume.sum(), rel=1e-4)


def test_stripes_finer_than_the_grid_do_not_alias():
    stripes = np.zeros((32, 32, 32), dtype=np.float32)
    stripes[:, :, ::2] = 1
    for turn in (0.0, 25.0):
        affine = rotated((0, 0, turn), (8, 8, 8), (4.0, 4.0, 4.0))
        affine[:3, 3] += 15.5 - (affine @ [3.5, 3.5, 3.5, 1])[:3]
        inner = resample(stripes, np.eye(4), affine, (8, 8, 8))[2:6, 2:6, 2:6]
        np.testing.assert_allclose(inner, 0.5, atol=0.08)


def test_smaller_voxels_are_linear():
    z, y, x = np.indices((6, 7, 8)).astype(np.float32)
    affine = np.diag([0.25, 0.5, 0.4, 1.0])
    affine[:3, 3] = [1.0, 2.0, 1.5]
    k, j, i = np.indices((5, 6, 7))
    expected = 3 * (1.5 + 0.4 * k) - 2 * (2 + 0.5 * j) + 1 + 0.25 * i
    np.testing.assert_allclose(resample(3 * z - 2 * y + x, np.eye(4), affine, (5, 6, 7)), expected, rtol=1e-5)


def test_outside_the_volume_is_zero():
    ones = np.ones((4, 4, 4), dtype=np.float32)
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = -2.25
    result = resample(ones, np.eye(4), affine, (16, 16, 16))
    assert set(np.unique(result)) == {0.0, 1.0}
    assert result.sum() == 8**3, "as large as the volume, to its voxels' edges"


def test_a_synthetic_case_reads_back(tmp_path):
    images, levels = anatomy()
    levels = levels.transpose(2, 1, 0)
    image = np.stack([images[name].transpose(2, 1, 0) for name in ("t1c", "t2f")]) / 600.0 - 1
    affine = np.diag([6.0, 6.0, 8.0, 1.0])
    affine[:3, 3] = [-90, -120, -60]
    write_case(tmp_path / "c é", "SliceAug-00001-000", np.clip(image, -1, 1), levels, affine, ["t1c", "t2f"], WRITTEN)
    files = sorted(path.name for path in (tmp_path / "c é").iterdir())
    names = [f"SliceAug-00001-000-{part}.nii.gz" for part in ("seg", "t1c", "t2f")]
    assert files == [*names, "SliceAug-00001-000.json"]
    header = nibabel.load(tmp_path / "c é/SliceAug-00001-000-t1c.nii.gz")
    assert header.get_data_dtype() == np.int16 and header.header.get_zooms() == (6, 6, 8)
    assert nibabel.aff2axcodes(header.affine) == ("R", "A", "S")
    read, read_levels = read_synthetic_case(tmp_path / "c é", "SliceAug-00001-000", ["t1c", "t2f"])
    np.testing.assert_allclose(read, np.clip(image, -1, 1), atol=1.01e-4)
    assert (read[:, image[0] == -1] == -1).all()
    np.testing.assert_array_equal(read_levels, levels)
    np.testing.assert_array_equal(read_volume(tmp_path / "c é/SliceAug-00001-000-seg.nii.gz")[1], affine)
