"""Tiny raw folders with a dataset.json, as nnU-Net and the Decathlon have them. Material for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from workflow_scripts.cohort.nifti import write_nifti

SHAPE, SPACING_MM = (36, 32, 20), (5.0, 5.0, 6.0)  # X, Y, Z
CT = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "cancer": 2}, "file_ending": ".nii.gz"}
MR = {"modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "PZ", "2": "TZ"}}
TISSUE = {
    "CT": (-1000, -60, 60, 160),
    "T2": (0, 200, 500, 900),
    "ADC": (0, 900, 600, 300),
}  # outside, body, labels 1 and 2


def scan(seed: int, names, apart: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """Images int16 (X, Y, Z), one for each name, and labels uint8 (X, Y, Z): an organ with a lesion in it, or two organs
    that do not touch each other (`apart`)."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    body = (place[:2] ** 2).sum(axis=0) < 0.8
    shift = rng.uniform(-0.08, 0.08, 3)
    first, second = (
        np.linalg.norm(place - (np.array([x, 0, 0]) + shift)[:, None, None, None], axis=0)
        for x in ((0.4, -0.4) if apart else (0.25, 0.25))
    )
    labels = np.where(first < rng.uniform(0.3, 0.34) + 0.15 * (not apart), 1, 0).astype(np.uint8)
    labels[second < rng.uniform(0.24, 0.3)] = 2
    images = []
    for name in names:
        noise = ndimage.gaussian_filter(rng.normal(0, 60, SHAPE), 1)
        tissue = np.array(TISSUE[name])[np.where(body, labels + 1, 0)]
        images.append((tissue + noise * body).astype(np.int16))
    return images, labels


def raw_folder(root: Path, content: dict, count: int, numbered: bool, apart: bool = False, first_seed: int = 0) -> Path:
    """`count` cases below `root`, of seeds from `first_seed` on; `numbered`: a file a channel, as nnU-Net has them, else channels along a last axis."""
    names, affine = list((content.get("channel_names") or content["modality"]).values()), np.diag([*SPACING_MM, 1.0])
    for number in range(count):
        case_id, (images, labels) = f"case_{number:03d}", scan(first_seed + number, names, apart)
        for index, image in enumerate(images if numbered else ()):
            write_nifti(root / f"imagesTr/{case_id}_{index:04d}.nii.gz", image, affine)
        if not numbered:
            whole = np.stack(images, axis=-1) if len(images) > 1 else images[0]
            write_nifti(root / f"imagesTr/{case_id}.nii.gz", whole, affine)
        write_nifti(root / f"labelsTr/{case_id}.nii.gz", labels, affine)
    (root / "dataset.json").write_text(json.dumps(content))
    return root
