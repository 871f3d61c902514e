"""nnU-Net's raw data format: images a channel a file, label maps, dataset.json and splits_final.json (nnU-Net v2,
documentation/dataset_format.md and manual_data_splits.md)."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..base.files import write_json
from ..cohort.nifti import int16_coded, write_volume

IMAGES, LABELS = "imagesTr", "labelsTr"
OF_REAL, OF_SYNTHETIC = "real_", "synthetic_"
"""How ids begin, so that no synthetic case can have that of a real one."""


def image_names(case_id: str, channels: int) -> list[str]:
    """File names of a case's channels."""
    return [f"{case_id}_{channel:04d}.nii.gz" for channel in range(channels)]


def write_image(folder: Path, case_id: str, image: np.ndarray, affine: np.ndarray) -> None:
    """Write an image (M, D, H, W) in [-1, 1] as synthetic cases are stored: int16, 0 to 10000, background 0."""
    for name, volume in zip(image_names(case_id, len(image)), int16_coded(image), strict=True):
        write_volume(folder / IMAGES / name, volume, affine)


def write_label(folder: Path, case_id: str, levels: np.ndarray, affine: np.ndarray, description: str = "") -> None:
    """Write levels (D, H, W): nnU-Net wants labels 0, 1, 2, ... without gaps, which levels are."""
    write_volume(folder / LABELS / f"{case_id}.nii.gz", np.asarray(levels, dtype=np.uint8), affine, description)


def take(source: Path, target: Path) -> None:
    """`target` as a hard link to the file `source`, or as a copy where the file system has none: either can be carried
    away without the run's folder, and a link takes no space."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def cleared(folder: Path) -> Path:
    """The data set's folder without the images and labels of an earlier export."""
    for name in (IMAGES, LABELS):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (folder / name).mkdir(parents=True)
    return folder


def label_block(regions: Sequence[str]) -> dict:
    """``labels`` and, for nested regions, ``regions_class_order`` of dataset.json: level i + 1 lies in regions 0 to i."""
    top = len(regions)
    if top == 1:
        return {"labels": {"background": 0, regions[0]: 1}}
    nested = {name: list(range(place, top + 1)) if place < top else top for place, name in enumerate(regions, 1)}
    return {"labels": {"background": 0, **nested}, "regions_class_order": list(range(1, top + 1))}


def write_description(
    folder: Path,
    modalities: Sequence[str],
    regions: Sequence[str],
    train: Sequence[str],
    val: Sequence[str],
    about: dict,
) -> None:
    """Write splits_final.json, one split, and dataset.json with `about` in it, last."""
    write_json(folder / "splits_final.json", [{"train": sorted(train), "val": sorted(val)}])
    channels = {str(number): name for number, name in enumerate(modalities)}
    counts = {"numTraining": len(train) + len(val), "file_ending": ".nii.gz"}
    write_json(folder / "dataset.json", {"channel_names": channels, **label_block(regions), **counts, **about})
