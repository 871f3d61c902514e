"""The changed copies of the training cases, of whose latents a generator learns beside those of the cases themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..base.seeds import numpy_rng
from ..cohort.tumours import measure
from ..cohort.volumes import VolumeStore
from ..study.conditions import condition_names
from ..study.settings.autoencoder import LatentsStage
from .augmentation import Change, changed

LEAST_KEPT = 0.8  # of the tumour's volume: less of it inside the grid, and another change is drawn
ATTEMPTS = 20


@dataclass(frozen=True)
class Variant:
    """A changed copy: image (M, D, H, W), levels (D, H, W); its measured conditions (F,) and label (N_LABELS,), float32."""

    image: np.ndarray
    levels: np.ndarray
    conditions: Tensor
    label: Tensor


def variants_of(store: VolumeStore, case_id: str, regions: Sequence[str], settings: LatentsStage) -> Iterator[Variant]:
    """The ``settings.variants - 1`` changed copies of a case, functions of (seed, case, number).

    The first is mirrored alone, where flips are allowed. A change that moves more of the tumour out of the grid than
    `LEAST_KEPT` allows is drawn again; after `ATTEMPTS` it is the case itself.
    """
    image, levels, spacing_mm = store.image(case_id), store.levels(case_id), store.meta(case_id)["spacing_mm"]
    names, augmentation = condition_names(regions), settings.augmentation
    voxels = np.count_nonzero(levels)
    for number in range(1, settings.variants):
        for attempt in range(ATTEMPTS + 1):
            rng = numpy_rng(settings.seed, "variant", case_id, number, attempt)
            change = Change.draw(rng, augmentation)
            if (number == 1 and augmentation.flip) or attempt == ATTEMPTS:
                change = Change.none(flipped=number == 1 and augmentation.flip)
            moved, mask = changed(image, levels, spacing_mm, change, augmentation)
            scale = 1.0 + augmentation.scaling * float(change.amounts[3])
            if np.count_nonzero(mask) >= LEAST_KEPT * voxels * scale**3 and mask.any():
                break
        measured = measure(mask, spacing_mm, regions)
        conditions = torch.tensor([measured[name] for name in names], dtype=torch.float32)
        yield Variant(moved, mask, conditions, torch.from_numpy(change.amounts))
