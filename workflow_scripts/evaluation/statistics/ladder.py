"""The ladder: what other real patients bring, what is left of it behind an autoencoder, and what a generator brings.

All arms of an n_real make the same steps, and each is compared with real only, paired over test patients and seeds:

- the ceiling, real + r x other real patients: what no generator that has seen n_real patients can be asked to pass;
- those patients as an autoencoder gives them back: minus the ceiling, the price of the autoencoder;
- real + r x synthetic: minus the reconstructions, the price of the generator; minus the ceiling where the system has no
  autoencoder.

Where the ceiling is not above real only, the study is not limited by its patients, and no gain of a generator could be
seen in it.
"""

from collections.abc import Mapping

import pandas as pd

from ...base.seeds import numpy_rng
from ...study.arm_labels import label_of
from ...study.arms import CEILING, RECONSTRUCTIONS, Arm
from ..scores import arms_of, patients_of, regions_of, rows_of, score_array
from .bootstrap import best_coverage, bootstrap_interval, paired_differences
from .ratio_table import NOT_MEASURED, arm_onset

NO_RUNG = "no such arm"
REAL, SYSTEM = "real only", "system"  # beside CEILING and RECONSTRUCTIONS: rungs


def ladder_table(
    scores: pd.DataFrame,
    autoencoders: Mapping[str, str | None],
    ratio: float,
    bootstrap_samples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """One row per segmenter, n_real, region and rung, in the order in which one climbs down. `scores` as of `read_scores`.

    autoencoders : of each system, None for one that has none
    ratio : of the ladder: mixes of another are left out

    ``gain`` is Dice minus that of real only, ``price`` minus that of the rung named in ``price_against``, each with the ends
    of its interval; "no such arm" where there is no rung to compare with, "not measured" for an interval over one patient.
    """
    rows = []
    for region in regions_of(scores):
        for real in (arm for arm in arms_of(scores) if arm.is_real_only):
            found = {arm: rows_of(scores, arm, region) for arm in _rungs(arms_of(scores), real, ratio)}
            patients, dice = patients_of(found[real]), {arm: score_array(own, "dice") for arm, own in found.items()}
            by_kind = {(arm.control, arm.system): arm for arm in found if arm.of_ladder}
            for arm, own in found.items():
                row = {"n_real": real.n_real, "segmenter": real.segmenter, "region": region, "rung": _rung(arm)}
                row |= {"system": arm.system, "mixing": arm.mixing, "ratio": arm.ratio, "arm": label_of(arm).label}
                row |= {"n_patients": own.patient_id.nunique(), "n_seeds": dice[arm].shape[1]}
                row |= {"dice_mean": float(dice[arm].mean()), "onset": arm_onset(own)}
                above = _above(arm, by_kind, autoencoders)
                for name, other in (("gain", None if arm == real else real), ("price", above)):
                    cells = (NO_RUNG, NO_RUNG, NO_RUNG)
                    if other:
                        differences = paired_differences(dice[arm], dice[other])
                        rng = numpy_rng(seed, "bootstrap over patients and seeds", region)  # as in the ratio table
                        ends = bootstrap_interval(differences, patients, bootstrap_samples, confidence, rng)
                        cells = (float(differences.mean()), *(ends or (NOT_MEASURED, NOT_MEASURED)))
                    row |= dict(zip((name, f"{name}_low", f"{name}_high"), cells, strict=True))
                row["price_against"] = _rung(above) if above else NO_RUNG
                rows.append(row | {"confidence": confidence, "bootstrap_samples": bootstrap_samples})
    table = pd.DataFrame(rows).sort_values(["n_real", "segmenter"], kind="stable", ignore_index=True)
    return table.map(lambda value: round(value, 6) if isinstance(value, float) else value)


def is_limited(ceiling: pd.Series, prefix: str = "gain") -> bool:
    """Whether the ceiling's row says that more patients help: the study can show what synthetic ones do. So few test
    patients that no interval covers what it should say nothing."""
    low, covered = ceiling[f"{prefix}_low"], best_coverage(int(ceiling.n_patients))
    return not isinstance(low, str) and low > 0 and covered >= float(ceiling.confidence)


def _rungs(arms: list[Arm], real: Arm, ratio: float) -> list[Arm]:
    beside = [arm for arm in arms if arm.reference == real]
    ladder = [arm for kind in (CEILING, RECONSTRUCTIONS) for arm in beside if arm.control == kind]
    return [real, *ladder, *(arm for arm in beside if arm.is_mix and arm.ratio == ratio)]


def _rung(arm: Arm) -> str:
    return arm.control if arm.of_ladder else SYSTEM if arm.is_mix else REAL


def _above(arm: Arm, by_kind: Mapping[tuple[str, str], Arm], autoencoders: Mapping[str, str | None]) -> Arm | None:
    """The rung that an arm's price is counted from."""
    ceiling = next((other for (kind, _), other in by_kind.items() if kind == CEILING), None)
    if arm.control == RECONSTRUCTIONS:
        return ceiling
    if not arm.is_mix:
        return None
    return by_kind.get((RECONSTRUCTIONS, str(autoencoders.get(arm.system))), ceiling)
