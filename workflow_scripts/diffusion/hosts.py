"""Patients of the train subset in whom a tumour is wanted: which one a case is made in, and its volumes."""

from dataclasses import dataclass, replace

import numpy as np

from ..base.errors import UserError
from ..cohort.subset import Subset
from ..training.orders import Order


@dataclass(frozen=True)
class Host:
    """A patient in whom a tumour is wanted.

    image: float32 (M, D, H, W) in [-1, 1], background exactly -1; levels: uint8 (D, H, W); affine: voxel (w, h, d) to RAS
    mm, 4 x 4.
    """

    case_id: str
    image: np.ndarray
    levels: np.ndarray
    affine: np.ndarray

    @property
    def foreground(self) -> np.ndarray:
        """bool (D, H, W)"""
        return np.asarray((self.image > -1.0).any(axis=0))


def flipped(case: Host) -> Host:
    """The case mirrored left to right on its grid."""
    return replace(case, image=case.image[..., ::-1].copy(), levels=case.levels[..., ::-1].copy())


class Hosts:
    """The cases of a train subset, read as they are asked for.

    seed : of the order in which they are drawn
    contract : of the generator. Raises UserError if it was trained on other cases than those of `train`.
    """

    def __init__(self, train: Subset, seed: int, contract: dict):
        if train.case_ids != sorted(contract["training_case_ids"]):
            raise UserError(
                f"{train.manifest} lists other cases than {contract['name']} was trained on: give the manifest of its "
                "train subset"
            )
        self.case_ids, self._store, self._rows = train.case_ids, train.store, train.rows
        self._order = Order(seed, "hosts", len(train.case_ids))

    def __getitem__(self, case_id: str) -> Host:
        image = np.asarray(self._store.image(case_id), dtype=np.float32)
        levels, meta = np.array(self._store.levels(case_id)), self._store.meta(case_id)
        return Host(case_id, image, levels, np.asarray(meta["affine"], dtype=np.float64))

    def patient_of(self, case_id: str) -> str:
        """Whose case it is."""
        return self._rows[case_id]["patient_id"]

    def drawn(self, number: int, attempt: int = 0) -> Host:
        """The host of case `number`: each of the subset once in as many cases. A further attempt tries the next one."""
        first = int(self._order[np.array([number])][0])
        return self[self.case_ids[(first + attempt) % len(self.case_ids)]]
