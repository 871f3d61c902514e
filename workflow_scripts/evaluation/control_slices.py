"""The pictures of the control sweep: of each volume the slice with the most tumour, in the plane where its row changes."""

import json
import os

import numpy as np

from ..base.errors import UserError
from ..base.files import atomic

SWEPT = {"volume_ml": "axial", "centroid_x_mm": "axial", "centroid_y_mm": "sagittal", "centroid_z_mm": "coronal"}
"""Condition that a row of the sweep changes -> the plane in which it is seen to change."""


def write_slices(path: str | os.PathLike, slices: dict[str, np.ndarray], about: dict) -> None:
    """Write <condition>/<step>/image, float32 (M, rows, columns), and levels, uint8 (rows, columns), with `about`:
    modalities, regions, and extents_mm of the slices of each condition."""
    from safetensors.numpy import save_file

    with atomic(path) as temporary:
        contiguous = {name: np.ascontiguousarray(array) for name, array in slices.items()}
        save_file(contiguous, temporary, metadata={"about": json.dumps(about)})


def read_slices(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict]:
    """What `write_slices` wrote. Raises UserError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()  # the file itself is no iterable
            return {name: file.get_tensor(name) for name in names}, json.loads(file.metadata()["about"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no slices ({error}): run `snakemake -R sample_control_sweep`") from None
