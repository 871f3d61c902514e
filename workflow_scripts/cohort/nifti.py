"""NIfTI files: read whole and strictly, written with a true affine; and synthetic cases."""

import gzip
import math
import os
import stat
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np

from ..base.errors import UserError
from ..base.files import atomic, read_json, write_json
from ..study.dataset import Written, parse_written
from ..study.voxels import MASK
from .geometry import to_ras

INTENSITY_STEPS = 10_000  # int16 code of +1 in synthetic images; -1 is 0
SYNTHETIC = "synthetic case, SliceAug"  # header text of every file that the project makes up
MAX_BYTES = 2**30  # of one image as float32, and of its file: a worker stays below 2 GB
MAX_MEMBERS = 2**17  # of a gzip file: block-gzipped, a GiB has 2^14
CHUNK = 2**16  # bytes read at once
PADDING = 2**10  # bytes that may follow the voxels
MIN_SPACING_MM, MAX_SPACING_MM, MAX_ORIGIN_MM = 1e-3, 1e3, 1e5
MAX_CODE = 5  # of sform and qform
MIN_SKEW = 0.1  # volume of a voxel over the product of its edges: 1 where the axes are perpendicular
AGAIN = "Copy the file again"
_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
nib.imageglobals.logger.disabled = True  # what it mends of a header it says without the file's name


class UnreadableNifti(UserError):
    """A file that is not a whole, readable NIfTI image; `reason` and `remedy` are sentences without the file's name."""

    def __init__(self, path: os.PathLike | str, reason: str, remedy: str = ""):
        self.path, self.reason, self.remedy = str(path), reason, remedy
        super().__init__(f"{path}: {reason}" + (f". {remedy}" if remedy else ""))


@dataclass
class Nifti:
    """data: (X, Y, Z) or (X, Y, Z, C), native byte order; affine: 4 x 4, voxel (x, y, z) to RAS mm, float64;
    oriented: whether the header says how the voxels lie in space; description: free text of the header."""

    data: np.ndarray
    affine: np.ndarray
    oriented: bool
    description: str = ""


def _size_of(path: Path) -> int:
    """Bytes of a regular file: a pipe or a device would never end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UnreadableNifti(path, "the file is not there (a broken link?)") from None
    except OSError as error:
        raise UnreadableNifti(path, f"the file cannot be read ({error.strerror or error})") from None
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableNifti(path, "a folder stands where a file should be")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableNifti(path, "this is no regular file, but a pipe or a device", "Put the image there")
    return status.st_size


def _inflate(path: Path, stream: BinaryIO, limit: int) -> bytearray:
    """All gzip members, their sums checked, in linear time. Stops at `limit` bytes, which an honest file cannot reach."""
    inflated, members = bytearray(), 0
    member, rest = zlib.decompressobj(wbits=31), b""
    begun = False
    while rest or (rest := stream.read(CHUNK)):
        if not begun and members and not (rest := rest.lstrip(b"\0")):  # padding is allowed by the format
            continue
        begun = True
        try:
            inflated += member.decompress(rest, limit + 1 - len(inflated))
        except zlib.error as error:
            raise UnreadableNifti(path, f"the gzip data are damaged ({error})", AGAIN) from None
        if len(inflated) > limit or members > MAX_MEMBERS:
            raise UnreadableNifti(path, "the file holds more data than its header says", AGAIN)
        rest = member.unconsumed_tail
        if member.eof:
            rest, member, members, begun = member.unused_data, zlib.decompressobj(wbits=31), members + 1, False
    if begun or not members:
        raise UnreadableNifti(path, "the gzip data end early: the file is cut off", AGAIN)
    return inflated


def _header_of(path: Path, head: bytes) -> tuple[nib.Nifti1Header, int, int]:
    """The header, where the voxels start, and how many bytes a whole file has, from its first 540 bytes."""
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")} & set(_HEADERS)
    if not sizes or len(head) < max(sizes):
        raise UnreadableNifti(path, "this is not a NIfTI file", "Put the NIfTI image there, or remove the file")
    size = sizes.pop()
    header = _HEADERS[size](head[:size], check=False)
    start, codes = float(header["vox_offset"]), [int(header[f"{kind}form_code"]) for kind in "sq"]
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise UnreadableNifti(path, "the header is of a pair of files (.hdr and .img)", "Store the image in one file")
    if not size + 4 <= start < MAX_BYTES or start != int(start):
        raise UnreadableNifti(path, f"the header puts the voxels at byte {start:g}", "Write the file again")
    if not all(0 <= code <= MAX_CODE for code in codes):
        raise UnreadableNifti(path, f"the header has the sform and qform codes {codes}", "Mend its sform or qform")
    header.check_fix()
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    if kind.kind not in "iuf":
        raise UnreadableNifti(path, f"voxels are of type {kind}, not plain numbers", "Convert it to a scalar image")
    if min(shape, default=0) < 1:
        raise UnreadableNifti(path, f"the image has no voxels (shape {tuple(shape)})", AGAIN)
    needed = int(start) + math.prod(shape) * kind.itemsize
    held = math.prod(shape) * max(kind.itemsize, 4)  # as float32
    if held > MAX_BYTES:
        limit = f"more than the {MAX_BYTES >> 20} MiB that a worker can hold"
        raise UnreadableNifti(path, f"the image takes {held >> 20} MiB, {limit}", "Crop it or store it as int16")
    return header, int(start), needed


def read_nifti(path: str | os.PathLike) -> Nifti:
    """Read a ``.nii`` or ``.nii.gz`` file to its end, with the gzip checksum. Header first: nothing is read that it does not
    ask for.

    Raises UnreadableNifti if the file is missing, no regular file, not NIfTI, cut off, damaged, larger than MAX_BYTES in
    memory, or has an affine that no scanner makes.
    """
    path = Path(path)
    size = _size_of(path)
    try:
        with path.open("rb") as stream:
            return _read(path, stream, size)
    except UnreadableNifti:
        raise
    except PermissionError:
        raise UnreadableNifti(path, "no permission to read the file", "Give yourself read permission") from None
    except OSError as error:
        raise UnreadableNifti(path, f"the file cannot be read ({error.strerror or error})") from None
    except Exception as error:  # whatever a mutated header makes of nibabel and NumPy
        what = f"the NIfTI header is damaged ({type(error).__name__}: {error})"
        raise UnreadableNifti(path, what[:300], AGAIN) from None


def _read(path: Path, stream: BinaryIO, size: int) -> Nifti:
    head = stream.read(CHUNK)
    if packed := head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 540)
        except zlib.error as error:
            raise UnreadableNifti(path, f"the gzip data are damaged ({error})", AGAIN) from None
    header, start, needed = _header_of(path, head[:540])
    stream.seek(0)
    raw = _inflate(path, stream, needed + PADDING) if packed else stream.read(needed)
    if len(raw) < needed:
        raise UnreadableNifti(path, f"the file is cut off: {len(raw)} of {needed} bytes", AGAIN)
    if not packed and size > needed + PADDING:
        raise UnreadableNifti(path, "the file holds more data than its header says", AGAIN)
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    data = np.frombuffer(raw, kind, math.prod(shape), start).reshape(shape, order="F")
    if not kind.isnative:
        data = data.astype(kind.newbyteorder("="))
    slope, intercept = header.get_slope_inter()
    if slope is not None and (slope, intercept) != (1, 0):
        data = _scaled(path, data, slope, intercept)
    affine = _affine_of(path, header)
    oriented = bool(header["sform_code"] or header["qform_code"])
    return Nifti(data, affine, oriented, bytes(header["descrip"]).rstrip(b"\0").decode("latin-1"))


@np.errstate(over="ignore", invalid="ignore")
def _scaled(path: Path, data: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """data * slope + intercept in float32, in planes: float64 of the whole would take twice the memory."""
    scaled = np.empty(data.shape, np.float32, order="F")
    for plane in range(data.shape[-1]):
        scaled[..., plane] = data[..., plane] * np.float64(slope) + np.float64(intercept)
        if not np.isfinite(scaled[..., plane]).all() and np.isfinite(data[..., plane]).all():
            what = f"scl_slope {slope:g} and scl_inter {intercept:g} of the header take the voxels beyond float32"
            raise UnreadableNifti(path, what, "Write the file again, without a scale")
    return scaled


@np.errstate(over="ignore", invalid="ignore")
def _affine_of(path: Path, header: nib.Nifti1Header) -> np.ndarray:
    """Voxel to RAS mm, in whatever unit the header has it."""
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    affine[:3] *= {1: 1000.0, 3: 0.001}.get(int(header["xyzt_units"]) & 7, 1.0)  # metre, micron
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnreadableNifti(path, "the affine in the header is singular or not finite", "Mend its sform or qform")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < MIN_SPACING_MM or spacing.max() > MAX_SPACING_MM:
        edges = ", ".join(f"{edge:.4g}" for edge in spacing)
        raise UnreadableNifti(path, f"the header has voxel edges of {edges} mm", "Mend its units, sform or qform")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < MIN_SKEW:
        raise UnreadableNifti(path, "the axes in the header are nearly parallel", "Mend its sform or qform")
    if np.abs(affine[:3, 3]).max() > MAX_ORIGIN_MM:
        raise UnreadableNifti(path, "the header puts the image 100 m away or farther", "Mend its sform or qform")
    return affine


def nifti_bytes(
    array: np.ndarray, affine: np.ndarray, description: str = "", compresslevel: int | None = None
) -> bytes:
    """A NIfTI file of an array (X, Y, Z), gzipped at `compresslevel`: the same array gives the same bytes (no time)."""
    image = nib.Nifti1Image(array, np.asarray(affine, dtype=np.float64))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    raw = image.to_bytes()
    return raw if compresslevel is None else gzip.compress(raw, compresslevel=compresslevel, mtime=0)


def write_nifti(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, description: str = "") -> None:
    """Write `nifti_bytes` of an array (X, Y, Z) whose affine takes voxel (x, y, z) to RAS mm, atomically; .gz is packed."""
    level = 3 if str(path).endswith(".gz") else None
    with atomic(path) as temporary:
        temporary.write_bytes(nifti_bytes(array, affine, description, level))


def write_volume(path: str | os.PathLike, volume: np.ndarray, affine: np.ndarray, description: str = "") -> None:
    """Write a volume (D, H, W) whose affine takes voxel (w, h, d) to RAS mm, in its own data type, atomically."""
    write_nifti(path, np.asarray(volume).transpose(2, 1, 0), affine, description)


def read_volume(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Read a 3D NIfTI file as a volume (D, H, W) in RAS orientation, and its affine (voxel (w, h, d) to mm).

    Raises UnreadableNifti as `read_nifti` does, and if the image is not 3D.
    """
    image = read_nifti(path)
    if image.data.ndim != 3:
        raise UnreadableNifti(path, f"the image has {image.data.ndim} dimensions, not 3")
    return to_ras(image.data, image.affine)


def int16_coded(image: np.ndarray) -> np.ndarray:
    """An image (...) in [-1, 1] as it is stored: int16, 0 to 10000, background (-1) exactly 0."""
    return np.rint((np.clip(image, -1, 1).astype(np.float32) + 1) * (INTENSITY_STEPS / 2)).astype(np.int16)


def write_case(
    folder: str | os.PathLike,
    case_id: str,
    image: np.ndarray,
    levels: np.ndarray,
    affine: np.ndarray,
    modalities: Sequence[str],
    written: Written,
    about: Mapping[str, object] | None = None,
) -> None:
    """Write a case as its data set names files and labels, int16, and ``<case>.json``, which says how, and `about` it.

    The headers say that it is synthetic: the cohort refuses such a case, so that none comes back as a real patient.

    folder : the case's own folder; made if need be
    image : (M, D, H, W) in [-1, 1]; stored as 0 to 10000, background (-1) exactly 0
    levels : uint8 (D, H, W)
    affine : 4 x 4, voxel (w, h, d) to RAS mm
    """
    folder = Path(folder)
    for name, volume in zip(modalities, int16_coded(image), strict=True):
        write_volume(folder / written.file_of(case_id, name), volume, affine, SYNTHETIC)
    labels = np.asarray(written.labels, dtype=np.int16)[np.asarray(levels)]
    write_volume(folder / written.file_of(case_id, MASK), labels, affine, SYNTHETIC)
    facts = {"case_id": case_id, "synthetic": True, "modalities": list(modalities), "written": written.model_dump()}
    write_json(folder / f"{case_id}.json", facts | dict(about or {}))


def synthetic_file(folder: str | os.PathLike, case_id: str, part: str) -> Path:
    """Where a modality, or the mask, of a synthetic case lies. Raises UserError where the case does not say it."""
    about = Path(folder) / f"{case_id}.json"
    written = parse_written(read_json(about).get("written"), about)
    if part not in written.parts:
        raise UserError(f"{about} says nothing of {part}: make the case again with `snakemake -R synthesize`")
    return Path(folder) / written.file_of(case_id, part)


def read_synthetic_case(
    folder: str | os.PathLike, case_id: str, modalities: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `write_case`: image float32 (M, D, H, W) in [-1, 1] and levels uint8 (D, H, W).

    Raises UnreadableNifti, or UserError where the case lacks a modality or the mask holds labels that it should not.
    """
    folder = Path(folder)
    about = read_json(folder / f"{case_id}.json")
    written = parse_written(about.get("written"), folder / f"{case_id}.json")
    if missing := [name for name in modalities if name not in about.get("modalities", ())]:
        raise UserError(
            f"the synthetic case {folder} has no {missing[0]}: make it again with `snakemake -R synthesize`"
        )
    images = [read_volume(folder / written.file_of(case_id, name))[0] for name in modalities]
    labels, _ = read_volume(folder / written.file_of(case_id, MASK))
    labels = np.ascontiguousarray(labels).astype(np.int16)
    if not np.isin(labels, written.labels).all():
        raise UserError(f"{folder / written.file_of(case_id, MASK)} holds labels other than {written.labels}")
    level_of_label = np.zeros(max(written.labels) + 1, dtype=np.uint8)
    level_of_label[written.labels] = np.arange(len(written.labels))
    image = np.stack(images).astype(np.float32) * np.float32(2 / INTENSITY_STEPS) - 1
    return np.ascontiguousarray(image), level_of_label[labels]
