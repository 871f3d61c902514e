"""Volumes for the report's viewer: cropped, 8 bit, and coarser where they would not fit into the report otherwise."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...cohort.nifti import SYNTHETIC, nifti_bytes
from ...cohort.planes import bounding_box, largest_slices
from ...cohort.regions import channels_to_levels, levels_to_channels

MASK = "mask"
COARSEST = 8  # largest step, in voxels, that still shows a case
MARGIN_VOXELS = 2  # left around the foreground


@dataclass(frozen=True)
class ViewedCase:
    """A case as the viewer shows it.

    case_id : its id
    kind : "real", "simulated" or "synthetic"
    system : the system that made a synthetic case; "" for others
    images : uint8 (D, H, W) a modality, 0 (background) to 255
    levels : uint8 (D, H, W), 0 to the number of regions
    affine : 4 x 4, voxel (w, h, d) to RAS mm; w runs to the patient's right, h to the front, d up
    """

    case_id: str
    kind: str
    system: str
    images: Mapping[str, np.ndarray]
    levels: np.ndarray
    affine: np.ndarray


def viewed_case(
    case_id: str, kind: str, system: str, images: Mapping[str, np.ndarray], levels: np.ndarray, affine: np.ndarray
) -> ViewedCase:
    """Cropped to what is no background and coded in 8 bit.

    images : (D, H, W) in [-1, 1] a modality, background exactly -1
    levels : (D, H, W)
    affine : 4 x 4, voxel (w, h, d) to RAS mm; moved along with the crop
    """
    levels = np.asarray(levels, dtype=np.uint8)
    coded = {
        name: np.rint((np.clip(np.asarray(image, dtype=np.float32), -1, 1) + 1) * 127.5).astype(np.uint8)
        for name, image in images.items()
    }
    shown = levels > 0
    for image in coded.values():
        shown = shown | (image > 0)
    box = bounding_box(shown, MARGIN_VOXELS) or tuple(slice(0, n) for n in shown.shape)
    first = [part.start for part in box]  # (d, h, w)
    moved = np.asarray(affine, dtype=np.float64) @ _scaled_and_moved(1, first[::-1])
    return ViewedCase(case_id, kind, system, {name: image[box] for name, image in coded.items()}, levels[box], moved)


def _scaled_and_moved(step: float, offset: Sequence[float]) -> np.ndarray:
    """4 x 4: new voxel (w, h, d) to old voxel."""
    matrix = np.diag([step, step, step, 1.0])
    matrix[:3, 3] = offset
    return matrix


def _blocks(volume: np.ndarray, step: int) -> np.ndarray:
    """Means of blocks of `step` voxels each way; what overhangs is filled with background."""
    padded = np.pad(volume.astype(np.float32), [(0, -n % step) for n in volume.shape])
    shape = [part for n in padded.shape for part in (n // step, step)]
    return padded.reshape(shape).mean(axis=(1, 3, 5))


def coarser(case: ViewedCase, step: int) -> ViewedCase:
    """Every voxel the mean of `step` voxels each way; a mask covers a voxel of which it fills more than half."""
    if step == 1:
        return case
    regions = range(max(1, int(case.levels.max())))
    filled = np.stack([_blocks(region, step) for region in levels_to_channels(case.levels, regions)])
    return replace(
        case,
        images={name: np.rint(_blocks(image, step)).astype(np.uint8) for name, image in case.images.items()},
        levels=channels_to_levels(filled, regions),
        affine=case.affine @ _scaled_and_moved(step, [(step - 1) / 2] * 3),
    )


def _packed(case: ViewedCase, left_bytes: int) -> dict | None:
    """The case as text, its volumes as base64 of NIfTI files; None where that takes more than `left_bytes`."""
    volumes = {}
    for name, volume in {**case.images, MASK: case.levels}.items():
        said = "" if case.kind == "real" else SYNTHETIC
        raw = nifti_bytes(np.ascontiguousarray(volume).transpose(2, 1, 0), case.affine, said, compresslevel=9)
        volumes[name] = base64.b64encode(raw).decode()
        left_bytes -= len(volumes[name])
        if left_bytes < 0:
            return None
    middle = largest_slices(case.levels)
    return {
        "case_id": case.case_id,
        "kind": case.kind,
        "system": case.system,
        "voxel": [middle["sagittal"], middle["coronal"], middle["axial"]],
        "volumes": volumes,
    }


def pack(cases: Sequence[ViewedCase], limit_bytes: int) -> dict:
    """The cases as JSON, at the finest step at which their volumes take at most `limit_bytes` of text.

    ``{"step": voxels, "spacing_mm": of the step, (W, H, D), "cases": [...]}``; no case where even the coarsest step
    takes more. A case's ``voxel`` (w, h, d) lies where the tumour is largest.
    """
    for step in range(1, COARSEST + 1):
        packed, left = [], limit_bytes
        for case in cases:
            one = _packed(coarser(case, step), left)
            if one is None:
                break
            packed.append(one)
            left -= sum(len(text) for text in one["volumes"].values())
        if len(packed) == len(cases):
            edges = [np.linalg.norm(case.affine[:3, :3], axis=0) * step for case in cases[:1]]
            return {"step": step, "spacing_mm": [round(float(e), 3) for edge in edges for e in edge], "cases": packed}
    return {"step": None, "spacing_mm": [], "cases": []}
