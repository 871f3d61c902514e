"""Broken input: one healthy case and one broken case go in; the healthy one passes, the broken one is named and why."""

import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from small_cases import MODALITIES, lps_affine, prepare, rewrite

from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import read_tsv

BAD, GOOD = "BraTS-GLI-00001-000", "BraTS-GLI-00000-000"


def same(data):
    return data


def spoil(value, dtype=np.float32):
    """Put `value` in the middle of the image."""

    def change(data):
        data = data.astype(dtype)
        data[tuple(edge // 2 for edge in data.shape)] = value
        return data

    return change


# --- one broken file each ---------------------------------------------------------------------------------------------
def cut_off(paths):
    paths["t1c"].write_bytes(paths["t1c"].read_bytes()[:-2000])


def cut_off_by_a_byte(paths):
    paths["t1c"].write_bytes(paths["t1c"].read_bytes()[:-1])


def wrong_checksum(paths):
    raw = bytearray(paths["t1c"].read_bytes())
    raw[-8] ^= 1
    paths["t1c"].write_bytes(raw)


def damaged_stream(paths):
    raw = bytearray(paths["t1c"].read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 40] = bytes(40)
    paths["t1c"].write_bytes(raw)


def whole_gzip_of_half_an_image(paths):
    paths["t1c"].write_bytes(gzip.compress(gzip.decompress(paths["t1c"].read_bytes())[:-500]))


def more_than_the_header_says(paths):
    paths["t1c"].write_bytes(gzip.compress(gzip.decompress(paths["t1c"].read_bytes()) + bytes(2 << 20)))


def header_claims_terabytes(paths):
    raw = bytearray(gzip.decompress(paths["t1c"].read_bytes()))
    raw[42:48] = np.array([32767] * 3, dtype="<i2").tobytes()  # dim[1..3]
    paths["t1c"].write_bytes(gzip.compress(bytes(raw)))


def text_file(paths):
    paths["t1c"].write_text("this is not an image, but it is longer than a header. " * 20)


def empty_file(paths):
    paths["t1c"].write_bytes(b"")


def broken_link(paths):
    paths["t1c"].unlink()
    paths["t1c"].symlink_to("nowhere.nii.gz")


def singular_affine(paths):
    raw = bytearray(gzip.decompress(paths["t1c"].read_bytes()))
    raw[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    paths["t1c"].write_bytes(gzip.compress(bytes(raw)))


def colour_image(paths):
    shape = nibabel.load(paths["t1c"]).shape
    colours = np.zeros(shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, lps_affine()), paths["t1c"])


def no_modality(paths):
    paths["t2w"].unlink()


def no_mask(paths):
    paths["seg"].unlink()


def folder_for_a_file(paths):
    paths["t2w"].unlink()
    paths["t2w"].mkdir()


def other_shape(paths):
    rewrite(paths["t2f"], lambda data: data[:-1])


def other_mask_shape(paths):
    rewrite(paths["seg"], lambda data: data[:, :, 1:])


def other_origin(paths):
    affine = lps_affine()
    affine[1, 3] += 12.0
    rewrite(paths["t2f"], same, affine=affine)


def other_spacing_of_mask(paths):
    rewrite(paths["seg"], same, affine=lps_affine(spacing_mm=(6, 6, 8.5)))


def four_dimensions(paths):
    rewrite(paths["t1n"], lambda data: np.stack([data, data], axis=-1))


def one_plane(paths):
    for path in paths.values():
        rewrite(path, lambda data: data[:, :, :1])


def two_dimensions(paths):
    rewrite(paths["t1n"], lambda data: data[:, :, 0])


def not_a_number(paths):
    rewrite(paths["t2w"], spoil(np.nan))


def infinite(paths):
    rewrite(paths["t2w"], spoil(-np.inf))


def all_zero(paths):
    rewrite(paths["t1n"], np.zeros_like)


def constant(paths):
    rewrite(paths["t1n"], lambda data: np.where(data, 7, 0).astype(np.int16))


def no_background(paths):
    for name in MODALITIES:
        rewrite(paths[name], lambda data: data.astype(np.float32) - 1.5)


def copied_modality(paths):
    shutil.copy(paths["t1n"], paths["t1c"])


def mask_as_an_image(paths):
    shutil.copy(paths["seg"], paths["t1c"])


def image_as_a_mask(paths):
    shutil.copy(paths["t1c"], paths["seg"])


def unknown_label(paths):
    rewrite(paths["seg"], spoil(7, np.uint8))


def negative_label(paths):
    rewrite(paths["seg"], spoil(-1, np.int16))


def fractional_label(paths):
    rewrite(paths["seg"], spoil(0.5))


def label_not_a_number(paths):
    rewrite(paths["seg"], spoil(np.nan))


def empty_mask(paths):
    rewrite(paths["seg"], np.zeros_like)


def cavity_only(paths):
    rewrite(paths["seg"], lambda data: np.where(data, 4, 0).astype(np.uint8))


def mask_of_another(paths):
    rewrite(paths["seg"], lambda data: np.where(np.indices(data.shape)[0] < 3, 1, 0).astype(np.uint8))


def one_voxel(paths):
    def change(data):
        kept = np.zeros_like(data)
        kept[16, 16, 8] = 1
        return kept

    rewrite(paths["seg"], change)


COARSE = {"spacing_mm": [24.0, 18.0, 18.0], "size": [8, 12, 12]}
TABLE = [  # what is broken, the file to be named, part of the message, settings
    (cut_off, "t1c", "the gzip data end early: the file is cut off. Copy the file again", {}),
    (cut_off_by_a_byte, "t1c", "the gzip data end early", {}),
    (wrong_checksum, "t1c", "the gzip data are damaged", {}),
    (damaged_stream, "t1c", "the gzip data are damaged", {}),
    (whole_gzip_of_half_an_image, "t1c", "the file is cut off: 32620 of 33120 bytes", {}),
    (more_than_the_header_says, "t1c", "the file holds more data than its header says", {}),
    (header_claims_terabytes, "t1c", "MiB that a worker can hold", {}),
    (text_file, "t1c", "this is not a NIfTI file", {}),
    (empty_file, "t1c", "this is not a NIfTI file", {}),
    (broken_link, "t1c", "the file is not there (a broken link?)", {}),
    (singular_affine, "t1c", "the affine in the header is singular", {}),
    (colour_image, "t1c", "not plain numbers", {}),
    (no_modality, "", "missing t2w", {}),
    (folder_for_a_file, "", "missing t2w", {}),
    (no_mask, "", "missing the tumour mask (seg)", {}),
    (other_shape, "t2f", "shape mismatch: 31x32x16 voxels, but BraTS-GLI-00001-000-t1n.nii.gz has 32x32x16", {}),
    (other_mask_shape, "seg", "shape mismatch: 32x32x15 voxels", {}),
    (other_origin, "t2f", "affine mismatch: its grid lies up to 12 mm from that of BraTS-GLI-00001-000-t1n", {}),
    (other_spacing_of_mask, "seg", "affine mismatch", {}),
    (four_dimensions, "t1n", "t1n has 4 dimensions, shape 32x32x16x2, where a 3D image belongs", {}),
    (two_dimensions, "t1n", "t1n has 2 dimensions", {}),
    (one_plane, "seg", "a single plane, where a volume belongs", {}),
    (not_a_number, "t2w", "t2w has 1 voxels that are NaN, infinite or beyond 1e+12", {}),
    (infinite, "t2w", "t2w has 1 voxels that are NaN, infinite or beyond 1e+12", {}),
    (all_zero, "t1n", "t1n is zero everywhere", {}),
    (constant, "t1n", "t1n has no contrast", {}),
    (no_background, "t1n", "100% of the volume is not zero: there is no background. Set the background to 0", {}),
    (copied_modality, "t1c", "t1c and t1n hold the same voxels", {}),
    (mask_as_an_image, "t1c", "t1c holds no other values than labels: this looks like a mask", {}),
    (image_as_a_mask, "seg", " more in the mask; brats2023 has 1, 2, 3, 4. This looks like an image", {}),
    (unknown_label, "seg", "unknown label 7 in the mask; brats2023 has 1, 2, 3, 4. Set `layout`", {}),
    (negative_label, "seg", "unknown label -1", {}),
    (fractional_label, "seg", "values that are no labels, such as 0.5", {}),
    (label_not_a_number, "seg", "values that are no labels, such as nan", {}),
    (empty_mask, "seg", "the mask is empty: no tumour in it", {}),
    (cavity_only, "seg", "no tumour in it (only resection cavity)", {}),
    (mask_of_another, "seg", "of the tumour lies outside the foreground", {}),
    (one_voxel, "seg", "the tumour of 0.288 ml vanishes on the grid", COARSE),
]


def cohort_with(root: Path, make_case, break_it) -> None:
    make_case(root, GOOD, seed=0)
    break_it(make_case(root, BAD, seed=1))


@pytest.mark.parametrize(("break_it", "part", "message", "settings"), TABLE, ids=[row[0].__name__ for row in TABLE])
def test_a_broken_case_is_refused_and_named(tmp_path, make_case, break_it, part, message, settings):
    cohort_with(tmp_path / "data", make_case, break_it)
    out = prepare(tmp_path / "data", tmp_path / "out", settings, shards=1)
    assert list(read_tsv(out / "cases.tsv")["case_id"]) == [GOOD]
    (row,) = read_tsv(out / "rejected.tsv").itertuples()
    assert row.case_id == BAD
    assert message in row.reason
    assert Path(row.file).name == (f"{BAD}-{part}.nii.gz" if part else BAD)
    assert not list((out / "volumes").glob(f"{BAD}*")), "no half-made volume stays"


def test_a_tumour_larger_than_the_grid_is_named_with_the_size_it_needs(tmp_path, make_case):
    paths = make_case(tmp_path / "data", GOOD)
    box = [np.ptp(found) + 1 for found in np.nonzero(np.asarray(nibabel.load(paths["seg"]).dataobj))]
    message = rf"no case is left: 1 were refused.*\[16, 8, 32\] voxels: it needs \[{box[2]}, {box[1]}, {box[0]}\]"
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "data", tmp_path / "out", {"size": [16, 8, 32]})


@pytest.mark.parametrize("break_it", [cut_off, no_modality, empty_mask], ids=lambda item: item.__name__)
def test_a_broken_case_can_stop_the_run(tmp_path, make_case, break_it):
    cohort_with(tmp_path / "data", make_case, break_it)
    with pytest.raises(BadCase) as error:
        prepare(tmp_path / "data", tmp_path / "out", {"on_bad_case": "fail"})
    assert error.value.case_id == BAD
    assert not (tmp_path / "out/cases.tsv").exists()


def test_a_case_refused_now_leaves_no_volume_of_before(tmp_path, make_case):
    make_case(tmp_path / "data", GOOD)
    paths = make_case(tmp_path / "data", BAD, seed=1)
    out = prepare(tmp_path / "data", tmp_path / "out")
    assert len(list((out / "volumes").glob(f"{BAD}*"))) == 3
    cut_off(paths)
    prepare(tmp_path / "data", tmp_path / "out")
    assert not list((out / "volumes").glob(f"{BAD}*"))
