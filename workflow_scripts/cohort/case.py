"""A case that has been read and checked."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Case:
    """A case that passed all checks, in RAS orientation.

    foreground : bool (D, H, W), by the data set's rule; foreground_box : slices (D, H, W) around it;
    values : modality -> float32 (N,), the file's own numbers at the N voxels of the foreground, in C order;
    levels : uint8 (D, H, W) (see `regions`), of these regions; all 0 where nobody has annotated it;
    affine : voxel (w, h, d) to RAS mm; source_affine, source_shape : the grid of its file (X, Y, Z), the mask's if there is one;
    notes : what the user should know of it; labels : voxels of each label in the mask's file;
    digests : content, of the images' voxels within the foreground; mask and image, see `identity`.
    """

    case_id: str
    patient_id: str
    layout: str
    paths: dict[str, str]
    foreground: np.ndarray
    foreground_box: tuple[slice, slice, slice]
    values: dict[str, np.ndarray]
    levels: np.ndarray
    regions: tuple[str, ...]
    affine: np.ndarray
    source_affine: np.ndarray
    source_shape: tuple[int, int, int]
    labels: dict[int, int]
    digests: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each region and of the foreground in ml, on the case's own grid."""
        counts = np.bincount(self.levels[self.levels > 0], minlength=len(self.regions) + 1)
        inside = {name: counts[place:].sum() for place, name in enumerate(self.regions, 1)}
        volumes = {f"{name}_ml": round(float(count) * self.voxel_ml, 6) for name, count in inside.items()}
        return {**volumes, "foreground_ml": round(len(next(iter(self.values.values()))) * self.voxel_ml, 6)}
