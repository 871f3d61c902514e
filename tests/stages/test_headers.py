"""Files and headers as other programs, and accidents, leave them: read as they are meant, or refused by name; never a hang."""

from __future__ import annotations

import gzip
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from memory import Peak
from small_cases import lps_affine, make_case, prepare, rewrite

from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.nifti import MAX_BYTES, UnreadableNifti, read_nifti, write_nifti

GOOD, BAD = "BraTS-GLI-00000-000", "BraTS-GLI-00001-000"
FIELDS = {"dim": (40, "8h"), "pixdim": (76, "8f"), "vox_offset": (108, "f"), "scl_slope": (112, "f"), "units": (123, "b"),
          "codes": (252, "2h"), "srow": (280, "12f"), "magic": (344, "4s"), "datatype": (70, "2h")}  # fmt: skip


def of_numpy(recorded) -> list[str]:
    """Overflows and the like: the others are of packages' next versions."""
    return [str(warning.message) for warning in recorded.list if issubclass(warning.category, RuntimeWarning)]


def edit(path: Path, **fields) -> None:
    """Write header fields of a .nii.gz, bytes as they are."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    for name, values in fields.items():
        place, form = FIELDS[name]
        struct.pack_into(f"<{form}", raw, place, *(values if isinstance(values, list | tuple) else [values]))
    path.write_bytes(gzip.compress(bytes(raw)))


def each(**fields):
    return lambda paths: [edit(path, **fields) for path in paths.values()]


def scaled(factor: float, **more):
    affine = lps_affine()
    affine[:3] *= factor
    return each(srow=affine[:3].ravel().tolist(), pixdim=[1, 6 * factor, 6 * factor, 8 * factor, 0, 0, 0, 0], **more)


def plain(change):
    """The modality t1c as an uncompressed file, whose bytes `change` changes."""

    def replace(paths):
        raw = bytearray(gzip.decompress(paths["t1c"].read_bytes()))
        paths["t1c"].unlink()
        paths["t1c"].with_suffix("").write_bytes(change(raw))

    return replace


def special(make):
    def replace(paths):
        paths["t1c"].unlink()
        make(paths["t1c"])

    return replace


def sparse(path: Path) -> None:
    with path.with_suffix("").open("wb") as file:
        file.truncate(40 * 2**30)


def vox_offset_of(value):
    return plain(lambda raw: raw[:108] + struct.pack("<f", value) + raw[112:])


def members(count: int):
    def replace(paths):
        raw = gzip.decompress(paths["t1c"].read_bytes())
        paths["t1c"].write_bytes(gzip.compress(raw) + gzip.compress(bytes(1000)) * count)

    return replace


REFUSED = {
    "an affine in centimetres": (scaled(0.1), "voxel edges of 0.6, 0.6, 0.8 mm, not|a foreground of 1.2"),
    "an affine twice too large": (scaled(2), "voxel edges of 12|a foreground of"),
    "a spacing of 1e19 mm": (scaled(1e19), "voxel edges of 6e\\+19"),
    "micrometres that are none": (each(units=3), "voxel edges of 0.006"),
    "an affine with parallel axes": (each(srow=[6, 6, 0, 0, 6, 6.001, 0, 0, 0, 0, 8, 0]), "nearly parallel|singular"),
    "voxels that start at byte 0": (vox_offset_of(0), "puts the voxels at byte 0"),
    "voxels that start nowhere": (vox_offset_of(float("inf")), "puts the voxels at byte inf"),
    "a header of a pair in a single file": (each(magic=b"ni1\0"), "a pair of files"),
    "a file longer than its header says": (plain(lambda raw: raw + bytes(5000)), "more data than its header says"),
    "a pipe": (special(os.mkfifo), "no regular file"),
    "a device": (special(lambda path: path.symlink_to("/dev/zero")), "no regular file"),
    "a link to itself": (special(lambda path: path.symlink_to(path.name)), "missing t1c|symbolic links"),
    "a sparse file of 40 GB": (special(sparse), "not a NIfTI file"),
    "an image of 1020^3 bytes with a slope": (each(dim=[3, 1020, 1020, 1020, 1, 1, 1, 1], datatype=[2, 8], scl_slope=2.0), "MiB that a worker"),
    "a slope beyond all numbers": (each(scl_slope=1e38), "scl_slope 1e\\+38 and scl_inter 0 of the header take the voxels beyond float32"),
    "an affine beyond all numbers": (each(srow=[1e38] * 12, units=1), "singular or not finite"),
    "gzip members without end": (members(10_000), "more data than its header says"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_in_no_time(tmp_path, name, recwarn):
    change, words = REFUSED[name]
    make_case(tmp_path / "data", GOOD)
    change(make_case(tmp_path / "data", BAD, seed=1))
    began = time.monotonic()
    out = prepare(tmp_path / "data", tmp_path / "out", shards=1)
    assert time.monotonic() - began < 10
    assert list(read_tsv(out / "cases.tsv").case_id) == [GOOD]
    rows = read_tsv(out / "rejected.tsv")
    assert set(rows.case_id) <= {BAD, f"{BAD}-t1c.nii.gz"}
    assert rows.reason.str.contains(words).any(), list(rows.reason)
    assert not of_numpy(recwarn)


def one_of(value: float):
    def change(data: np.ndarray) -> np.ndarray:
        data = data.astype(np.float64)
        data.flat[data.argmax()] = value
        return data

    return change


@pytest.mark.parametrize("value", [1e13, -1e300])
def test_intensities_that_no_scanner_gives_are_refused(tmp_path, value, recwarn):
    """In float64, where float32 would turn the second into an infinity behind the check."""
    make_case(tmp_path / "data", GOOD)
    make_case(tmp_path / "data", BAD, seed=1)
    rewrite(tmp_path / "data" / BAD / f"{BAD}-t1c.nii.gz", one_of(value))
    (row,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out", shards=1) / "rejected.tsv").itertuples()
    assert row.case_id == BAD and "t1c has 1 voxels that are NaN, infinite or beyond 1e+12" in row.reason
    assert not of_numpy(recwarn)


def blocks(paths):
    """As bgzip writes: a member for each 64 KiB."""
    raw = gzip.decompress(paths["t1c"].read_bytes())
    paths["t1c"].write_bytes(b"".join(gzip.compress(raw[at : at + 999]) for at in range(0, len(raw), 999)))


READ = {
    "block-gzipped": blocks,
    "metres": scaled(0.001, units=1),
    "micrometres": scaled(1000, units=3),
    "no unit": each(units=0),
    "padding behind the gzip data": lambda paths: [p.write_bytes(p.read_bytes() + bytes(512)) for p in paths.values()],
}


@pytest.mark.parametrize("name", READ)
def test_read_as_it_is_meant(tmp_path, name):
    make_case(tmp_path / "plain", GOOD)
    READ[name](make_case(tmp_path / "changed", GOOD))
    one, other = (
        read_tsv(prepare(tmp_path / kind, tmp_path / f"{kind}_out") / "cases.tsv") for kind in ("plain", "changed")
    )
    assert one.whole_tumor_ml[0] == pytest.approx(other.whole_tumor_ml[0], rel=1e-3)
    assert one.content_digest[0] == other.content_digest[0]


def test_an_identity_affine_is_noted(tmp_path):
    for path in make_case(tmp_path / "data", GOOD, spacing_mm=(1, 1, 1), shape=(150, 180, 150)).values():
        rewrite(path, lambda data: data, affine=np.eye(4))
    (row,) = read_tsv(prepare(tmp_path / "data", tmp_path / "out", {"size": [24, 32, 32]}) / "cases.tsv").itertuples()
    assert "the affine is the identity" in row.note


def test_many_members_are_read_in_linear_time(tmp_path):
    raw = gzip.decompress(make_case(tmp_path, GOOD, shape=(128, 128, 200))["t1c"].read_bytes())
    path = tmp_path / "many.nii.gz"
    path.write_bytes(b"".join(gzip.compress(raw[at : at + 500], 1) for at in range(0, len(raw), 500)))
    began = time.monotonic()
    assert read_nifti(path).data.shape == (128, 128, 200)
    assert time.monotonic() - began < 5


# --- mutants ----------------------------------------------------------------------------------------------------------
MUTANTS = int(os.environ.get("SLICEAUG_MUTANTS", "2000"))


BOMB = gzip.compress(bytes(2**24), 1)  # 16 MiB in 70 KB
MOST_MIB = 192  # what three of them take where a header does ask for so much: as they are in the file, and scaled


def mutant(rng: np.random.Generator, raw: bytes, header: int) -> bytes:
    """A changed file: bytes of the header set to anything, a field to an extreme, the body cut, changed, packed again, or
    followed by more than the header says."""
    changed = bytearray(raw)
    kind = rng.integers(5)
    if kind < 3:
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(header)] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
    if kind in (2, 3):
        place, form = list(FIELDS.values())[rng.integers(len(FIELDS))]
        values = [0, -1, 1, 32767, np.inf, np.nan, 1e38, 1e-38, 352, 0.5]
        if form[-1] == "f" and header == 348:
            struct.pack_into("<f", changed, place, rng.choice(values))
    packed = bytearray(gzip.compress(bytes(changed), 1) if rng.random() < 0.5 else changed)
    if kind == 4:
        where = int(rng.integers(len(packed)))
        packed = (
            packed[:where] if rng.random() < 0.5 else packed[:where] + bytes([rng.integers(256)]) + packed[where + 1 :]
        )
    if packed[:2] == BOMB[:2] and rng.random() < 0.1:
        packed += BOMB * int(rng.integers(1, 4))
    return bytes(packed)


def test_no_mutant_ends_a_worker_hangs_it_fills_its_memory_or_is_read_as_nonsense(tmp_path, recwarn):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 900, (7, 6, 5)).astype(np.int16)
    write_nifti(tmp_path / "one.nii", array, lps_affine((7, 6, 5)))
    one = (tmp_path / "one.nii").read_bytes()
    import nibabel

    nibabel.save(nibabel.Nifti2Image(array, lps_affine((7, 6, 5))), tmp_path / "two.nii")
    two = (tmp_path / "two.nii").read_bytes()
    read, slowest, path, peak = 0, 0.0, tmp_path / "mutant.nii.gz", Peak()
    for number in range(MUTANTS):
        path.write_bytes(mutant(rng, *((one, 348) if number % 2 else (two, 540))))
        began = time.process_time()
        try:
            image = read_nifti(path)
        except UnreadableNifti as error:
            assert str(path) in str(error) and len(str(error)) < 600
        else:
            read += 1
            spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
            assert np.isfinite(image.affine).all() and 1e-3 <= spacing.min() <= spacing.max() <= 1e3
            assert image.data.size * 4 <= MAX_BYTES and image.data.size * image.data.itemsize < MOST_MIB << 20
        slowest = max(slowest, time.process_time() - began)
        assert slowest < 2 and peak.mib() < MOST_MIB, f"mutant {number}: {slowest:.1f} s, {peak.mib():.0f} MiB"
        assert not of_numpy(recwarn), f"mutant {number}: {of_numpy(recwarn)}"
    print(f"\n{MUTANTS} headers: {read} read, {MUTANTS - read} refused, {slowest:.2f} s at most, {peak.mib():.0f} MiB")
    assert MUTANTS // 20 < read < MUTANTS, "the mutants are near enough to a file, and far enough"
