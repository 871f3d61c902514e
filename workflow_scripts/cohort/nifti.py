"""NIfTI files: read whole and strictly, written with a true affine; and synthetic cases."""

import gzip
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from ..base.errors import UserError
from ..base.files import atomic, read_json, write_json
from ..study.dataset import MASK, Written, parse_written
from .geometry import to_ras

INTENSITY_STEPS = 10_000  # int16 code of +1 in synthetic images; -1 is 0
SYNTHETIC = "synthetic case, SliceAug"  # header text of every file that the project makes up
MAX_BYTES = 2**30  # of one decompressed file: a worker stays below 2 GB
_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}


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


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UnreadableNifti(path, "the file is not there (a broken link?)") from None
    except PermissionError:
        raise UnreadableNifti(path, "no permission to read the file", "Give yourself read permission") from None
    except IsADirectoryError:
        raise UnreadableNifti(path, "a folder stands where a file should be") from None
    except OSError as error:
        raise UnreadableNifti(path, f"the file cannot be read ({error.strerror or error})") from None


def _inflate(path: Path, packed: bytes, limit: int) -> bytes:
    """Decompress all gzip members and check their sums. Stops at `limit` bytes, which an honest file cannot reach."""
    members, rest = [], packed
    while rest:
        stream = zlib.decompressobj(wbits=31)
        try:
            members.append(stream.decompress(rest, limit))
        except zlib.error as error:
            raise UnreadableNifti(path, f"the gzip data are damaged ({error})", "Copy the file again") from None
        if stream.unconsumed_tail:
            raise UnreadableNifti(path, "the file holds more data than its header says", "Copy the file again")
        if not stream.eof:
            raise UnreadableNifti(path, "the gzip data end early: the file is cut off", "Copy the file again")
        rest = stream.unused_data.lstrip(b"\0")  # padding is allowed by the format
    return b"".join(members) if len(members) != 1 else members[0]


def _header_of(path: Path, head: bytes) -> tuple[nib.Nifti1Header, int, int]:
    """The header, where the voxels start, and how many bytes a whole file has, from its first 540 bytes."""
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")} & set(_HEADERS)
    if not sizes or len(head) < max(sizes):
        raise UnreadableNifti(path, "this is not a NIfTI file", "Put the NIfTI image there, or remove the file")
    size = sizes.pop()
    try:
        header = _HEADERS[size](head[:size], check=True)
        shape, kind, offset = header.get_data_shape(), header.get_data_dtype(), int(header["vox_offset"])
    except (HeaderDataError, ValueError) as error:
        raise UnreadableNifti(path, f"the NIfTI header is damaged ({error})", "Copy the file again") from None
    if kind.kind not in "iuf":
        raise UnreadableNifti(path, f"voxels are of type {kind}, not plain numbers", "Convert it to a scalar image")
    if min(shape, default=0) < 1:
        raise UnreadableNifti(path, f"the image has no voxels (shape {tuple(shape)})", "Copy the file again")
    needed = max(offset, size) + math.prod(shape) * kind.itemsize
    if needed > MAX_BYTES:
        limit = f"more than the {MAX_BYTES >> 20} MiB that a worker can hold"
        raise UnreadableNifti(path, f"the image takes {needed >> 20} MiB, {limit}", "Crop it or store it as int16")
    return header, max(offset, size), needed


def read_nifti(path: str | os.PathLike) -> Nifti:
    """Read a ``.nii`` or ``.nii.gz`` file to its end, with the gzip checksum.

    Raises UnreadableNifti if the file is missing, not NIfTI, cut off, damaged, or larger than MAX_BYTES.
    """
    path = Path(path)
    raw = _bytes_of(path)
    if packed := raw[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(wbits=31).decompress(raw, 540)
        except zlib.error as error:
            raise UnreadableNifti(path, f"the gzip data are damaged ({error})", "Copy the file again") from None
    else:
        head = raw[:540]
    header, start, needed = _header_of(path, head)
    if packed:
        raw = _inflate(path, raw, needed + 2**20)  # padding after the voxels fits in a MiB
    if len(raw) < needed:
        reason = f"the file is cut off: {len(raw)} of {needed} bytes"
        raise UnreadableNifti(path, reason, "Copy the file again")
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    data = np.frombuffer(raw, kind, math.prod(shape), start).reshape(shape, order="F")
    if not kind.isnative:
        data = data.astype(kind.newbyteorder("="))
    try:
        slope, intercept = header.get_slope_inter()
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise UnreadableNifti(path, f"the NIfTI header is damaged ({error})", "Copy the file again") from None
    if slope is not None and (slope, intercept) != (1, 0):
        data = (data * np.float64(slope) + np.float64(intercept)).astype(np.float32)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnreadableNifti(path, "the affine in the header is singular or not finite", "Mend its sform or qform")
    oriented = bool(header["sform_code"] or header["qform_code"])
    return Nifti(data, affine, oriented, bytes(header["descrip"]).rstrip(b"\0").decode("latin-1"))


def nifti_bytes(
    array: np.ndarray, affine: np.ndarray, description: str = "", compresslevel: int | None = None
) -> bytes:
    """A NIfTI file of an array (X, Y, Z) with its affine (voxel (x, y, z) to RAS mm), gzipped at `compresslevel`.

    The same array gives the same bytes: the gzip header holds no time.
    """
    image = nib.Nifti1Image(array, np.asarray(affine, dtype=np.float64))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    raw = image.to_bytes()
    return raw if compresslevel is None else gzip.compress(raw, compresslevel=compresslevel, mtime=0)


def write_nifti(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, description: str = "") -> None:
    """Write a NIfTI array (X, Y, Z) with its affine (voxel (x, y, z) to RAS mm), atomically; gzipped if it ends in .gz.

    The same array gives the same bytes.
    """
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
    coded = np.rint((np.clip(image, -1, 1).astype(np.float32) + 1) * (INTENSITY_STEPS / 2)).astype(np.int16)
    for name, volume in zip(modalities, coded, strict=True):
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
