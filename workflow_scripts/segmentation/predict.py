"""A predicted case as labels, back on the grid it came on."""

import numpy as np

from ..cohort.geometry import to_source_grid
from ..cohort.regions import channels_to_levels
from .segmenter import Predictor


def predicted_labels(predictor: Predictor, regions: list[str], image: np.ndarray, meta: dict) -> np.ndarray:
    """Labels (X, Y, Z) uint8, as the data set writes them, on the grid the case came on.

    Probabilities are resampled, not labels; regions are those above 0.5, each within the one that encloses it.
    """
    found = to_source_grid(predictor.probabilities(image, meta["spacing_mm"]), meta)  # (R, X, Y, Z)
    labels = np.asarray(meta["written"]["labels"], dtype=np.uint8)
    return labels[channels_to_levels(found, regions)]
