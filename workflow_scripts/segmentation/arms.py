"""Which cases an arm of the study trains on: a choice of ids from the pool, and the proof that it leaks none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..base.arms import CONTROLS, NO_CONTROL, OVERSAMPLED, REAL_ONLY, synthetic_count
from ..base.errors import UserError
from .nnunet import Plan
from .pool import pool_files


@dataclass(frozen=True)
class Arm:
    """One mix of real and synthetic cases, trained once (one seed). Ids are the pool's."""

    n_real: int
    system: str
    ratio: float
    synthetic_only: bool
    seed: int
    real_ids: tuple[str, ...]
    synthetic_ids: tuple[str, ...]
    val_ids: tuple[str, ...]
    digests: tuple[str, ...]  # of the preprocessed cases, in the order of real, synthetic and val ids
    control: str = NO_CONTROL
    copies: int = 1  # how often each real case is listed

    @property
    def train_ids(self) -> list[str]:
        """The list that nnU-Net draws from."""
        return [*self.real_ids * self.copies, *self.synthetic_ids]

    @property
    def title(self) -> str:
        """The arm in a few words, for progress lines."""
        mix = "real only" if self.system == REAL_ONLY else f"{self.system}, ratio {self.ratio:g}"
        if self.control != NO_CONTROL:
            mix += f", {self.control.replace('_', ' ')}" + f" {self.copies} times" * (self.copies > 1)
        return f"training nnU-Net on {self.n_real} ({mix}{', synthetic only' * self.synthetic_only}, seed {self.seed})"


def choose_arm(
    plan: Plan,
    real: pd.DataFrame,
    synthetic: list[pd.DataFrame],
    system: str,
    ratio: float,
    synthetic_only: bool,
    seed: int,
    control: str = NO_CONTROL,
) -> Arm:
    """The cases of an arm.

    Real cases are all of the train subset (none if `synthetic_only`); synthetic ones the first ratio x n_real by number,
    so that a smaller ratio's cases are the first of a larger one's.

    Parameters
    ----------
    real : table of ``pool_real`` (case_id, split, digest)
    synthetic : tables of ``pool_synthetic`` (case_id, number, digest)
    control : one of ``base.arms.CONTROLS``; with ``oversampled`` each real case is listed 1 + ratio times

    Raises UserError if there are too few synthetic cases, if the plan was made from other cases, if a case would both
    train and validate, or if a control asks for synthetic cases.
    """
    train, val = (real[real["split"] == split] for split in ("train", "val"))
    if set(train["case_id"]) != set(plan.training_case_ids):
        raise UserError(
            "the pool's training cases are not those the plan was made from: run `snakemake -R plan_segmentation pool_real`"
        )
    if shared := sorted(set(train["case_id"]) & set(val["case_id"])):
        raise UserError(f"case {shared[0]} is both a training and a validation case: run `snakemake -R pool_real`")
    if val.empty:
        raise UserError("there is no validation case: set splits.val to 1 or more")
    if ratio < 0:
        raise UserError(f"ratio {ratio:g} is below 0: it counts synthetic cases for each real one")
    _check_control(control, system, ratio, synthetic_only)
    count = synthetic_count(plan.n_real, ratio) if control == NO_CONTROL else 0
    if synthetic_only and not count:
        raise UserError(
            f"ratio {ratio:g} of {plan.n_real} is no synthetic case at all: a synthetic-only arm needs some"
        )
    made = _first_by_number(synthetic, count, system, ratio, plan.n_real)
    used = train.iloc[:0] if synthetic_only else train.sort_values("case_id")
    if overlap := sorted(set(made["case_id"]) & set(real["case_id"])):
        raise UserError(f"synthetic case {overlap[0]} has the id of a real case: give the system another name")
    val = val.sort_values("case_id")
    return Arm(
        n_real=plan.n_real,
        system=system if count else REAL_ONLY,
        ratio=float(ratio),
        synthetic_only=bool(synthetic_only),
        seed=seed,
        real_ids=tuple(used["case_id"]),
        synthetic_ids=tuple(made["case_id"]),
        val_ids=tuple(val["case_id"]),
        digests=(*used["digest"], *made["digest"], *val["digest"]),
        control=control,
        copies=1 + round(ratio) if control == OVERSAMPLED else 1,
    )


def _check_control(control: str, system: str, ratio: float, synthetic_only: bool) -> None:
    if control not in CONTROLS:
        raise UserError(f"control {control!r} is none of {', '.join(CONTROLS)}")
    if control != NO_CONTROL and (system != REAL_ONLY or synthetic_only):
        raise UserError(f"the control {control} is an arm of real cases alone: give it no system and no synthetic_only")
    if control == OVERSAMPLED and (ratio < 1 or ratio != round(ratio)):
        raise UserError(f"ratio {ratio:g} of the control {control} is no whole number from 1: it counts copies")
    if control not in (NO_CONTROL, OVERSAMPLED) and ratio:
        raise UserError(f"the control {control} has no synthetic case: its ratio is 0, not {ratio:g}")


def _first_by_number(tables: list[pd.DataFrame], count: int, system: str, ratio: float, n_real: int) -> pd.DataFrame:
    columns = ["case_id", "number", "digest"]
    made = pd.concat([pd.DataFrame(columns=columns), *(table[columns] for table in tables)]) if count else None
    if made is None:
        return pd.DataFrame(columns=columns)
    if made["number"].duplicated().any() or made["case_id"].duplicated().any():
        raise UserError(f"the tables of {system} name a synthetic case twice: give each block's table once")
    if len(made) < count:
        raise UserError(
            f"ratio {ratio:g} of {n_real} real cases asks for {count} synthetic cases, but {system} has {len(made)}: "
            "make more (`snakemake synthetic`), loosen synthesis.gate, or lower the ratio"
        )
    return made.sort_values("number").iloc[:count]


def link_view(arm: Arm, pool: Path, view: Path) -> None:
    """Fill the folder `view` with links to the arm's own cases in the pool, so that training can read no other.

    Raises UserError that names the first file the pool lacks.
    """
    view.mkdir(parents=True)
    for pool_id in [*arm.real_ids, *arm.synthetic_ids, *arm.val_ids]:
        for file in pool_files(pool, pool_id):
            if not file.is_file():
                stage = "pool_synthetic" if pool_id in arm.synthetic_ids else "pool_real"
                raise UserError(f"the pool lacks {file}: run `snakemake -R {stage}`")
            (view / file.name).symlink_to(file.resolve())
