"""Which case each patch of a batch is cut from, where a mix is not drawn uniformly from the list of its cases."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.seeds import numpy_rng
from ..study.arms import REAL_SHARE, REPLACE, SYNTHETIC_FIRST
from ..study.settings.segmentation import Segmentation
from .arms import ArmCases


@dataclass(frozen=True)
class Draws:
    """Draws of a way of `study.arms.MIXING` other than `REPLACE`: a function of (seed, step).

    real_share : of each batch; exact where the batch holds a whole number of such patches, else on average over steps
    first_steps : that draw from the synthetic cases alone; the others draw from the real ones alone. None: there is a share
    """

    real_ids: tuple[str, ...]
    synthetic_ids: tuple[str, ...]
    seed: int
    real_share: float
    first_steps: int | None = None

    @classmethod
    def of(cls, cases: ArmCases, settings: Segmentation, steps: int) -> Draws | None:
        """Those of an arm that makes `steps` steps; None: the segmenter draws uniformly from ``cases.train_ids``."""
        arm = cases.arm
        if arm.mixing == REPLACE:
            return None
        assert arm.seed is not None
        first = round(settings.synthetic_first * steps) if arm.mixing == SYNTHETIC_FIRST else None
        return cls(cases.real_ids, cases.synthetic_ids, arm.seed, settings.real_share, first)

    def batch(self, step: int, size: int) -> list[str]:
        """Ids of `size` cases, with replacement, in an order that says nothing of who is real: a segmenter may treat the
        places of a batch differently, as nnU-Net does, which centres the last ones on a tumour."""
        rng = numpy_rng(self.seed, "cases of a mix", step)
        if self.first_steps is not None:
            n_real = 0 if step < self.first_steps else size
        else:
            n_real = int(size * self.real_share + rng.random())  # rounded up as often as the rest says
        real = [self.real_ids[index] for index in rng.integers(len(self.real_ids), size=n_real)]
        made = [self.synthetic_ids[index] for index in rng.integers(len(self.synthetic_ids), size=size - n_real)]
        return [(real + made)[place] for place in rng.permutation(size)]


def real_fraction(cases: ArmCases, settings: Segmentation) -> float:
    """Share of an arm's patches that come from real cases, on average."""
    if cases.arm.mixing == REAL_SHARE:
        return settings.real_share
    if cases.arm.mixing == SYNTHETIC_FIRST:
        return 1 - settings.synthetic_first
    listed = cases.train_ids
    return 1 - len(cases.synthetic_ids) / len(listed)
