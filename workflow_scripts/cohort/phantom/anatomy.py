"""The brain of the simulated cohort: tissue maps of the MNI ICBM152 2009a template that ships in the nilearn wheel.

Template: Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033 (symmetric, nonlinear, 1 mm). No download.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from ...base.errors import UserError
from .fields import Grid

_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_GREY_T1, _WHITE_T1, _FLUID_T1 = (
    np.float32(166),
    np.float32(222),
    np.float32(55),
)  # template intensity where one tissue fills the voxel
_SHARPENING = 1.6


@dataclass(frozen=True)
class Template:
    """Maps on `grid` (MNI space, RAS mm), each (D, H, W) float32.

    `white`, `grey`, `fluid` are shares in [0, 1] that sum to `brain`; `detail` is what the T1 template shows beyond
    them (deep nuclei, brain stem), in units of the white-matter intensity.
    """

    grid: Grid
    white: np.ndarray
    grey: np.ndarray
    fluid: np.ndarray
    brain: np.ndarray
    detail: np.ndarray


@lru_cache(maxsize=3)
def load_template(smoothing_mm: float) -> Template:
    """Read the template, blurred by a Gaussian of `smoothing_mm` (standard deviation) against aliasing.

    The maps are averages over 152 brains, softer than any one brain: shares are sharpened (raised to a power and
    scaled back to their sum) before use. Raises UserError if the nilearn package or its files are missing.
    """
    grid, parts = _unblurred()
    return Template(grid, *(gaussian_filter(part, smoothing_mm) for part in parts))


@lru_cache(maxsize=1)
def _unblurred() -> tuple[Grid, list[np.ndarray]]:
    maps, affine = {}, None
    for name in ("t1", "gm", "wm"):
        maps[name], affine = _read(name)
    inside = (maps["t1"] > 0).astype(np.float32)
    grey, white = (inside * maps[name] / np.float32(255) for name in ("gm", "wm"))
    powers = [share**_SHARPENING for share in (white, grey, np.clip(inside - grey - white, 0, 1))]
    scale = inside / np.maximum(sum(powers), np.float32(1e-6))
    white, grey, fluid = (power * scale for power in powers)
    expected = _WHITE_T1 * white + _GREY_T1 * grey + _FLUID_T1 * fluid
    detail = (maps["t1"] - expected) / _WHITE_T1 * (white + grey)  # in fluid it would only undo the sharpening
    grid = Grid(white.shape, 1.0, tuple(float(affine[axis, 3]) for axis in (2, 1, 0)))
    parts = (white, grey, fluid, inside, np.clip(detail, -0.3, 0.3))
    return grid, [part.astype(np.float32, copy=False) for part in parts]


def brain_box_mm() -> tuple[np.ndarray, np.ndarray]:
    """Centre and extent (z, y, x) of the template's brain, mm."""
    grid, (*_, brain, _) = _unblurred()
    box = []
    for axis in range(3):
        hit = np.flatnonzero((brain > 0.5).any(axis=tuple({0, 1, 2} - {axis})))
        box.append(grid.axis_mm(axis)[[hit[0], hit[-1]]])
    lower, upper = np.transpose(box)
    return (lower + upper) / 2, upper - lower


def _read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """One map of the template as (D, H, W) float32, and its affine. Does not import nilearn, which takes seconds."""
    import nibabel

    spec = importlib.util.find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the demo cohort needs the nilearn package (it holds the brain): run `make install`")
    path = Path(next(iter(spec.submodule_search_locations)), "datasets", "data", _FILE.format(name))
    if not path.is_file():
        raise UserError(f"the nilearn package here does not hold {path.name}: run `make install`")
    image = nibabel.load(path)
    return np.asanyarray(image.dataobj).transpose(2, 1, 0).astype(np.float32), image.affine
