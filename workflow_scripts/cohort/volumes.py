"""The preprocessed cases of a cohort: three files a case, memory-mapped, in one flat folder."""

import os
from pathlib import Path

import numpy as np

from ..base.errors import UserError
from ..base.files import atomic, read_json, sha256_file, write_json

SUFFIXES = (".image.npy", ".levels.npy", ".json")


class VolumeStore:
    """``<case_id>.image.npy`` float16 (M, D, H, W), ``<case_id>.levels.npy`` uint8 (D, H, W), ``<case_id>.json``.

    The sidecar holds case_id, patient_id, modalities, regions, written (how files of such a case are named and
    labelled), size (D, H, W), spacing_mm (depth, height, width), affine
    (voxel (w, h, d) to RAS mm, 4 x 4), source {affine, shape (X, Y, Z)}, intensity_window {modality: [low, high]},
    foreground_volume_ml, and sha256 {"image", "levels"} of the arrays' files. It is written last: a case whose sidecar is
    there is whole.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def _path(self, case_id: str, suffix: str) -> Path:
        return self.folder / f"{case_id}{suffix}"

    def _existing(self, case_id: str, suffix: str) -> Path:
        path = self._path(case_id, suffix)
        if not path.is_file():
            raise UserError(f"missing volume of case {case_id}: {path}. Make it again with `snakemake -R preprocess`")
        return path

    def _array(self, case_id: str, suffix: str) -> np.memmap:
        path = self._existing(case_id, suffix)
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            what = f"volume of case {case_id} cannot be read: {path} ({error})"
            raise UserError(f"{what}. Make it again with `snakemake -R preprocess`") from None

    def image(self, case_id: str) -> np.memmap:
        """float16 (M, D, H, W) in [-1, 1], background exactly -1. Raises UserError that names a missing file."""
        return self._array(case_id, ".image.npy")

    def levels(self, case_id: str) -> np.memmap:
        """uint8 (D, H, W), 0 to the number of regions (see `cohort.regions`). Raises UserError that names a missing file."""
        return self._array(case_id, ".levels.npy")

    def meta(self, case_id: str) -> dict:
        """The sidecar. Raises UserError that names a missing file."""
        return read_json(self._existing(case_id, ".json"))

    def save(self, case_id: str, image: np.ndarray, levels: np.ndarray, meta: dict) -> None:
        """Write a case, each file whole or not at all; a case of that id is replaced."""
        self._path(case_id, ".json").unlink(missing_ok=True)
        arrays = {"image": (image, np.float16), "levels": (levels, np.uint8)}
        for name, (array, dtype) in arrays.items():
            with atomic(self._path(case_id, f".{name}.npy")) as temporary, temporary.open("wb") as stream:
                array = np.ascontiguousarray(array, dtype=dtype)
                # As np.save does, but through the stream: NumPy's own writing hides that the disk is full.
                np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
                stream.write(array.data)
        sha256 = {name: sha256_file(self._path(case_id, f".{name}.npy")) for name in arrays}
        write_json(self._path(case_id, ".json"), {**meta, "sha256": sha256})

    def digests(self, case_id: str) -> dict[str, str]:
        """SHA-256 of the case's files by suffix, as they were when they were saved.

        Raises UserError that names a missing file.
        """
        saved = self.meta(case_id).get("sha256", {})
        found = {".json": sha256_file(self._path(case_id, ".json"))}
        for name in ("image", "levels"):
            path = self._existing(case_id, f".{name}.npy")
            found[f".{name}.npy"] = saved.get(name) or sha256_file(path)
        return found

    def remove(self, case_id: str) -> None:
        """Delete the files of a case, if there are any: a case refused now may have been accepted before."""
        for suffix in reversed(SUFFIXES):
            self._path(case_id, suffix).unlink(missing_ok=True)
