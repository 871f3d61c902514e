"""Which finished synthetic cases are refused as copies of training cases."""

import numpy as np

from ..base.errors import UserError
from ..diffusion.gate import Reason
from ..study.generators import KINDS
from .reference import Reference
from .tumour_view import CASES, TUMOURS

COPY_REASON = "a copy of training case"  # how the gate's sentence begins
COPY_KIND = "copy of a training case (memorisation)"


def is_copy_reason(reason: str) -> bool:
    """Whether a draw was refused as a copy of a training case: `reason` as in rejected.tsv."""
    return COPY_REASON in reason


class CopyGate:
    """Says of a finished case whether it is a copy of a training case, by thresholds of the training cases alone.

    Raises UserError if the reference is not the training set of the model whose `contract` is given.
    """

    def __init__(self, reference: Reference, false_positive_rate: float, contract: dict):
        own, grid = set(contract["training_case_ids"]), contract["grid"]
        if own != set(reference.case_ids):
            raise UserError(
                f"the model {contract['name']} was trained on {len(own)} cases that are not the {len(reference.case_ids)} "
                "of the memorisation reference: give the reference of the same train subset"
            )
        expected = (contract["modalities"], list(grid["size"]), list(grid["spacing_mm"]))
        if expected != tuple(reference.description[key] for key in ("modalities", "size", "spacing_mm")):
            raise UserError(f"the model {contract['name']} and the memorisation reference differ in modalities or grid")
        compared = TUMOURS if KINDS[contract["generator"]["kind"]].hosts else CASES
        if compared != reference.description["compared"]:
            raise UserError(
                f"of the model {contract['name']} {compared} are compared with training cases, but the memorisation reference "
                f"is of {reference.description['compared']}: give n_real~*/memorisation/{compared}"
            )
        self.reference, self.limits = reference, reference.own_limits(false_positive_rate)
        self._of = ", its tumour" if reference.description["compared"] == TUMOURS else ""

    def __call__(self, image: np.ndarray, levels: np.ndarray) -> list[Reason]:
        """Reasons to refuse a case, none or one: image (M, D, H, W) in [-1, 1], background exactly -1; levels (D, H, W)."""
        image, _ = self.reference.view(image, levels)
        found, _ = self.reference.nearest_image(self.reference.coarse_image(image))
        if not self.limits.exceeded(found.margin):
            return []
        sentence = (
            f"{COPY_REASON} {self.reference.case_ids[found.index]}{self._of}: similarity {found.similarity:.3f}, which stands out "
            f"from the other patients by a margin of {found.margin:.3f}; among training patients it is at most "
            f"{self.limits.margin.value:.3f} (false_positive_rate)"
        )
        return [Reason(sentence, COPY_KIND)]
