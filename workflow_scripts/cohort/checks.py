"""A case is read whole and checked before anything uses it: nothing half-read, nothing guessed."""

import hashlib
from collections.abc import Collection, Sequence

import numpy as np

from ..base.errors import BadCase
from ..study.dataset import Dataset, Layout
from ..study.voxels import FOREGROUND, MASK
from .case import Case
from .channels import channel_digest
from .geometry import corner_distance_mm, ras_grid, spacing_of, to_ras
from .identity import image_digest, levels_digest, mask_digest
from .layouts import CaseFiles, parts_of
from .nifti import SYNTHETIC, Nifti, UnreadableNifti, read_nifti
from .planes import bounding_box
from .regions import UnknownLabels, labels_to_levels

GRID_TOLERANCE = 0.1  # voxels by which the corners of two files' grids may differ
MAX_TUMOUR_OUTSIDE = 0.5  # share of the tumour outside the foreground: above it mask and images do not belong together
MAX_INTENSITY = 1e12  # beyond what any scanner gives; its square is still a float32
MOST_LISTED = 5  # unknown labels in a message
NOTED_TUMOUR_OUTSIDE = 0.05
NOTED_FOREGROUND_MISSING = 0.1  # share of the foreground that one modality does not cover


def load_case(files: CaseFiles, dataset: Dataset, modalities: Sequence[str], synthetic: bool = False) -> Case:
    """Read all files of a case and check them. `synthetic`: it may be one that this workflow has made. Without a mask among
    `files` it is one that nobody has annotated.

    Raises BadCase, naming the file, if one is unreadable, cut off or not 3D (4D where the layout says so); if grids,
    values, labels or contents are not what they should be.
    """
    try:
        return _load(files, dataset, modalities, synthetic)
    except UnreadableNifti as error:
        raise BadCase(files.case_id, error.path, error.reason, error.remedy, "unreadable") from None


def _load(files: CaseFiles, dataset: Dataset, modalities: Sequence[str], synthetic: bool) -> Case:
    case_id, seg_path = files.case_id, files.paths.get(MASK)
    notes: list[str] = []
    layout = dataset.layouts[files.layout]
    mask = None
    if seg_path is not None:
        mask = read_nifti(seg_path)
        if mask.description == SYNTHETIC and not synthetic:
            remedy = (
                "Keep synthetic cases out of data_root: they would be trained and tested on as if they were patients"
            )
            raise BadCase(case_id, seg_path, "this case was made by a generator", remedy, "synthetic")
        mask.data = _three_dimensional(files, MASK, mask, layout)
    images, reference = {}, None
    opened: dict[object, Nifti] = {}
    given = parts_of(dataset, modalities, annotated=False)
    for name in given:
        path = files.paths[name]
        if path not in opened:
            opened = {path: read_nifti(path)}  # a 4D file holds all modalities: it is read once
        nifti = opened[path]
        data = _three_dimensional(files, name, nifti, layout)
        if not -MAX_INTENSITY <= data.min() <= data.max() <= MAX_INTENSITY:
            odd = int(np.count_nonzero(~(np.abs(data) <= MAX_INTENSITY)))
            what = f"{name} has {odd} voxels that are NaN, infinite or beyond {MAX_INTENSITY:g}"
            raise BadCase(case_id, path, what, "Mend or drop the case", "values")
        if data.dtype.itemsize > 4 or data.dtype.kind == "u":
            data = data.astype(np.float32)
        volume, affine = to_ras(data, nifti.affine)
        if reference is None:
            reference = (path, volume.shape, affine, nifti)
        else:
            _check_grid(case_id, path, volume.shape, affine, reference)
        images[name] = volume
    source = mask or reference[3]
    shape = tuple(source.data.shape[:3])
    size, affine = ras_grid(shape, source.affine)
    if mask is not None:
        _check_grid(case_id, seg_path, size, affine, reference)
    _check_bounds(files, "voxel edges of", spacing_of(affine), dataset.bounds.spacing_mm, "mm")
    if (source.affine == np.eye(4)).all() or (reference[3].affine == np.eye(4)).all():
        notes.append(
            "the affine is the identity, as of a program that knows no orientation: check left, right, up and down"
        )
    if not reference[3].oriented:
        notes.append("the header gives no orientation: the NIfTI default is assumed")
    levels, labels = np.zeros(size, dtype=np.uint8), {}
    if mask is not None:
        levels, labels = _levels(files, dataset, mask.data.T, notes)  # .T: planes as they lie in memory
        levels = np.ascontiguousarray(to_ras(levels.T, mask.affine)[0])
    foreground, box = _foreground(files, dataset, images)
    where = np.flatnonzero(foreground[box])
    values = {}
    for name in modalities:
        image = np.ascontiguousarray(images.pop(name)[box])
        values[name] = image.ravel()[where].astype(np.float32)
        _check_no_mask(files, name, values[name], dataset.levels_of(files.layout))
        missing = 1 - np.count_nonzero(values[name]) / where.size
        if missing > NOTED_FOREGROUND_MISSING and dataset.foreground.rule == "zero_background":
            notes.append(f"{name} is zero in {missing:.0%} of the foreground")
    if mask is not None:
        _check_tumour_place(files, levels, foreground, notes)
    paths = {name: str(files.paths[name]) for name in (*given, MASK) if name in files.paths}
    first = np.zeros(foreground[box].shape, dtype=np.float32)
    first.ravel()[where] = values[modalities[0]]
    digests = {"content": _digest(files, values, foreground[box]), "mask": mask_digest(levels)}
    digests |= {"image": image_digest(first), "levels": levels_digest(levels)}
    digests["channel"] = channel_digest(values, levels[foreground], len(dataset.regions))
    case = Case(
        *(case_id, files.patient_id, files.layout, paths, foreground, box, values, levels, tuple(dataset.regions)),
        *(affine, source.affine, shape, labels, digests, notes),
    )
    volume_ml = case.volumes_ml()["foreground_ml"]
    _check_bounds(files, "a foreground of", [volume_ml], dataset.bounds.foreground_ml, "ml")
    return case


def _check_no_mask(files: CaseFiles, name: str, values: np.ndarray, labels: Collection[int]) -> None:
    """Raise BadCase where a modality holds nothing but labels of the layout's masks."""
    if values.min() < 0 or values.max() > max(labels):
        return
    found = [value for value in np.unique(values) if value]
    if len(found) > 1 and all(value in labels for value in found):
        what = f"{name} holds no other values than labels: this looks like a mask"
        raise BadCase(files.case_id, files.paths[name], what, "Put the image in its place", "values")


def _check_bounds(
    files: CaseFiles, what: str, found: Sequence[float], bounds: tuple[float, float] | None, unit: str
) -> None:
    if bounds and not (bounds[0] <= min(found) and max(found) <= bounds[1]):
        has = f"the case has {what} {', '.join(f'{value:.4g}' for value in found)} {unit}"
        remedy = "Check the header's spacing and units"
        raise BadCase(
            files.case_id,
            files.paths.get(MASK) or next(iter(files.paths.values())),
            f"{has}, not {bounds[0]:g} to {bounds[1]:g}",
            remedy,
            "size",
        )


def _three_dimensional(files: CaseFiles, name: str, nifti: Nifti, layout: Layout) -> np.ndarray:
    """The 3D array of one part; a channel of it where the layout stores 4D images."""
    data, path = nifti.data, files.paths[name]
    channel = files.channels.get(name)
    # names of channels that a file beside the images may give are those of the images, which may have further ones
    needed = max(files.channels.values(), default=0) + 1 if layout.channel_names else len(layout.channels)
    if channel is None or (data.ndim == 3 and needed == 1):
        while data.ndim > 3 and data.shape[-1] == 1:
            data = data[..., 0]
        if data.ndim != 3:
            reason = f"{name} has {data.ndim} dimensions, shape {_shape(data)}, where a 3D image belongs"
            raise BadCase(files.case_id, path, reason, "Store one 3D image a file", "grid")
    elif data.ndim != 4 or data.shape[3] < needed or (data.shape[3] > needed and not layout.channel_names):
        reason = f"the image has shape {_shape(data)}, where 4D with {needed} channels belongs"
        remedy = "Set `layout` to the way these files are stored, or mend the channels that are named beside them"
        raise BadCase(files.case_id, path, reason, remedy, "grid")
    else:
        data = data[..., channel]
    if min(data.shape) < 2:
        reason = f"{name} has shape {_shape(data)}: a single plane, where a volume belongs"
        raise BadCase(files.case_id, path, reason, "Store the whole volume", "grid")
    return data


def _shape(array_or_shape) -> str:
    return "x".join(map(str, getattr(array_or_shape, "shape", array_or_shape)))


def _check_grid(case_id: str, path: object, shape: tuple, affine: np.ndarray, reference: tuple) -> None:
    first, first_shape, first_affine, _ = reference
    if shape != first_shape:
        sizes = f"{_shape(shape[::-1])} voxels, but {getattr(first, 'name', first)} has {_shape(first_shape[::-1])}"
        raise BadCase(case_id, path, f"shape mismatch: {sizes}", "Resample all files of the case on one grid", "grid")
    distance = corner_distance_mm(shape[::-1], affine, first_affine)
    if distance > GRID_TOLERANCE * spacing_of(first_affine).min():
        what = f"affine mismatch: its grid lies up to {distance:.3g} mm from that of {getattr(first, 'name', first)}"
        raise BadCase(case_id, path, what, "Resample all files of the case on one grid, or mend the header", "grid")


def _levels(
    files: CaseFiles, dataset: Dataset, labels: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, dict[int, int]]:
    """Level map of a label map, and the voxels of each label."""
    path, left_out = files.paths[MASK], dataset.layouts[files.layout].left_out
    level_of = dataset.levels_of(files.layout)
    try:
        levels, counts = labels_to_levels(labels, level_of)
    except UnknownLabels as error:
        if error.broken is not None:
            what = f"the mask holds values that are no labels, such as {error.broken:.4g}"
            remedy = "Resample masks with nearest-neighbour interpolation"
        else:
            known = ", ".join(map(str, sorted(level_of)))
            some = ", ".join(map(str, error.values[:MOST_LISTED]))
            more = f" and {len(error.values) - MOST_LISTED} more" if len(error.values) > MOST_LISTED else ""
            what = f"unknown label {some}{more} in the mask; {files.layout} has {known}"
            remedy = "Set `layout` to the cohort's own, or mend the mask"
            if more:
                remedy = "This looks like an image: put the mask in its place"
        raise BadCase(files.case_id, path, what, remedy, "labels") from None
    if labels.dtype.kind == "f" and (labels != np.rint(labels)).any():
        odd = labels[labels != np.rint(labels)][0]
        notes.append(f"labels are no whole numbers, such as {odd:.6g}, and are rounded")
    for label, name in left_out.items():
        if label in counts:
            notes.append(f"label {label} ({name}) is kept out of the tumour: {counts[label]} voxels")
    if not levels.any():
        left = f" (only {', '.join(left_out.values())})" if counts else ""
        what = f"the mask is empty: no tumour in it{left}"
        raise BadCase(files.case_id, path, what, "Leave the case out", "empty")
    return levels, counts


def _foreground(files: CaseFiles, dataset: Dataset, images: dict[str, np.ndarray]) -> tuple[np.ndarray, tuple]:
    """The foreground (D, H, W) by the data set's rule, and the box around it. A given one leaves `images`."""
    rule = dataset.foreground
    path = files.paths[next(iter(images))]
    if rule.rule == "none":
        foreground = np.ones(next(iter(images.values())).shape, dtype=bool)
    elif rule.rule == "mask":
        foreground = images.pop(FOREGROUND) != 0
        path = files.paths[FOREGROUND]
    elif rule.rule == "threshold":
        foreground = np.logical_or.reduce([image > rule.above for image in images.values()])
    else:
        foreground = np.zeros(next(iter(images.values())).shape, dtype=bool)
        for name, image in images.items():
            mask = image != 0
            if not mask.any():
                what = f"{name} is zero everywhere: there is no foreground in it"
                remedy = "Copy the file again, or leave the case out"
                raise BadCase(files.case_id, files.paths[name], what, remedy, "empty")
            foreground |= mask
        total = int(np.count_nonzero(foreground))
        if total > rule.max_fraction * foreground.size:
            what = f"{total / foreground.size:.0%} of the volume is not zero: there is no background"
            remedy = "Set the background to 0, or give the data set another `foreground` rule"
            raise BadCase(files.case_id, path, what, remedy, "values")
    box = bounding_box(foreground)
    if box is None:
        raise BadCase(files.case_id, path, "the foreground is empty", "Leave the case out", "empty")
    return foreground, box


def _check_tumour_place(files: CaseFiles, levels: np.ndarray, foreground: np.ndarray, notes: list[str]) -> None:
    tumour = levels > 0
    outside = 1 - np.count_nonzero(foreground[tumour]) / np.count_nonzero(tumour)
    if outside > MAX_TUMOUR_OUTSIDE:
        what = f"{outside:.0%} of the tumour lies outside the foreground: mask and images do not belong together"
        raise BadCase(files.case_id, files.paths[MASK], what, "Check that the mask is of this case", "labels")
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
            raise BadCase(files.case_id, files.paths[name], what, "Put the right image in its place", "duplicate")
        digests[digest] = name
    joined = b"".join(name.encode() + digest for digest, name in digests.items())
    shape = repr(foreground.shape).encode() + np.packbits(foreground).tobytes()
    return hashlib.sha256(joined + shape).hexdigest()[:32]
