"""Tumour conditions as conditions: their scale, and draws from their joint distribution, both from the train subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..base.errors import UserError
from ..study.conditions import fractions_in

RIDGE = 0.1
"""Added to the correlations of requested conditions before they are inverted: a train subset may hold fewer patients
than there are conditions."""


@dataclass(frozen=True)
class ConditionTable:
    """The conditions of the training cases.

    names : (F,) names, as `cohort.tumours.condition_names` gives them
    rows : (n, F) float64, in ml, mm, mm2 and fractions
    """

    names: tuple[str, ...]
    rows: np.ndarray

    def __post_init__(self):
        if self.rows.ndim != 2 or self.rows.shape[1] != len(self.names) or len(self.rows) == 0:
            raise UserError(
                f"a condition table needs {len(self.names)} columns and a row or more, not {self.rows.shape}"
            )
        if not np.isfinite(self.rows).all():
            column = self.names[int(np.argwhere(~np.isfinite(self.rows))[0, 1])]
            raise UserError(f"the training conditions hold a value that is not finite, in column {column}")

    @property
    def mean(self) -> np.ndarray:
        """(F,)"""
        return self.rows.mean(axis=0)

    @property
    def std(self) -> np.ndarray:
        """(F,); 1 where all rows agree, so that dividing by it does no harm."""
        std = self.rows.std(axis=0)
        return np.where(std > 1e-9 * np.abs(self.rows).max(axis=0), std, 1.0)

    @property
    def lowest(self) -> np.ndarray:
        """(F,) smallest value seen."""
        return self.rows.min(axis=0)

    @property
    def highest(self) -> np.ndarray:
        """(F,) largest value seen."""
        return self.rows.max(axis=0)

    def normalise(self, conditions: np.ndarray) -> np.ndarray:
        """(..., F) -> (..., F): mean 0 and standard deviation 1 over the training cases."""
        return (conditions - self.mean) / self.std

    def restore(self, normalised: np.ndarray) -> np.ndarray:
        """What `normalise` was given."""
        return normalised * self.std + self.mean

    @property
    def slack(self) -> np.ndarray:
        """(F,) rounding of the range's limits: a model keeps them in single precision, messages print six digits."""
        low, high = self.lowest, self.highest
        return 1e-5 * np.maximum.reduce([np.abs(low), np.abs(high), high - low])

    def outside(self, conditions: np.ndarray) -> list[str]:
        """Names of the conditions (F,) that lie outside of what was seen."""
        seen = (conditions >= self.lowest - self.slack) & (conditions <= self.highest + self.slack)
        return [name for name, inside in zip(self.names, seen, strict=True) if not inside]

    def describe(self) -> dict:
        """The model contract's ``conditions`` block."""
        parts = {"mean": self.mean, "std": self.std, "min": self.lowest, "max": self.highest}
        return {"names": list(self.names)} | {key: value.tolist() for key, value in parts.items()}


@dataclass(frozen=True)
class Seen:
    """What a gate goes by beside the training tumours' conditions; names as in a generator's contract.

    foreground_volume_ml : [smallest, largest] of the training cases
    min_largest_piece_fraction : of the tumour's voxels, in its largest piece, the smallest over the training cases
    """

    foreground_volume_ml: list[float]
    min_largest_piece_fraction: float

    @classmethod
    def of(cls, contract: Mapping) -> Seen:
        """As the contract has it; one of before the fraction was measured is of tumours in one piece."""
        return cls(contract["foreground_volume_ml"], contract.get("min_largest_piece_fraction", 1.0))


def draw_conditions(
    table: ConditionTable,
    rng: np.random.Generator,
    smoothing: float,
    requested: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Draw a tumour (F,) from the smoothed joint distribution of the training tumours.

    A training row is drawn and moved by a Gaussian kernel whose covariance is ``smoothing**2`` times that of the rows
    (a smoothed bootstrap, Silverman 1986, section 6.4), then kept within what was seen, condition by condition, and nested
    fractions are kept in order.

    With `requested` values the row is drawn with weights that fall with its distance to them, the other conditions are
    moved along by the linear regression on the requested ones, and the requested values come out unchanged, even
    outside of what was seen.

    smoothing : width of the kernel, in standard deviations of each condition; 0 resamples rows as they are
    requested : name -> value, in the table's units
    """
    requested = dict(requested or {})
    fixed = np.array([name in requested for name in table.names])
    wanted = np.array([requested.get(name, 0.0) for name in table.names])
    rows, std = table.rows, table.std
    centred = (rows - table.mean) / std  # (n, F)

    if fixed.any():
        offset = (wanted - table.mean) / std - centred  # (n, F), of use in the fixed columns alone
        width = max(smoothing, 1e-3) if len(rows) > 1 else 1.0
        log_weight = -0.5 * (offset[:, fixed] ** 2).sum(axis=1) / width**2
        weight = np.exp(log_weight - log_weight.max())
        row = int(rng.choice(len(rows), p=weight / weight.sum()))
    else:
        row = int(rng.integers(len(rows)))
    drawn = centred[row].copy()
    drawn += smoothing * (rng.standard_normal(len(rows)) @ centred) / np.sqrt(len(rows))
    if fixed.any():
        correlation = centred.T @ centred / len(rows)  # (F, F)
        inverse = np.linalg.inv(correlation[np.ix_(fixed, fixed)] + RIDGE * np.eye(fixed.sum()))
        step = ((wanted - table.mean) / std - drawn)[fixed]
        drawn[~fixed] += correlation[np.ix_(~fixed, fixed)] @ inverse @ step
    values = np.clip(table.mean + std * drawn, table.lowest, table.highest)
    values[fixed] = wanted[fixed]
    return _in_order(table.names, values, fixed)


def _in_order(names: Sequence[str], values: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Nested fractions in order; what was requested stays, the other one gives way."""
    places, held = [names.index(name) for name in fractions_in(names)], fixed.copy()
    for outer, inner in reversed(list(pairwise(places))):
        if values[inner] > values[outer] and held[inner]:
            values[outer], held[outer] = values[inner], True
    for outer, inner in pairwise(places):
        values[inner] = min(values[inner], values[outer])
    return values
