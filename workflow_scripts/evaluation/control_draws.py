"""Volumes drawn for requested tumours, with no quality gate between the generator and the measurement."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..cohort.tumours import measure
from ..diffusion.conditions import ConditionTable
from ..diffusion.generator import Generator, Request
from ..diffusion.synthesis import cut_to_foreground, foreground_of
from .mask_validity import EMPTY_MEASURES, validity


@dataclass(frozen=True)
class Draw:
    """One ungated draw.

    image : float32 (M, D, H, W) in [-1, 1]; levels : uint8 (D, H, W), cut to the synthetic foreground, as a case is
    that leaves the generator; measured : conditions of those levels, None for an empty tumour; validity : of the mask
    as decoded, see `mask_validity.validity`.
    """

    image: np.ndarray
    levels: np.ndarray
    measured: dict[str, float] | None
    validity: dict[str, float]


def draw(generator: Generator, conditions: np.ndarray, rng: torch.Generator, number: int = 0) -> Draw:
    """Draw one volume for tumour conditions (F,), in the units of the generator's table, with one rng.

    In the patient that comes as host `number`, where the generator puts tumours into patients.
    """
    host = generator.hosts.drawn(number) if generator.hosts else None
    (sample,) = generator.sample([Request(np.asarray(conditions), rng, host)])
    foreground = foreground_of(sample, generator.contract["written"]["background"])
    found = validity(sample.asked_for, foreground) | {"unnested_fraction": unnested_fraction(sample.masks)}
    image, levels = cut_to_foreground(sample.image, sample.asked_for, foreground)
    measured = None
    if levels.any():
        measured = measure(levels, generator.contract["grid"]["spacing_mm"], generator.contract["regions"])
        measured = {name: measured[name] for name in generator.conditions.names}
    return Draw(image, levels, measured, found)


def row_of(table: ConditionTable, conditions: np.ndarray, made: Draw) -> dict:
    """Columns of a draw: requested and measured conditions, and those of the request that lie out of range."""
    measured = EMPTY_MEASURES if made.measured is None else made.measured
    return (
        {f"requested_{name}": value for name, value in zip(table.names, conditions.tolist(), strict=True)}
        | {f"measured_{name}": measured.get(name) for name in table.names}
        | {"out_of_range_note": ", ".join(table.outside(conditions))}
    )


def unnested_fraction(probabilities: np.ndarray) -> float:
    """Share of a mask's voxels, of channels (R, D, H, W), that an inner region has and an outer one lacks.

    These are the voxels that nesting takes away; NaN for an empty mask.
    """
    inside = probabilities > 0.5
    some = int(np.count_nonzero(inside.any(axis=0)))
    lost = np.count_nonzero(inside.sum(axis=0) != np.logical_and.accumulate(inside, axis=0).sum(axis=0))
    return lost / some if some else math.nan


_AREA, _LENGTHS = "surface_mm2", ("box_width_mm", "box_height_mm", "box_depth_mm")


def typical_tumour(table: ConditionTable) -> np.ndarray:
    """The training tumour (F,) that lies nearest to the mean of all, in standard deviations."""
    return table.rows[int(np.argmin((table.normalise(table.rows) ** 2).sum(axis=1)))]


def sweep(table: ConditionTable, feature: str, steps: int) -> np.ndarray:
    """Requests (steps, F) in which one feature of `control_slices.SWEPT` goes through its training range and the rest stays put.

    All start from `typical_tumour`. The volume grows by equal ratios and takes with it what a tumour of the same form
    must: the surface by the power 2/3 of the ratio, the edges of the box by 1/3, so that the sphericity stays. A
    centre moves by equal steps.
    """
    names, start = list(table.names), typical_tumour(table)
    index = names.index(feature)
    low, high = float(table.lowest[index]), float(table.highest[index])
    values = np.geomspace(low, high, steps) if feature == "volume_ml" else np.linspace(low, high, steps)
    requests = np.tile(start, (steps, 1))
    requests[:, index] = values
    if feature == "volume_ml":
        ratio = values / start[index]
        for name, power in ((_AREA, 2 / 3), *((edge, 1 / 3) for edge in _LENGTHS)):
            if name in names:
                requests[:, names.index(name)] *= ratio**power
    return requests
