"""The features of a case on disk: computed once, read by every comparison.

A file a case, under a folder for each network and way of slicing, holds float16 (M, n, F) a plane. At 192 x 192 x 144 mm
with four modalities that is 4 x 450 slices x 1280 x 2 bytes = 4.6 MB a case, an eighth of its volume; a comparison reads one
plane and modality of one case at a time.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..base.errors import UserError
from ..base.files import atomic, sha256_file, sha256_json

FORMAT = 1  # of the files: another number, and none of the old ones is read


def settings_digest(**settings: object) -> str:
    """Sixteen hexadecimal digits of all that decides the features of an image: network, weights, slices, grid."""
    return sha256_json({"format": FORMAT, **settings})[:16]


class FeatureFiles:
    """``<folder>/<settings digest>/<set>/<case_id>.safetensors``; `kind` is "real" or the name of a synthetic set.

    `sha256`: of the files by case id, from the table of the cases; a file is compared with it before it is read first.
    """

    def __init__(self, folder: str | os.PathLike, digest: str, kind: str, sha256: Mapping[str, str] | None = None):
        self.folder = Path(folder) / digest / kind
        self._unchecked = {} if sha256 is None else dict(sha256)

    def path(self, case_id: str) -> Path:
        return self.folder / f"{case_id}.safetensors"

    def read_counts(self, case_id: str, source_digest: str) -> dict[str, int] | None:
        """Slices of each plane in the case's file, and under "dimension" F; None unless it was made from this source."""
        try:
            with safe_open(self.path(case_id), framework="np") as file:
                if (file.metadata() or {}).get("source") != source_digest:
                    return None
                shapes = {plane: file.get_slice(plane).get_shape() for plane in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None
        return {"dimension": max(shape[2] for shape in shapes.values()), **{p: s[1] for p, s in shapes.items()}}

    def write(self, case_id: str, source_digest: str, features: dict[str, np.ndarray]) -> None:
        """Keep the features (M, n, F) of each plane, whole or not at all."""
        with atomic(self.path(case_id)) as temporary:
            save_file(features, temporary, metadata={"source": source_digest})

    def read(self, case_id: str, plane: str, modality: int) -> np.ndarray:
        """float16 (n, F) of one plane and modality. Raises UserError that names a missing, damaged or changed file."""
        try:
            if case_id in self._unchecked and sha256_file(self.path(case_id)) != self._unchecked.pop(case_id):
                raise SafetensorError("it is not the file that was made from this case")
            with safe_open(self.path(case_id), framework="np") as file:
                return file.get_slice(plane)[modality]
        except (OSError, SafetensorError) as error:
            rules = "extract_real_features extract_synthetic_features"
            raise UserError(
                f"image features of case {case_id} cannot be read: {self.path(case_id)} ({error}). Make them again with "
                f"`snakemake -R {rules}`"
            ) from None
