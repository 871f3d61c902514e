"""Which cases a stage may read: the one reader of ``splits.json``."""

from __future__ import annotations

import os
from itertools import combinations

from ..base.errors import UserError
from ..base.files import read_json


def read_splits(path: str | os.PathLike) -> dict:
    """Read ``splits.json`` and check it. Raises UserError if a key is missing or a case stands in two sets."""
    splits = read_json(path)
    missing = [key for key in ("test", "val", "train") if key not in splits]
    if missing:
        raise UserError(f"{path} has no {', '.join(missing)}: run `snakemake -R split_cohort`")
    sets = {"test": set(splits["test"]), "val": set(splits["val"])}
    sets["train"] = set().union(*splits["train"].values())
    for (one, first), (other, second) in combinations(sets.items(), 2):
        if shared := sorted(first & second):
            raise UserError(f"{path}: case {shared[0]} is in both {one} and {other}; a case belongs to one set")
    return splits


def train_ids(splits: dict, n_real: int) -> list[str]:
    """Case ids of the train subset of `n_real` patients, all their time points.

    Raises UserError, naming the sizes there are, if the splits have no such subset.
    """
    try:
        return list(splits["train"][str(n_real)])
    except KeyError:
        sizes = ", ".join(splits["train"])
        raise UserError(
            f"the splits hold no train subset of {n_real} patients, only {sizes}: "
            f"add {n_real} to n_real in the config and run `snakemake -R split_cohort`"
        ) from None


def val_ids(splits: dict) -> list[str]:
    """Case ids of the validation set, shared by all train subsets."""
    return list(splits["val"])


def test_ids(splits: dict) -> list[str]:
    """Case ids of the test set: read by scoring and evaluation alone, never by anything that trains."""
    return list(splits["test"])


test_ids.__test__ = False  # pytest collects names that start with "test"
