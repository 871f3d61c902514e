"""Cases that somebody else's generator made: read and checked as patients are, and put on the study's grid."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..base.errors import UserError
from ..base.files import read_json, sha256_file
from ..study.dataset import MASK, Dataset
from ..study.generators import EXTERNAL, PROVENANCE, USE
from .checks import load_case
from .geometry import spacing_of
from .layouts import CaseFiles
from .nifti import read_synthetic_case, read_volume
from .preprocess import preprocess_case


@dataclass(frozen=True)
class ExternalCase:
    """A case on the study's grid.

    image: float32 (M, D, H, W) in [-1, 1], background exactly -1; levels: uint8 (D, H, W), of the study's regions; affine:
    voxel (w, h, d) to RAS mm; content_digest: of the images as they were (`checks.Case.digests`); about: what its row and
    its sidecar say of where it is from; note: what the user should know.
    """

    case_id: str
    image: np.ndarray
    levels: np.ndarray
    affine: np.ndarray
    content_digest: str
    about: Mapping[str, str]
    note: str = ""

    @property
    def foreground(self) -> np.ndarray:
        """bool (D, H, W)"""
        return np.asarray((self.image > -1.0).any(axis=0))


def read_external_case(
    files: CaseFiles,
    dataset: Dataset,
    modalities: Sequence[str],
    regions: Sequence[str],
    spacing_mm: Sequence[float],
    size: Sequence[int],
) -> ExternalCase:
    """Read a case, check it as `checks.load_case` does, and bring it to the grid (depth, height, width; mm and voxels).

    One that this workflow has written for this very grid keeps its intensities; those of any other are mapped by the data
    set's rule, as the patients' are. Raises BadCase, naming the file.
    """
    case = load_case(files, dataset, modalities, synthetic=True)
    sidecar = _sidecar(files)
    image, levels, affine = None, None, None
    if sidecar and set(modalities) <= set(sidecar.get("modalities", ())):
        image, levels, affine = _as_written(files, dataset, modalities, spacing_mm, size)
    if image is None:
        image, levels, meta = preprocess_case(case, dataset, spacing_mm, size)
        affine = np.asarray(meta["affine"], dtype=np.float64)
    about = {PROVENANCE: EXTERNAL, "source_file": str(files.paths[MASK]), "source_digest": _digest(files)}
    if sidecar and sidecar.get(USE):  # made in a patient: that stays with it wherever it goes
        about |= {USE: str(sidecar[USE])}
    levels = np.minimum(levels, len(regions)).astype(np.uint8)
    notes = "; ".join(case.notes)
    return ExternalCase(files.case_id, image.astype(np.float32), levels, affine, case.digests["content"], about, notes)


def _sidecar(files: CaseFiles) -> dict | None:
    """What stands beside a case that this workflow has written; None beside any other."""
    path = Path(files.paths[MASK]).with_name(f"{files.case_id}.json")
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except UserError:
        return None
    return content if isinstance(content, dict) and content.get("synthetic") is True and "written" in content else None


def _as_written(
    files: CaseFiles, dataset: Dataset, modalities: Sequence[str], spacing_mm: Sequence[float], size: Sequence[int]
) -> tuple:
    """Image, levels and affine of a case that was written for this grid and these labels; None where it was not."""
    folder = Path(files.paths[MASK]).parent
    volume, affine = read_volume(files.paths[MASK])
    if list(volume.shape) != list(size) or not np.allclose(spacing_of(affine)[::-1], spacing_mm, atol=1e-4):
        return None, None, None
    sidecar = read_json(folder / f"{files.case_id}.json")
    if sidecar["written"] != dataset.written.model_dump():
        return None, None, None
    return *read_synthetic_case(folder, files.case_id, modalities), affine


def _digest(files: CaseFiles) -> str:
    """SHA-256 over those of the case's files."""
    paths = sorted({str(path) for path in files.paths.values()})
    return hashlib.sha256("".join(map(sha256_file, map(Path, paths))).encode()).hexdigest()
