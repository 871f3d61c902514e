"""From a checked case to the arrays that networks read: one grid, one range of values, nested masks."""

from collections.abc import Sequence

import numpy as np

from ..base.errors import BadCase
from ..study.dataset import Dataset
from .case import Case
from .geometry import is_parallel, resample, spacing_of
from .planes import bounding_box

HALF = 0.5 - 1e-5  # a voxel half covered is in; rounding of the sums must not decide it
NOTED_FOREGROUND_CUT = 0.005  # share of the foreground outside the grid
MAX_COUNTED = 2**17  # range of whole intensities up to which percentiles are counted rather than sorted
QUARTILES = (25.0, 50.0, 75.0)
NORMAL_QUARTILES = 1.349  # distance of the quartiles of a normal distribution, in its standard deviations
SPARSE_PLANE = 0.01  # planes with less foreground than this share of the fullest one do not move the window


def preprocess_case(
    case: Case, dataset: Dataset, spacing_mm: Sequence[float], size: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Bring a case to the grid and the range of values that the networks work on.

    case : from `checks.load_case`; notes are added to it. One without annotation has no tumour that the grid must hold
    dataset : says which values are mapped to -1 and 1; what lies beyond is clipped
    spacing_mm, size : of the grid, depth (axial slices), height, width; mm and voxels

    Returns:
    image : float16 (M, D, H, W) in [-1, 1], background exactly -1
    levels : uint8 (D, H, W), nested
    meta : the sidecar (see `VolumeStore`); foreground_volume_ml is measured on this grid

    Raises BadCase if the tumour does not fit into the grid or vanishes on it, or a modality has no contrast.
    """
    spacing, size = np.asarray(spacing_mm, dtype=np.float64), tuple(int(edge) for edge in size)
    affine = place_window(case, spacing, size)
    box, source_affine = _box_in_view(case, case.foreground_box, affine, size)
    share = resample(case.foreground[box], source_affine, affine, size)  # bool where the grid only crops
    foreground = share >= HALF
    levels = _resample_levels(case, affine, size)
    image = np.full((len(case.values), *size), -1, dtype=np.float16)
    window, source = {}, np.flatnonzero(case.foreground)
    if exact := share.dtype == bool:
        number = np.zeros(case.foreground.shape, dtype=np.int32)
        number.ravel()[source] = np.arange(source.size)
        target = np.flatnonzero(foreground)
        kept = resample(number[box], source_affine, affine, size).ravel()[target]
    else:
        dense = np.zeros(case.foreground.shape, dtype=np.float32)
        inverse_share = foreground / np.maximum(share, HALF)
    for channel, (name, values) in zip(image, case.values.items(), strict=True):
        low, high = _window(case, dataset, name)
        window[name] = [low, high]
        # 0 to 2, so that the background counts nothing in sums over voxels
        scaled = np.clip((values - np.float32(low)) * np.float32(2 / (high - low)), 0, 2)
        if exact:
            channel.ravel()[target] = (scaled - 1).astype(np.float16)[kept]
        else:
            dense.ravel()[source] = scaled
            there = resample(dense[box], source_affine, affine, size)
            there *= inverse_share  # mean over the foreground's share of a voxel: no dark rim
            channel[...] = np.clip(there, 0, 2) - 1
    volume_ml = np.prod(spacing) / 1000
    _note_cut_foreground(case, share, volume_ml)
    meta = {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "modalities": list(case.values),
        "regions": list(case.regions),
        "written": dataset.written.model_dump(),
        "size": list(size),
        "spacing_mm": spacing.tolist(),
        "affine": affine.tolist(),
        "source": {"affine": case.source_affine.tolist(), "shape": list(case.source_shape)},
        "intensity_window": window,
        "foreground_volume_ml": float(np.count_nonzero(foreground) * volume_ml),
    }
    return image, levels, meta


def _window(case: Case, dataset: Dataset, name: str) -> tuple[float, float]:
    """Low and high value of one modality: fixed, or by the distribution of the foreground that it covers."""
    rule = dataset.intensity
    if (fixed := rule.fixed(name)) is not None:
        low, high = fixed
        return low, high
    values, percentiles = case.values[name], rule.percentiles or QUARTILES
    if dataset.foreground.rule == "zero_background":
        values = values[values != 0]
    found = percentiles_of(values, percentiles)
    low, high = found[0], found[-1]
    if not high > low:
        what = f"{name} has no contrast: percentiles {percentiles[0]:g} and {percentiles[-1]:g} are {low:g}"
        raise BadCase(case.case_id, case.paths[name], what, "Leave the case out", "values")
    if rule.spreads is None:
        return low, high
    spread = (high - low) / NORMAL_QUARTILES
    return found[1] + rule.spreads[0] * spread, found[1] + rule.spreads[1] * spread


def percentiles_of(values: np.ndarray, percentiles: Sequence[float]) -> list[float]:
    """`numpy.percentile` of float32 values (N,), by counting where they are whole numbers: five times faster."""
    low, high = float(values.min()), float(values.max())
    if high - low < MAX_COUNTED:
        shifted = (values - np.float32(low)).astype(np.int32)
        if (shifted == values - np.float32(low)).all() and low.is_integer():
            ranks = np.asarray(percentiles) / 100 * (values.size - 1)
            below = np.cumsum(np.bincount(shifted))
            first, second = (np.searchsorted(below, kind(ranks), side="right") for kind in (np.floor, np.ceil))
            return (low + first + (second - first) * (ranks - np.floor(ranks))).tolist()
    return [float(value) for value in np.percentile(values, percentiles)]


# --- the window -------------------------------------------------------------------------------------------------------
def _extent(mask: np.ndarray, box: tuple, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end (w, h, d) in mm, along R, A and S, of a mask within a box; voxels' edges included."""
    matrix, origin = case.affine[:3, :3], case.affine[:3, 3]
    if _axis_aligned(case):
        lower, upper = (np.array([getattr(edge, end) for edge in box[::-1]]) - 0.5 for end in ("start", "stop"))
        return np.diag(matrix) * lower + origin, np.diag(matrix) * upper + origin
    voxels = np.argwhere(mask[box])[:, ::-1] + [edge.start for edge in box[::-1]]  # (N, 3)
    points = voxels @ matrix.T + origin
    half = np.abs(matrix).sum(axis=1) / 2
    return points.min(axis=0) - half, points.max(axis=0) + half


def _axis_aligned(case: Case) -> bool:
    return is_parallel(case.affine[:3, :3] / spacing_of(case.affine), case.foreground.shape[::-1])


def _box_without_specks(case: Case) -> tuple[slice, ...]:
    """The foreground's box, less planes that hold next to none of it: a stray voxel must not move the window."""
    foreground, ranges = case.foreground[case.foreground_box], []
    rows = foreground.sum(axis=2, dtype=np.int32)  # (D, H)
    for start, counts in zip(
        (edge.start for edge in case.foreground_box),
        (rows.sum(axis=1), rows.sum(axis=0), foreground.sum(axis=(0, 1), dtype=np.int32)),
        strict=True,
    ):
        full = np.flatnonzero(counts >= SPARSE_PLANE * counts.max())
        ranges.append(slice(start + int(full[0]), start + int(full[-1]) + 1))
    return tuple(ranges)


def place_window(case: Case, spacing_mm: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Affine (voxel (w, h, d) to RAS mm) of the grid, its axes along R, A and S.

    The window is centred on the foreground and moved, no more than needed, so that it holds the whole tumour. On a grid
    that is not oblique its edge lies on a voxel's edge, so that equal spacings need no interpolation.

    Raises BadCase, naming the size needed, if the tumour is larger than the window.
    """
    length = np.asarray(size[::-1]) * spacing_mm[::-1]  # (w, h, d) in mm
    foreground_low, foreground_high = _extent(case.foreground, _box_without_specks(case), case)
    middle = (foreground_low + foreground_high) / 2
    box = bounding_box(case.levels)
    tumour_low, tumour_high = _extent(case.levels > 0, box, case) if box else (middle, middle)
    aligned = _axis_aligned(case)
    needed = np.ceil((tumour_high - tumour_low) / spacing_mm[::-1] - 1e-6).astype(int)
    if (needed > size[::-1]).any():
        what = f"the tumour does not fit into the grid of {list(size)} voxels: it needs {needed[::-1].tolist()}"
        remedy = "Make preprocessing.size larger, or spacing_mm coarser"
        raise BadCase(case.case_id, case.paths["seg"], what, remedy, "size")
    edge = (foreground_low + foreground_high - length) / 2
    unit = np.diag(case.affine[:3, :3]) if aligned else np.ones(3)
    corner = case.affine[:3, 3] - unit / 2  # a voxel's edge, in mm
    if aligned:
        edge = corner + np.round((edge - corner) / unit) * unit
        low = corner + np.ceil((tumour_high - length - corner) / unit - 1e-6) * unit
        high = corner + np.floor((tumour_low - corner) / unit + 1e-6) * unit
        between = low > high + 1e-6  # no voxel's edge leaves room: give up on it along this axis
        low[between], high[between] = (tumour_high - length)[between], tumour_low[between]
    else:
        low, high = tumour_high - length, tumour_low
    edge = np.minimum(np.maximum(edge, low), high)
    steps = spacing_mm[::-1].copy()
    equal = aligned & (np.abs(steps / unit - 1) * size[::-1] < 1e-3)
    steps[equal] = unit[equal]  # 0.99999 mm is 1 mm: the copy stays exact
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = edge + steps / 2
    return affine


def _box_in_view(case: Case, content: tuple, affine: np.ndarray, size: Sequence[int]) -> tuple[tuple, np.ndarray]:
    """The part of a box (D, H, W) of the source that the window sees, with a margin, and the part's affine."""
    corners = np.array(np.meshgrid(*[[-0.5, edge - 0.5] for edge in size[::-1]], indexing="ij")).reshape(3, -1)
    between = np.linalg.inv(case.affine) @ affine
    points = between[:3, :3] @ corners + between[:3, 3:]
    reach = 2 + np.ceil(2 * np.linalg.norm(between[:3, :3], axis=1))  # an oblique case is smoothed over this many
    limit = np.array(case.foreground.shape[::-1])
    first, last = (np.array([getattr(edge, end) for edge in content[::-1]]) for end in ("start", "stop"))
    lower = np.clip(np.maximum(np.floor(points.min(axis=1)), first) - reach, 0, limit - 1).astype(int)
    upper = np.clip(np.minimum(np.ceil(points.max(axis=1)) + 1, last) + reach, lower + 1, limit).astype(int)
    box = tuple(slice(start, stop) for start, stop in zip(lower[::-1], upper[::-1], strict=True))
    shifted = case.affine.copy()
    shifted[:3, 3] += case.affine[:3, :3] @ lower
    return box, shifted


# --- masks ------------------------------------------------------------------------------------------------------------
def resample_levels(
    levels: np.ndarray, regions: int, affine: np.ndarray, target: np.ndarray, size: Sequence[int]
) -> np.ndarray:
    """Nested levels on another grid (affine `target`, size (D, H, W)): a voxel is in one of the `regions` if half of it
    is. No level can appear that was not there."""
    found, inside = np.zeros(size, dtype=np.uint8), np.ones(size, dtype=bool)
    for level in range(1, regions + 1):
        share = resample(levels >= level, affine, target, size)
        inside &= share if share.dtype == bool else share >= HALF
        found += inside
    return found


def _resample_levels(case: Case, affine: np.ndarray, size: Sequence[int]) -> np.ndarray:
    tumour = bounding_box(case.levels)
    if tumour is None:
        return np.zeros(size, dtype=np.uint8)
    box, source_affine = _box_in_view(case, tumour, affine, size)
    levels = resample_levels(case.levels[box], len(case.regions), source_affine, affine, size)
    if not levels.any():
        volume_ml = np.count_nonzero(case.levels) * case.voxel_ml
        what = f"the tumour of {volume_ml:.3g} ml vanishes on the grid: it fills no voxel by half"
        raise BadCase(case.case_id, case.paths["seg"], what, "Use a finer preprocessing.spacing_mm", "size")
    return levels


def _note_cut_foreground(case: Case, foreground_share: np.ndarray, voxel_ml: float) -> None:
    total = case.volumes_ml()["foreground_ml"]
    cut = 1 - float(foreground_share.sum(dtype=np.float64)) * voxel_ml / total
    if cut > NOTED_FOREGROUND_CUT:
        case.notes.append(f"{cut:.1%} of the foreground lies outside the grid")
