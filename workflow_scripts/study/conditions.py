"""Names of the tumour conditions: what a generator may be asked for. How they are measured: `cohort.tumours`."""

from collections.abc import Sequence

SHAPE_CONDITIONS = (
    "volume_ml",
    "surface_mm2",
    "sphericity",
    "centroid_x_mm",
    "centroid_y_mm",
    "centroid_z_mm",
    "box_width_mm",
    "box_height_mm",
    "box_depth_mm",
)
"""Names of the conditions of any tumour. Width lies along x, height along y, depth along z."""

FRACTION = "_fraction"


def condition_names(regions: Sequence[str]) -> list[str]:
    """The conditions of a cohort with these nested regions, in the order of every condition table.

    The outermost region is the whole tumour; each one within it has its share of the whole, ``<region>_fraction``.
    """
    return [*SHAPE_CONDITIONS, *(f"{region}{FRACTION}" for region in regions[1:])]


def fractions_in(names: Sequence[str]) -> list[str]:
    """The shares among the names of conditions, from the outside in: none can be larger than the one before it."""
    return [name for name in names if name.endswith(FRACTION)]
