"""A case is read whole and checked before anything uses it: nothing half-read, nothing guessed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..base.errors import BadCase
from .geometry import corner_distance_mm, ras_grid, spacing_of, to_ras
from .layouts import LAYOUTS, CaseFiles
from .nifti import SYNTHETIC, Nifti, UnreadableNifti, read_nifti
from .regions import LEVEL, REGIONS

GRID_TOLERANCE = 0.1  # voxels by which the corners of two files' grids may differ
MAX_FOREGROUND_FRACTION = 0.98  # of the volume: above it the background is not zero
MAX_TUMOUR_OUTSIDE = 0.5  # share of the tumour outside the foreground: above it mask and images do not belong together
NOTED_TUMOUR_OUTSIDE = 0.05
NOTED_FOREGROUND_MISSING = 0.1  # share of the foreground that one modality does not cover


@dataclass
class Case:
    """A case that passed all checks, in RAS orientation.

    foreground : bool (D, H, W), where not every modality is zero; foreground_box : slices (D, H, W) around it;
    values : modality -> float32 (N,), the file's own numbers at the N voxels of the foreground, in C order: the whole
    image, as all else is zero; levels : uint8 (D, H, W) (see `regions`);
    affine : voxel (w, h, d) to RAS mm; source_affine, source_shape : the grid of the mask's file (X, Y, Z);
    notes : what the user should know of it; digest : of the images' voxels within the foreground.
    """

    case_id: str
    patient_id: str
    layout: str
    paths: dict[str, str]
    foreground: np.ndarray
    foreground_box: tuple[slice, slice, slice]
    values: dict[str, np.ndarray]
    levels: np.ndarray
    affine: np.ndarray
    source_affine: np.ndarray
    source_shape: tuple[int, int, int]
    digest: str
    notes: list[str] = field(default_factory=list)

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each region and of the foreground in ml, on the case's own grid."""
        counts = np.bincount(self.levels[self.levels > 0], minlength=len(REGIONS) + 1)
        volumes = {f"{name}_ml": round(float(counts[LEVEL[name] :].sum()) * self.voxel_ml, 6) for name in REGIONS}
        return {**volumes, "foreground_ml": round(len(next(iter(self.values.values()))) * self.voxel_ml, 6)}


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """Slices of the smallest box around a 3D mask; None if it is empty."""
    first = np.flatnonzero(mask.any(axis=(1, 2)))
    if not first.size:
        return None
    part = mask[first[0] : first[-1] + 1].any(axis=0)
    others = [np.flatnonzero(part.any(axis=axis)) for axis in (1, 0)]
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in (first, *others))


def load_case(files: CaseFiles, modalities: Sequence[str]) -> Case:
    """Read all files of a case and check them.

    Raises BadCase, naming the file, if one is unreadable, cut off or not 3D (4D in the Decathlon layout); if grids,
    values, labels or contents are not what they should be.
    """
    try:
        return _load(files, modalities)
    except UnreadableNifti as error:
        raise BadCase(files.case_id, error.path, error.reason, error.remedy) from None


def _load(files: CaseFiles, modalities: Sequence[str]) -> Case:
    case_id, seg_path = files.case_id, files.paths["seg"]
    notes: list[str] = []
    mask = read_nifti(seg_path)
    if mask.description == SYNTHETIC:
        remedy = "Keep synthetic cases out of data_root: they would be trained and tested on as if they were patients"
        raise BadCase(case_id, seg_path, "this case was made by a generator", remedy)
    mask.data = _three_dimensional(files, "seg", mask)
    images, reference = {}, None
    opened: dict[object, Nifti] = {}
    for name in modalities:
        path = files.paths[name]
        if path not in opened:
            opened = {path: read_nifti(path)}  # a 4D file holds all modalities: it is read once
        nifti = opened[path]
        data = _three_dimensional(files, name, nifti)
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            count = int(np.count_nonzero(~np.isfinite(data)))
            raise BadCase(case_id, path, f"{name} has {count} voxels that are NaN or infinite", "Mend or drop the case")
        if data.dtype.itemsize > 4 or data.dtype.kind == "u":
            data = data.astype(np.float32)
        volume, affine = to_ras(data, nifti.affine)
        if reference is None:
            reference = (path, volume.shape, affine, nifti)
        else:
            _check_grid(case_id, path, volume.shape, affine, reference)
        images[name] = volume
    size, mask_affine = ras_grid(mask.data.shape, mask.affine)
    _check_grid(case_id, seg_path, size, mask_affine, reference)
    if not reference[3].oriented:
        notes.append("the header gives no orientation: the NIfTI default is assumed")
    levels, _ = to_ras(_levels(files, mask.data.T, notes).T, mask.affine)  # .T: planes as they lie in memory
    levels = np.ascontiguousarray(levels)
    foreground, box = _foreground(files, images)
    where = np.flatnonzero(foreground[box])
    values = {}
    for name in modalities:
        image = np.ascontiguousarray(images.pop(name)[box])
        values[name] = image.ravel()[where].astype(np.float32)
        missing = 1 - np.count_nonzero(values[name]) / where.size
        if missing > NOTED_FOREGROUND_MISSING:
            notes.append(f"{name} is zero in {missing:.0%} of the foreground")
    _check_tumour_place(files, levels, foreground, notes)
    paths = {name: str(files.paths[name]) for name in (*modalities, "seg")}
    digest = _digest(files, values, foreground[box])
    shape = tuple(mask.data.shape)
    return Case(
        *(case_id, files.patient_id, files.layout, paths, foreground, box, values, levels, mask_affine),
        *(mask.affine, shape, digest, notes),
    )


def _three_dimensional(files: CaseFiles, name: str, nifti: Nifti) -> np.ndarray:
    """The 3D array of one part; a channel of it where the layout stores 4D images."""
    data, path = nifti.data, files.paths[name]
    channel = files.channels.get(name)
    if channel is None:
        while data.ndim > 3 and data.shape[-1] == 1:
            data = data[..., 0]
        if data.ndim != 3:
            reason = f"{name} has {data.ndim} dimensions, shape {_shape(data)}, where a 3D image belongs"
            raise BadCase(files.case_id, path, reason, "Store one 3D image a file")
    elif data.ndim != 4 or data.shape[3] <= max(files.channels.values()):
        reason = (
            f"the image has shape {_shape(data)}, where 4D with {max(files.channels.values()) + 1} channels belongs"
        )
        raise BadCase(files.case_id, path, reason, "Set `layout` to the way these files are stored")
    else:
        data = data[..., channel]
    if min(data.shape) < 2:
        reason = f"{name} has shape {_shape(data)}: a single plane, where a volume belongs"
        raise BadCase(files.case_id, path, reason, "Store the whole volume")
    return data


def _shape(array_or_shape) -> str:
    return "x".join(map(str, getattr(array_or_shape, "shape", array_or_shape)))


def _check_grid(case_id: str, path: object, shape: tuple, affine: np.ndarray, reference: tuple) -> None:
    first, first_shape, first_affine, _ = reference
    if shape != first_shape:
        sizes = f"{_shape(shape[::-1])} voxels, but {getattr(first, 'name', first)} has {_shape(first_shape[::-1])}"
        raise BadCase(case_id, path, f"shape mismatch: {sizes}", "Resample all files of the case on one grid")
    distance = corner_distance_mm(shape[::-1], affine, first_affine)
    if distance > GRID_TOLERANCE * spacing_of(first_affine).min():
        what = f"affine mismatch: its grid lies up to {distance:.3g} mm from that of {getattr(first, 'name', first)}"
        raise BadCase(case_id, path, what, "Resample all files of the case on one grid, or mend the header")


def _levels(files: CaseFiles, labels: np.ndarray, notes: list[str]) -> np.ndarray:
    """Level map of a label map. Labels may be stored as floats, as long as they are whole numbers."""
    path, layout = files.paths["seg"], LAYOUTS[files.layout]
    inside = labels != 0
    values, counts = np.unique(labels[inside], return_counts=True)  # NaN is not 0, so it is among them
    whole = np.isfinite(values) & (values == np.rint(values))
    if not whole.all():
        what = f"the mask holds values that are no labels, such as {float(values[~whole][0]):.4g}"
        raise BadCase(files.case_id, path, what, "Resample masks with nearest-neighbour interpolation")
    if unknown := [int(value) for value in values if int(value) not in layout.levels]:
        known = ", ".join(map(str, sorted(layout.levels)))
        what = f"unknown label {', '.join(map(str, unknown))} in the mask; {layout.name} has {known}"
        raise BadCase(files.case_id, path, what, "Set `layout` to the cohort's own, or mend the mask")
    for label, name in layout.left_out.items():
        if (count := int(counts[values == label].sum())) > 0:
            notes.append(f"label {label} ({name}) is kept out of the tumour: {count} voxels")
    table = np.zeros(max(layout.levels) + 1, dtype=np.uint8)
    for label, level in layout.levels.items():
        table[label] = level
    levels = np.zeros(labels.shape, dtype=np.uint8)
    levels[inside] = table[labels[inside].astype(np.intp)]
    if not levels.any():
        left = f" (only {', '.join(layout.left_out.values())})" if values.size else ""
        raise BadCase(files.case_id, path, f"the mask is empty: no tumour in it{left}", "Leave the case out")
    return levels


def _foreground(files: CaseFiles, images: dict[str, np.ndarray]) -> tuple[np.ndarray, tuple]:
    """The foreground, where not every modality is zero."""
    foreground = np.zeros(next(iter(images.values())).shape, dtype=bool)
    for name, image in images.items():
        mask = image != 0
        if not mask.any():
            what = f"{name} is zero everywhere: there is no foreground in it"
            raise BadCase(files.case_id, files.paths[name], what, "Copy the file again, or leave the case out")
        foreground |= mask
    total = int(np.count_nonzero(foreground))
    if total > MAX_FOREGROUND_FRACTION * foreground.size:
        what = f"{total / foreground.size:.0%} of the volume is not zero: there is no background"
        path = files.paths[next(iter(images))]
        raise BadCase(files.case_id, path, what, "Strip the skull and set the background to 0")
    return foreground, bounding_box(foreground)


def _check_tumour_place(files: CaseFiles, levels: np.ndarray, foreground: np.ndarray, notes: list[str]) -> None:
    tumour = levels > 0
    outside = 1 - np.count_nonzero(foreground[tumour]) / np.count_nonzero(tumour)
    if outside > MAX_TUMOUR_OUTSIDE:
        what = f"{outside:.0%} of the tumour lies outside the foreground: mask and images do not belong together"
        raise BadCase(files.case_id, files.paths["seg"], what, "Check that the mask is of this case")
    if outside > NOTED_TUMOUR_OUTSIDE:
        notes.append(f"{outside:.0%} of the tumour lies outside the foreground")


def _digest(files: CaseFiles, values: dict[str, np.ndarray], foreground: np.ndarray) -> str:
    """Digest of the foreground's shape and voxels, the same for every data type, orientation and amount of padding.

    Raises BadCase if two modalities of the case hold the same voxels.
    """
    digests: dict[bytes, str] = {}
    for name, voxels in values.items():
        digest = hashlib.sha256(voxels).digest()
        if digest in digests:
            what = f"{name} and {digests[digest]} hold the same voxels: one is a copy of the other"
            raise BadCase(files.case_id, files.paths[name], what, "Put the right image in its place")
        digests[digest] = name
    joined = b"".join(name.encode() + digest for digest, name in digests.items())
    shape = repr(foreground.shape).encode() + np.packbits(foreground).tobytes()
    return hashlib.sha256(joined + shape).hexdigest()[:32]
