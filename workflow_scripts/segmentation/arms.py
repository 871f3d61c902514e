"""Which cases an arm of the study trains on: a choice of ids from the pool, and the proof that it leaks none."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..base.errors import UserError
from ..study.arms import CEILING, REAL_ONLY, RECONSTRUCTIONS, Arm, synthetic_count
from .segmenter import Plan, files_digest, pool_suffixes


@dataclass(frozen=True)
class ArmCases:
    """The cases of an arm, by their ids in the pool."""

    arm: Arm
    real_ids: tuple[str, ...]
    others_ids: tuple[str, ...]  # real patients beside the train subset, of a ceiling
    synthetic_ids: tuple[str, ...]
    val_ids: tuple[str, ...]
    digests: tuple[str, ...]  # of the preprocessed cases, in the order of real, other, synthetic and val ids

    @property
    def train_ids(self) -> list[str]:
        """The list that a segmenter draws from."""
        return [*self.real_ids * self.arm.copies, *self.others_ids, *self.synthetic_ids]

    @property
    def of_ladder(self) -> tuple[str, ...]:
        """Those of the pool that belongs to the ladder."""
        return self.others_ids or (self.synthetic_ids if self.arm.of_ladder else ())

    @property
    def in_pool(self) -> list[str]:
        """Those of the pool that all arms share."""
        return [*self.real_ids, *(() if self.arm.of_ladder else self.synthetic_ids), *self.val_ids]


def choose_cases(
    arm: Arm, plan: Plan, real: pd.DataFrame, synthetic: list[pd.DataFrame], others: pd.DataFrame | None = None
) -> ArmCases:
    """The cases of an arm.

    Real cases are all of the train subset (none if it is synthetic only); synthetic ones the first ratio x n_real by
    number, so that a smaller ratio's cases are the first of a larger one's.

    real : table of ``pool_real`` (case_id, split, digest)
    synthetic : tables of ``pool_synthetic`` (case_id, number, digest)
    others : of an arm of the ladder the other patients, or their reconstructions (case_id, digest); it takes all of them

    Raises UserError if there are too few synthetic cases, if the plan was made from other cases, or if a case would
    both train and validate.
    """
    if plan.segmenter != arm.segmenter:
        raise UserError(f"the plan is one of {plan.segmenter}, not {arm.segmenter}: give that segmenter's plan")
    if plan.n_real != arm.n_real:
        raise UserError(f"the plan was made for n_real {plan.n_real}, not {arm.n_real}: give that train size's plan")
    train, val = (real[real["split"] == split] for split in ("train", "val"))
    if set(train["case_id"]) != set(plan.training_case_ids):
        raise UserError(
            "the pool's training cases are not those the plan was made from: run `snakemake -R plan_segmentation pool_real`"
        )
    if shared := sorted(set(train["case_id"]) & set(val["case_id"])):
        raise UserError(f"case {shared[0]} is both a training and a validation case: run `snakemake -R pool_real`")
    if val.empty:
        raise UserError("there is no validation case: set splits.val to 1 or more")
    if arm.of_ladder == (others is None):
        raise UserError(
            f"{arm.name}: the other patients, --others, go with the arms {CEILING} and {RECONSTRUCTIONS} alone"
        )
    further = real.iloc[:0] if others is None else others.sort_values("case_id")
    if shared := sorted(set(further["case_id"]) & set(real["case_id"])):
        raise UserError(
            f"case {shared[0]} is among the arm's own and the other patients: run `snakemake -R split_cohort`"
        )
    made = further if arm.control == RECONSTRUCTIONS else _first_by_number(synthetic, arm)
    further = further if arm.control == CEILING else real.iloc[:0]
    used = train.iloc[:0] if arm.synthetic_only else train.sort_values("case_id")
    if overlap := sorted(set(made["case_id"]) & set(real["case_id"])):
        raise UserError(f"synthetic case {overlap[0]} has the id of a real case: give the system another name")
    val = val.sort_values("case_id")
    return ArmCases(
        arm,
        real_ids=tuple(used["case_id"]),
        others_ids=tuple(further["case_id"]),
        synthetic_ids=tuple(made["case_id"]),
        val_ids=tuple(val["case_id"]),
        digests=(*used["digest"], *further["digest"], *made["digest"], *val["digest"]),
    )


def _first_by_number(tables: list[pd.DataFrame], arm: Arm) -> pd.DataFrame:
    columns = ["case_id", "number", "digest"]
    made = pd.concat([pd.DataFrame(columns=columns), *(table[columns] for table in tables)])
    if arm.system == REAL_ONLY:
        return made.iloc[:0]
    count, asked = synthetic_count(arm.n_real, arm.ratio), f"ratio {arm.ratio:g} of {arm.n_real} real cases"
    if not count:
        raise UserError(f"{asked} is no synthetic case at all: remove it from segmentation.ratios")
    if made["number"].duplicated().any() or made["case_id"].duplicated().any():
        raise UserError(f"the tables of {arm.system} name a synthetic case twice: give each block's table once")
    if len(made) < count:
        raise UserError(
            f"{asked} asks for {count} synthetic cases, but {arm.system} has {len(made)}: "
            "make more (`snakemake synthetic`), loosen synthesis.gate, or lower the ratio"
        )
    return made.sort_values("number").iloc[:count]


def link_view(
    cases: ArmCases, pool: Path, pool_ids: Sequence[str], view: Path, digests: Mapping[str, str], threads: int = 1
) -> None:
    """Fill the folder `view` with links to cases of an arm in a pool, so that training can read no other.

    pool_ids : its cases in this pool
    digests : of each case's files, by its id in the pool

    Raises UserError that names the first case of which the pool lacks a file, or has another than the tables say.
    """
    segmenter = cases.arm.segmenter
    for pool_id in pool_ids:
        for suffix in pool_suffixes(segmenter):
            file = pool / f"{pool_id}{suffix}"
            if not file.is_file():
                raise UserError(f"the pool lacks {file}: run `snakemake -R {_pooled_by(cases, pool_id)}`")
            (view / file.name).symlink_to(file.resolve())
    with ThreadPoolExecutor(max(1, threads)) as workers:
        found = workers.map(lambda pool_id: files_digest(segmenter, pool, pool_id), pool_ids)
        for pool_id, digest in zip(pool_ids, found, strict=True):
            if digest != digests[pool_id]:
                raise UserError(
                    f"case {pool_id}: its files {pool / pool_id}* have changed since they were made: "
                    f"run `snakemake -R {_pooled_by(cases, pool_id)}`"
                )


def _pooled_by(cases: ArmCases, pool_id: str) -> str:
    """The rule that puts a case into the pool."""
    if pool_id in cases.of_ladder:
        return "pool_others" if cases.others_ids else "pool_reconstructions"
    return "pool_synthetic" if pool_id in cases.synthetic_ids else "pool_real"
