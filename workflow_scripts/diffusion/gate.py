"""The quality gate: which synthetic cases are kept, and a sentence for each reason why one is not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..cohort.tumours import measure, pieces_of
from ..study.settings.synthesis import Gate
from .conditions import ConditionTable, Seen

FOREGROUND_THRESHOLD = -0.85
"""Mean over the modalities, range -1 (background) to 1, above which a voxel may be foreground.
On MRI of patients at 3 mm it keeps the foreground's volume within 8 %, for four modalities and for one alone, sharp or
blurred by 2 mm."""

RESOLUTION = 0.05
"""Share of a value below which a difference is not looked at (lengths: one voxel): few training cases, a narrow range."""

PIECES_SLACK = 0.05
"""Share of the tumour by which its largest piece may be smaller than in any training case."""


class Reason(str):
    """A sentence that says why a draw was refused; `kind`: the same without its numbers, to count by."""

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, sentence: str, kind: str):
        reason = super().__new__(cls, sentence)
        reason.kind = kind
        return reason


OUTSIDE = "tumour outside the foreground (max_outside_foreground_fraction)"


@dataclass(frozen=True)
class Verdict:
    """measured: condition name -> value, None for an empty tumour; reasons: sentences, none for a case that passes."""

    measured: dict[str, float] | None
    foreground_volume_ml: float
    reasons: tuple[Reason, ...]


def foreground_mask(image: np.ndarray, background: bool = True) -> np.ndarray:
    """Foreground (D, H, W) of an image (M, D, H, W) in [-1, 1] of which nothing else says it: bright enough, `one_piece`.

    Without a `background` in the data set it is the whole volume.
    """
    if not background:
        return np.ones(image.shape[1:], dtype=bool)
    return one_piece(image.mean(axis=0) > FOREGROUND_THRESHOLD)


def one_piece(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask (D, H, W), its holes filled, as real foregrounds are to one voxel in a thousand."""
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    mask = ndimage.binary_fill_holes(mask)
    # dark ventricles may open to the outside over a few slices: fill slice by slice as well
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask]) if mask.any() else mask


def judge(
    levels: np.ndarray,
    foreground: np.ndarray,
    spacing_mm: Sequence[float],
    table: ConditionTable,
    seen: Seen,
    gate: Gate,
    regions: Sequence[str],
) -> Verdict:
    """Measure a synthetic tumour and say what is wrong with the case.

    levels : uint8 (D, H, W); the nested tumour mask as decoded, before it is cut to the foreground
    foreground : bool (D, H, W)
    spacing_mm : (z, y, x)
    table : of the training cases. Features are measured on the tumour inside the foreground, which is what is kept.
    seen : of the training cases
    regions : names of the nested regions, from the outside in
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    foreground_ml = float(foreground.sum() * voxel_ml)
    reasons = _foreground_faults(foreground_ml, seen.foreground_volume_ml, gate.foreground_volume_tolerance)
    tumour, inside = levels >= 1, (levels >= 1) & foreground
    if not tumour.any():
        return Verdict(None, foreground_ml, (Reason("the tumour is empty", "empty tumour"), *reasons))
    outside = 1.0 - inside.sum() / tumour.sum()
    if outside > gate.max_outside_foreground_fraction:
        sentence = f"{outside:.1%} of the tumour lies outside the foreground"
        allowed = f"max_outside_foreground_fraction allows {gate.max_outside_foreground_fraction:.1%}"
        reasons.append(Reason(f"{sentence}; {allowed}", OUTSIDE))
    if not inside.any():  # nothing is left to measure: no limit in the config lets such a case pass
        nothing = Reason("no part of the tumour lies inside the foreground", OUTSIDE)
        return Verdict(None, foreground_ml, (nothing, *reasons))
    count, largest = pieces_of(inside)
    least = min(gate.min_largest_component_fraction, seen.min_largest_piece_fraction - PIECES_SLACK)
    if largest < least:
        sentence = f"the tumour is in {count} pieces, the largest with {largest:.1%} of it"
        asked = f"min_largest_component_fraction asks for {least:.1%}"
        if least < gate.min_largest_component_fraction:
            asked = f"training tumours have {seen.min_largest_piece_fraction:.1%} or more, and {PIECES_SLACK:.0%} less passes"
        reasons.append(Reason(f"{sentence}; {asked}", "tumour in pieces (min_largest_component_fraction)"))
    measured = measure(np.where(foreground, levels, 0), spacing_mm, regions)
    if measured["volume_ml"] < gate.min_volume_ml:
        sentence = f"the tumour has {measured['volume_ml']:.3g} ml; min_volume_ml asks for {gate.min_volume_ml:g}"
        reasons.append(Reason(sentence, "tumour too small (min_volume_ml)"))
    measured = {name: measured[name] for name in table.names}
    reasons += _condition_faults(measured, table, gate.feature_tolerance, max(spacing_mm))
    return Verdict(measured, foreground_ml, tuple(reasons))


def _foreground_faults(foreground_ml: float, seen_ml: Sequence[float], tolerance: float) -> list[Reason]:
    low, high = seen_ml[0] * (1 - tolerance), seen_ml[1] * (1 + tolerance)
    if low <= foreground_ml <= high:
        return []
    seen = f"{seen_ml[0]:.4g} to {seen_ml[1]:.4g} ml"
    sentence = f"the foreground has {foreground_ml:.4g} ml; that of the training cases is {seen}"
    kind = "foreground volume (foreground_volume_tolerance)"
    return [Reason(f"{sentence}, and foreground_volume_tolerance is {tolerance:g}", kind)]


def _condition_faults(
    measured: dict[str, float], table: ConditionTable, tolerance: float, voxel_mm: float
) -> list[Reason]:
    faults = []
    for name, low, high in zip(table.names, table.lowest, table.highest, strict=True):
        finest = voxel_mm if name.endswith("_mm") else RESOLUTION * high
        margin = max(tolerance * (high - low), finest) if tolerance < math.inf else math.inf
        if not low - margin <= measured[name] <= high + margin:
            sentence = f"{name} is {measured[name]:.4g}; training tumours have {low:.4g} to {high:.4g}"
            sentence += f", and feature_tolerance is {tolerance:g} of that range"
            faults.append(Reason(sentence, f"{name} out of range (feature_tolerance)"))
    return faults
