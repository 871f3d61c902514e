"""The simulated cohort: repeatable to the byte, extensible, and looking like brains with tumours."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, generate_binary_structure, label

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.cohort.phantom.fields import Grid
from workflow_scripts.cohort.phantom.growth import EDGE_DENSITY, grow
from workflow_scripts.cohort.phantom.warps import HeadShape, before_mass_effect
from workflow_scripts.programs.cohort import demo_cohort

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
SPACING_MM = 3.0


def simulate(folder, threads=1, **config):
    config = {"cases": 2, "spacing_mm": SPACING_MM, "tumour_volume_ml": [5, 120], "seed": 0} | config
    manifest = folder / "manifest.tsv"
    arguments = ["--config", json.dumps(config), "--out", str(folder), "--manifest", str(manifest)]
    demo_cohort.main([*arguments, "--threads", str(threads)])
    return read_tsv(manifest)


def files_of(folder, numbers):
    return {
        path.name: path.read_bytes()
        for number in numbers
        for path in sorted((folder / f"DEMO-{number:05d}-000").iterdir())
    }


def load(folder, case_id):
    """Images as float arrays by modality, and the labels."""
    arrays = {
        name: np.asanyarray(nib.load(folder / case_id / f"{case_id}-{name}.nii.gz").dataobj)
        for name in (*MODALITIES, "seg")
    }
    return {name: arrays[name].astype(float) for name in MODALITIES}, arrays["seg"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Eight patients, some of whom have no enhancing tumour: their folder and manifest."""
    folder = tmp_path_factory.mktemp("demo cohort")
    return folder, simulate(folder, cases=8)


@pytest.fixture(params=range(8))
def patient(cohort, request):
    folder, manifest = cohort
    row = manifest.iloc[request.param]
    return row, *load(folder, row.case_id)


def test_fewer_cases_from_two_processes_are_the_first_ones_byte_for_byte(cohort, tmp_path):
    folder, manifest = cohort
    again = simulate(tmp_path, cases=2, threads=2)
    assert files_of(tmp_path, (1, 2)) == files_of(folder, (1, 2))
    assert again.equals(manifest.iloc[:2])


def test_another_seed_makes_other_patients(cohort, tmp_path):
    simulate(tmp_path, cases=1, seed=1)
    first, second = files_of(cohort[0], (1,)), files_of(tmp_path, (1,))
    assert all(first[name] != second[name] for name in first)


def test_layout_is_that_of_brats_2023(cohort):
    folder, manifest = cohort
    assert list(manifest.case_id) == [f"DEMO-{number:05d}-000" for number in range(1, 9)]
    for case_id in manifest.case_id:
        names = {path.name for path in (folder / case_id).iterdir()}
        assert names == {f"{case_id}-{part}.nii.gz" for part in (*MODALITIES, "seg")}


def test_files_carry_a_true_affine(cohort):
    """One left-posterior-superior grid a case; the midline is near x = 0, and every brain lies within the grid."""
    folder, manifest = cohort
    for case_id in manifest.case_id:
        images = [nib.load(folder / case_id / f"{case_id}-{name}.nii.gz") for name in (*MODALITIES, "seg")]
        assert {image.get_data_dtype() for image in images} == {np.dtype(np.int16)}
        assert all(np.array_equal(image.affine, images[0].affine) for image in images)
        assert nib.aff2axcodes(images[0].affine) == ("L", "P", "S")
        assert images[0].header.get_zooms() == pytest.approx([SPACING_MM] * 3)
        assert images[0].header["sform_code"] and images[0].header["qform_code"]
        brain = np.argwhere(np.asanyarray(images[0].dataobj) > 0)
        centre_mm = nib.affines.apply_affine(images[0].affine, brain.mean(axis=0))
        assert abs(centre_mm[0]) < 10
        assert brain.min() >= 1 and (brain.max(axis=0) <= np.asarray(images[0].shape) - 2)[:2].all()


def test_the_brain_is_one_piece_of_plausible_size_on_a_background_of_zero(patient):
    row, images, _ = patient
    brains = [image > 0 for image in images.values()]
    assert all(np.array_equal(brain, brains[0]) for brain in brains)
    assert label(brains[0])[1] == 1
    assert 1000 < row.brain_ml < 2200
    assert not brains[0][0].any() and not brains[0][:, 0].any()


def test_the_tumour_is_one_piece_within_the_brain(patient):
    row, images, labels = patient
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    assert (images["t1n"][labels > 0] > 0).all()
    assert label(labels > 0)[1] == 1
    assert row.whole_tumor_ml == pytest.approx((labels > 0).sum() * SPACING_MM**3 / 1000)
    assert row.whole_tumor_ml == pytest.approx(row.planned_volume_ml, rel=0.15)
    assert row.tumor_core_ml == pytest.approx(row.planned_core_share * row.whole_tumor_ml, rel=0.3)


def test_parts_lie_within_each_other(patient):
    """Necrosis touches nothing but the enhancing rim; oedema surrounds the core but for fluid and the brain's surface."""
    row, _, labels = patient
    core = np.isin(labels, (1, 3))
    touching = generate_binary_structure(3, 1)
    around_core = binary_dilation(core, touching) & ~core
    assert (labels[around_core] == 2).mean() > 0.3
    if row.rim_mm:
        assert row.enhancing_tumor_ml > 0
        around_necrosis = binary_dilation(labels == 1, touching) & (labels != 1)
        assert set(np.unique(labels[around_necrosis])) <= {3}
    else:
        assert row.enhancing_tumor_ml == 0 < row.tumor_core_ml


def test_contrasts_are_those_of_a_glioma(patient):
    row, images, labels = patient
    healthy = (images["t1n"] > 0) & ~binary_dilation(labels > 0, iterations=2)
    low, high = np.quantile(images["t1n"][healthy], [0.6, 0.9])
    white = healthy & (images["t1n"] > low) & (images["t1n"] < high)
    fluid = healthy & (images["t2w"] > np.quantile(images["t2w"][healthy], 0.98))

    def median(modality, where):
        return np.median(images[modality][where])

    assert median("t2f", labels == 2) > 1.3 * median("t2f", white)
    assert median("t2w", labels == 2) > 1.3 * median("t2w", white)
    assert median("t1n", labels == 2) < 0.95 * median("t1n", white)
    assert median("t2f", fluid) < 0.75 * median("t2f", white)
    assert median("t1n", fluid) < 0.75 * median("t1n", white)
    if row.rim_mm:
        assert median("t1c", labels == 3) > 1.15 * median("t1c", white)
        assert median("t1n", labels == 3) < median("t1n", white)
    else:
        assert median("t1c", labels == 1) < 0.9 * median("t1c", white)
    if row.rim_mm and (labels == 1).sum() > 50:
        assert median("t1c", labels == 1) < 0.7 * median("t1c", labels == 3)


def test_a_wide_contrast_spread_changes_the_contrasts_and_no_tumour(cohort, tmp_path):
    simulate(tmp_path, cases=4, contrast_spread=0.5)
    spreads = []
    for folder in (cohort[0], tmp_path):
        patients = [load(folder, f"DEMO-{number:05d}-000") for number in range(1, 5)]
        bright = [
            np.median(images["t2f"][seg == 2]) / np.median(images["t2f"][images["t2f"] > 0]) for images, seg in patients
        ]
        spreads.append(np.log(bright).std())
        tumours = [seg for _, seg in patients]
    assert spreads[1] > 3 * spreads[0]
    assert all((load(cohort[0], f"DEMO-{n:05d}-000")[1] == tumours[n - 1]).all() for n in range(1, 5))


def test_volumes_spread_over_the_range_and_some_tumours_do_not_enhance(cohort):
    manifest = cohort[1]
    volume_ml = manifest.whole_tumor_ml
    assert 4 < volume_ml.min() < 15 and 60 < volume_ml.max() < 121
    assert 0 < (manifest.enhancing_tumor_ml == 0).sum() < 5
    assert manifest[["start_x_mm", "start_y_mm", "start_z_mm"]].std().min() > 5


def test_a_smaller_cohort_leaves_no_case_of_a_larger_one(tmp_path):
    simulate(tmp_path, cases=2)
    (tmp_path / "DEMO-notes").mkdir()
    simulate(tmp_path, cases=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DEMO-00001-000", "DEMO-notes", "manifest.tsv"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cases": 0}, "cases is 0"),
        ({"cases": True}, "cases is True"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"spacing_mm": 0.1}, "a number from 0.5 to 5"),
        ({"spacing_mm": "3 mm"}, "a number from 0.5 to 5"),
        ({"tumour_volume_ml": [120, 5]}, "but must rise"),
        ({"tumour_volume_ml": [0.1, 5]}, "but must rise"),
        ({"tumour_volume_ml": [5, 5000]}, "but must rise"),
        ({"tumour_volume_ml": 30}, "a list of 2"),
        ({"tumor_volume_ml": [5, 50]}, "unknown key 'tumor_volume_ml'"),
    ],
)
def test_settings_that_cannot_be_simulated_are_refused_before_work_starts(tmp_path, config, words):
    with pytest.raises(UserError, match=words):
        simulate(tmp_path, **config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", range(12))
def test_head_shapes_are_invertible(number):
    """The Jacobian determinant of the map to the template is positive everywhere."""
    centre_mm, extent_mm = np.array([5.0, -18.0, 0.0]), np.array([170.0, 196.0, 160.0])
    shape = HeadShape(numpy_rng(0, "shape", number), centre_mm, extent_mm)
    mapped = shape.to_template(Grid.around(centre_mm, extent_mm, 4.0).points_mm())
    gradient = np.stack([np.stack(np.gradient(part, 4.0)) for part in mapped])
    determinant = np.linalg.det(np.moveaxis(gradient, (0, 1), (-2, -1)))
    assert determinant.min() > 0.1
    assert determinant.std() > 0.02


def test_mass_effect_pushes_outwards_in_order_and_not_far_away():
    along = np.zeros((3, 400), np.float32)
    along[2] = np.linspace(0.1, 120, 400)
    before = before_mass_effect(along, (0.0, 0.0, 0.0), radius_mm=25.0, strength=0.4)[2]
    assert (np.diff(before) > 0).all()
    shift_mm = along[2] - before
    assert shift_mm.max() == pytest.approx(0.4 * 25 / np.sqrt(2 * np.e), rel=0.01)
    assert shift_mm[along[2] > 75].max() < 0.05


def test_cells_spread_along_white_matter_and_never_into_fluid():
    """A slab of white matter between grey matter, with a layer of fluid on one side."""
    white = np.zeros((40, 40, 40), np.float32)
    white[:, 16:24] = 1
    grey = 1 - white
    grey[:, :, 28:] = white[:, :, 28:] = 0
    density = grow(white, grey, (20, 20, 14), 3.0, 6.0, 8.0, np.ones_like(white), volume_mm3=120_000)
    reached = density > EDGE_DENSITY
    assert (density[:, :, 28:] == 0).all()
    assert np.ptp(np.flatnonzero(reached.any(axis=(1, 2)))) > 1.3 * np.ptp(np.flatnonzero(reached.any(axis=(0, 2))))
    assert 120_000 <= reached.sum() * 27 < 150_000
    assert label(reached)[1] == 1
