"""The exchange rate: how many real patients an arm with synthetic ones is worth.

Real only at several numbers of patients gives Dice against patients. The curve through them never falls (isotonic
regression, equal weights) and is a straight line over the logarithm of the number between two of them. Dice that an arm
gains over real only of its own N is put on the curve's value at N, and looked up: where the curve reaches it, at N + k,
the arm is worth N + k real patients. Of several such places the one nearest to N is taken. Where the curve ends before, the
worth is "beyond the curve", or "below" it.

Patients and seeds are resampled jointly for the arm and for the whole curve (`bootstrap.resampled_means`). Which patients
came first in the nested order is not resampled: there is one order.
"""

import math

import numpy as np
import pandas as pd

from ...base.seeds import numpy_rng
from ...study.arm_labels import label_of
from ..scores import arms_of, patients_of, regions_of, rows_of, score_array
from .bootstrap import expanded_tail, resampled_means
from .ratio_table import NOT_MEASURED, arm_onset

BEYOND, BELOW, NO_CURVE = "beyond the curve", "below the curve", "no curve"
CURVE, WORTH = "curve", "worth"  # kinds of rows


def rising(values: np.ndarray) -> np.ndarray:
    """The closest curves that never fall, to `values` (..., m): isotonic regression, by its max-min formula (Robertson,
    Wright and Dykstra 1988, Order Restricted Statistical Inference, section 1.4)."""
    m = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)

    def mean(first: int, last: int) -> np.ndarray:
        return (sums[..., last + 1] - sums[..., first]) / (last + 1 - first)

    return np.stack(
        [np.max([np.min([mean(j, k) for k in range(i, m)], axis=0) for j in range(i + 1)], axis=0) for i in range(m)],
        axis=-1,
    )


def worth(sizes: np.ndarray, curves: np.ndarray, place: int, gains: np.ndarray) -> np.ndarray:
    """Patients (B,) at which each curve (B, m), over `sizes` (m,), is `gains` (B,) above its value at `sizes[place]`.

    Infinite where the curve ends before: + above its end, - below its start.
    """
    logs, wanted = np.log(np.asarray(sizes, dtype=np.float64)), curves[:, place] + gains
    found = np.where(gains > 0, np.inf, np.where(gains < 0, -np.inf, logs[place]))
    steps = [(j, 1) for j in range(len(sizes) - 2, place - 1, -1)] + [(j, -1) for j in range(place)]
    for j, sign in steps:  # from afar: the nearest is written last
        low, high = curves[:, j], curves[:, j + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (wanted - low) / (high - low)
        inside = (np.sign(gains) == sign) & (low <= wanted) & (wanted <= high) & (low < high)
        found = np.where(inside, logs[j] + share * (logs[j + 1] - logs[j]), found)
    return np.where(np.isneginf(found), -np.inf, np.exp(found))


def exchange_table(scores: pd.DataFrame, bootstrap_samples: int, confidence: float, seed: int) -> pd.DataFrame:
    """For each segmenter and region the curve, a row a number of patients, and what each arm is worth, a row an arm.

    `scores` as of `read_scores`. Of a row of the curve ``dice_mean`` with its interval and ``curve``, the value that never
    falls; of an arm ``gain`` (Dice minus real only) and ``further_patients``, k above, with its interval.
    """
    rows = []
    arms = arms_of(scores, curve=True)
    for region in regions_of(scores):
        for segmenter in dict.fromkeys(arm.segmenter for arm in arms):
            real = [arm for arm in arms if arm.is_real_only and arm.segmenter == segmenter]
            made = [arm for arm in arms if arm.segmenter == segmenter and (arm.is_mix or arm.of_ladder)]
            own = {arm: rows_of(scores, arm, region) for arm in (*real, *made)}
            dice, patients = [score_array(found, "dice") for found in own.values()], patients_of(own[real[0]])
            point = np.array([values.mean() for values in dice])[:, None]  # (arms, 1)
            rng = numpy_rng(seed, "bootstrap over patients and seeds", region)
            n_patients = len(np.unique(patients))
            drawn = np.array(resampled_means(dice, patients, bootstrap_samples, rng)) if n_patients > 1 else None
            sizes = np.array([arm.n_real for arm in real])
            common = {"segmenter": segmenter, "region": region, "n_patients": n_patients, "n_seeds": dice[0].shape[1]}
            common |= {"confidence": confidence, "bootstrap_samples": bootstrap_samples}
            curve = rising(point[: len(real)].T)[0]
            tail = expanded_tail(n_patients, confidence) if n_patients > 1 else 0.5
            for index, (arm, found) in enumerate(own.items()):
                row = {"row": WORTH if index >= len(real) else CURVE, "n_real": arm.n_real, "system": arm.system}
                row |= {"mixing": arm.mixing, "control": arm.control, "ratio": arm.ratio, "arm": label_of(arm).label}
                row |= common | {"onset": arm_onset(found), "dice_mean": float(point[index, 0])}
                row |= _ends("dice", None if drawn is None else drawn[index], tail)
                at = int(np.searchsorted(sizes, arm.n_real))
                if index < len(real):
                    row["curve"] = float(curve[at])
                else:
                    row |= {"gain": float(point[index, 0] - point[at, 0]), "curve": float(curve[at])}
                    row |= _worth_cells(index, at, sizes, point, drawn, tail)
                rows.append(row)
    table = pd.DataFrame(rows)
    for column in ("gain", "further_patients", "further_patients_low", "further_patients_high"):
        values = table[column] if column in table else pd.Series(index=table.index, dtype=object)
        table[column] = values.astype(object).where(values.notna(), "")
    return table.map(lambda value: round(value, 6) if isinstance(value, float) else value)


def _worth_cells(
    index: int, at: int, sizes: np.ndarray, point: np.ndarray, drawn: np.ndarray | None, tail: float
) -> dict[str, object]:
    m, names = len(sizes), ("further_patients", "further_patients_low", "further_patients_high")
    if m < 2:
        return dict.fromkeys(names, NO_CURVE)

    def further(means: np.ndarray) -> np.ndarray:  # (arms, B) -> (B,)
        return worth(sizes, rising(means[:m].T), at, means[index] - means[at]) - sizes[at]

    cells = {names[0]: _said(float(further(point)[0]))}
    return cells | _ends(names[0], None if drawn is None else further(drawn), tail)


def _ends(name: str, values: np.ndarray | None, tail: float) -> dict[str, object]:
    """The ends of the interval: values that were drawn, since between a number and "beyond" there is none."""
    if values is None:
        return {f"{name}_{end}": NOT_MEASURED for end in ("low", "high")}
    ordered = np.sort(values)
    low = ordered[max(0, math.ceil(tail * len(ordered)) - 1)]
    high = ordered[min(len(ordered) - 1, math.floor((1 - tail) * len(ordered)))]
    return {f"{name}_low": _said(float(low)), f"{name}_high": _said(float(high))}


def _said(value: float) -> float | str:
    return value if math.isfinite(value) else BEYOND if value > 0 else BELOW
