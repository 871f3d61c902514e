"""One patient of the simulated cohort, a function of (seed, number): anatomy, tumour, four contrasts, mask."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter

from ...base.seeds import numpy_rng
from .anatomy import brain_box_mm, load_template
from .contrasts import draw_contrasts
from .fields import Grid, random_field
from .growth import grow
from .tumour import ENHANCING, NECROSIS, OEDEMA, TumourPlan, draw_parts, draw_plan, largest_component
from .warps import HeadShape, before_mass_effect

MARGIN_MM = 15.0
_GROWTH_SPACING_MM = 3.0
_SUPRATENTORIAL_Z_MM = -8.0  # template height above which all tissue is cerebrum
_DEPTH_MM = 10.0  # of the first cells below the brain's surface
_FROM_VENTRICLES_MM = 7.0


@dataclass(frozen=True)
class Patient:
    """A simulated patient on `grid`: int16 images (background exactly 0) and labels of BraTS 2023, all (D, H, W)."""

    grid: Grid
    images: dict[str, np.ndarray]
    labels: np.ndarray
    plan: TumourPlan
    start_mm: tuple[float, float, float]


def simulate_patient(
    seed: int, number: int, spacing_mm: float, volume_ml: tuple[float, float], contrast_spread: float
) -> Patient:
    """Simulate patient `number`. Depends on the arguments alone, never on how many patients there are."""
    centre_mm, extent_mm = brain_box_mm()
    extent_mm = extent_mm + 2 * MARGIN_MM
    shape = HeadShape(numpy_rng(seed, "shape", number), centre_mm, extent_mm)
    rng = numpy_rng(seed, "tumour", number)
    plan = draw_plan(rng, volume_ml)
    fluid_factor = float(np.exp(numpy_rng(seed, "fluid", number).normal(0.15, 0.3)))

    coarse = Grid.around(centre_mm, extent_mm, _GROWTH_SPACING_MM)
    template_mm = shape.to_template(coarse.points_mm())
    tissue = _tissue(template_mm, fluid_factor, _GROWTH_SPACING_MM)
    start = _place(rng, tissue, template_mm[0])
    density = grow(
        *(tissue["white"], tissue["grey"], start, _GROWTH_SPACING_MM, plan.front_width_mm, plan.white_to_grey),
        rate_factor=np.exp(0.6 * random_field(rng, coarse, 14.0)),
        volume_mm3=1.1 * plan.volume_ml * 1000,
    )
    start_mm = tuple(float(coarse.axis_mm(axis)[index]) for axis, index in enumerate(start))

    grid = Grid.around(centre_mm, extent_mm, spacing_mm)
    radius_mm = (3 * plan.volume_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    points_mm = before_mass_effect(grid.points_mm(), start_mm, radius_mm, plan.push)
    tissue = _tissue(shape.to_template(points_mm), fluid_factor, spacing_mm)
    brain = largest_component(binary_fill_holes(tissue["brain"] > 0.5))
    labels = draw_parts(
        # oedema spares the cortex: grey matter shows it at a higher cell density only
        _density_at(coarse, density, points_mm) * (1 - 0.5 * tissue["grey"]) * (tissue["fluid"] < 0.5) * brain,
        random_field(numpy_rng(seed, "ripple", number), grid, 7.0),
        *(plan, spacing_mm),
    )
    parts = _soft_parts(labels, tissue, plan, spacing_mm)
    images = draw_contrasts(numpy_rng(seed, "contrasts", number), grid, tissue, parts, contrast_spread)
    stored = {
        modality: np.where(brain, np.clip(np.rint(image), 1, 32767), 0).astype(np.int16)
        for modality, image in images.items()
    }
    return Patient(grid, stored, labels, plan, start_mm)


def _tissue(template_mm: np.ndarray, fluid_factor: float, spacing_mm: float) -> dict[str, np.ndarray]:
    """Shares of white and grey matter and fluid at template points, with detail, caps and the brain itself.

    `fluid_factor` > 1 widens ventricles and sulci, as age does.
    """
    template = load_template(round(0.4 * spacing_mm, 3))
    white, grey, fluid, brain, detail = (
        template.grid.sample(part, template_mm, "constant")  # the template ends within the brain stem
        for part in (template.white, template.grey, template.fluid, template.brain, template.detail)
    )
    fluid = fluid * np.float32(fluid_factor)
    total = np.maximum(white + grey + fluid, np.float32(1e-6))
    white, grey, fluid = white / total, grey / total, fluid / total
    sigma = 4.0 / spacing_mm
    caps = white * np.clip(2 * gaussian_filter(fluid * (fluid > 0.8), sigma), 0, 1)
    return {"white": white, "grey": grey, "fluid": fluid, "brain": brain, "detail": detail, "caps": caps}


def _place(rng: np.random.Generator, tissue: dict[str, np.ndarray], template_z_mm: np.ndarray) -> tuple:
    """Draw the voxel of the first cells: white matter of the cerebrum, away from the brain's surface."""
    depth_mm = distance_transform_edt(tissue["brain"] > 0.5) * _GROWTH_SPACING_MM
    from_fluid_mm = distance_transform_edt(tissue["fluid"] < 0.8) * _GROWTH_SPACING_MM
    room = (tissue["white"] > 0.6) & (depth_mm > _DEPTH_MM) & (from_fluid_mm > _FROM_VENTRICLES_MM)
    room &= template_z_mm > _SUPRATENTORIAL_Z_MM
    return tuple(int(i) for i in rng.choice(np.argwhere(room)))


def _density_at(coarse: Grid, density: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """Cell density at points; voxels without cells for want of tissue do not dilute their neighbours."""
    takes_cells = (density > 0).astype(np.float32)
    weight = coarse.sample(takes_cells, points_mm)
    return coarse.sample(density, points_mm) / np.maximum(weight, np.float32(0.2))


def _soft_parts(
    labels: np.ndarray, tissue: dict[str, np.ndarray], plan: TumourPlan, spacing_mm: float
) -> dict[str, np.ndarray]:
    """Shares of the tumour's parts in a voxel: bounds are a millimetre soft; oedema swells white matter the most."""
    sigma = max(0.5, 0.9 / spacing_mm)
    soft = {part: gaussian_filter((labels == part).astype(np.float32), sigma) for part in (NECROSIS, OEDEMA, ENHANCING)}
    oedema = soft[OEDEMA] * (1 - 0.35 * tissue["grey"] - 0.6 * tissue["fluid"])
    core = "necrosis" if plan.rim_mm else "solid"
    parts = {"oedema": oedema, "solid": 0.0, "necrosis": 0.0, "enhancing": soft[ENHANCING]}
    return parts | {core: soft[NECROSIS]}
