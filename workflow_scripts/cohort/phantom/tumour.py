"""From cell density to the parts of a tumour: oedema, core, enhancing rim, necrosis."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from ...base.errors import UserError

NECROSIS, OEDEMA, ENHANCING = 1, 2, 3  # labels of BraTS 2023; without an enhancing part, 1 is non-enhancing core
_BISECTIONS = 14


@dataclass(frozen=True)
class TumourPlan:
    """What a patient's tumour should be.

    `core_share` is the core's share of the whole tumour's volume. `rim_mm` is the mean thickness of the enhancing rim;
    0 for a tumour without enhancement.
    """

    volume_ml: float
    core_share: float
    rim_mm: float
    front_width_mm: float
    white_to_grey: float
    push: float


def draw_plan(rng: np.random.Generator, volume_ml: tuple[float, float]) -> TumourPlan:
    """Draw a plan: volume log-uniform over the range; one tumour in five does not enhance."""
    volume = float(np.exp(rng.uniform(*np.log(volume_ml))))
    core = float(0.08 + 0.6 * rng.beta(2.0, 2.6))
    core_radius_mm = (3 * volume * core * 1000 / (4 * np.pi)) ** (1 / 3)
    rim = min(float(rng.uniform(3.0, 6.5)), 0.5 * core_radius_mm)  # small cores have some necrosis, too
    enhances = bool(rng.random() >= 0.2)
    return TumourPlan(
        volume_ml=volume,
        core_share=core if enhances else min(0.75, 1.4 * core),
        rim_mm=rim if enhances else 0.0,
        front_width_mm=float(rng.uniform(5.0, 8.5)),
        white_to_grey=float(rng.uniform(4.0, 12.0)),
        push=float(rng.uniform(0.1, 0.4)),
    )


def draw_parts(density: np.ndarray, ripple: np.ndarray, plan: TumourPlan, spacing_mm: float) -> np.ndarray:
    """Label the parts of a tumour, (D, H, W) uint8 with labels of BraTS 2023.

    density : (D, H, W) in [0, 1]
        Cell density, 0 where no tissue is.
    ripple : (D, H, W)
        Smooth random field of unit variance; moves the bounds between parts.

    The whole tumour is the connected region above the density at which it has the planned volume, the core the same
    within it. The core enhances down to the rim's thickness below its surface; what lies deeper is necrotic.
    Raises UserError if the density fills less than a tenth of the planned volume.
    """
    voxels = plan.volume_ml * 1000 / spacing_mm**3
    whole = _largest_of_size(density, voxels)
    if whole.sum() < 0.1 * voxels:
        raise UserError(f"a tumour of {plan.volume_ml:.0f} ml found no room: lower demo_cohort: tumour_volume_ml")
    # Density saturates deep inside: depth orders what density cannot.
    depth_mm = distance_transform_edt(np.pad(whole, 1))[1:-1, 1:-1, 1:-1] * spacing_mm
    ranking = np.where(whole, density * np.exp(0.3 * ripple) + 1.5 * depth_mm / depth_mm.max(), 0)
    core = _largest_of_size(gaussian_filter(ranking, 2.0 / spacing_mm) * whole, plan.core_share * whole.sum())
    labels = np.where(whole, OEDEMA, 0).astype(np.uint8)
    labels[core] = NECROSIS
    if plan.rim_mm:
        inside_mm = distance_transform_edt(np.pad(core, 1))[1:-1, 1:-1, 1:-1] * spacing_mm - spacing_mm / 2
        rim_mm = np.maximum(plan.rim_mm * np.exp(0.45 * ripple), 0.6 * spacing_mm)
        labels[core & (inside_mm <= rim_mm)] = ENHANCING
    return labels


def _largest_of_size(values: np.ndarray, n_voxels: float) -> np.ndarray:
    """The largest connected region {values > threshold} that has at most `n_voxels` voxels (at least one)."""
    box = tuple(
        slice(hit[0], hit[-1] + 1)
        for axis in range(3)
        if (hit := np.flatnonzero((values > 1e-4).any(axis=tuple({0, 1, 2} - {axis})))).size
    )
    found = np.zeros(values.shape, bool)
    if len(box) < 3:
        return found
    inner = values[box]
    low, high = 1e-4, float(inner.max())
    best = inner >= high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        region = largest_component(inner > middle)
        if region.sum() <= n_voxels:
            high, best = middle, region
        else:
            low = middle
    found[box] = best
    return found


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected component of a mask."""
    components, count = label(mask)
    if count <= 1:
        return mask
    return components == 1 + np.bincount(components.ravel())[1:].argmax()
