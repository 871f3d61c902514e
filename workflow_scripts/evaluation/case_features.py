"""The feature network of the image metrics on one grid: what decides the features of a case, and the features."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from ..base.errors import UserError
from ..models.image_networks import load_image_network
from ..study.settings.evaluation import ImageFeatures
from ..training.devices import default_device
from .feature_files import settings_digest
from .image_features import case_features, fitting_slice_size

PROVENANCE = ("settings_digest", "modalities", "feature_network", "slice_size", "weights_sha256")
"""Columns of a table of cases by which features are known to be comparable."""


class CaseFeatures:
    """Features of volumes on one grid: image (M, D, H, W) in [-1, 1] -> {plane: float16 (M, n, F)}.

    planes : list of str
        Those of the settings; ["volume"] of a network that sees whole volumes.
    digest : str
        Of all that decides the features, which names the folder of their files.
    provenance : dict
        PROVENANCE and their values.
    """

    def __init__(self, settings: ImageFeatures, meta: Mapping):
        """meta: modalities, size, spacing_mm of the grid.

        Raises UserError for weights that are missing or do not fit.
        """
        network = load_image_network(settings.network, settings.weights, settings.sha256)
        whole = network.spatial_dims == 3
        size = 0 if whole else network.input_size or fitting_slice_size(meta["size"])
        ways = {"min_foreground_fraction": settings.min_foreground_fraction, "slice_step_mm": settings.slice_step_mm}
        of_slices = {} if whole else {**ways, "slice_size": size}
        grid = {key: meta[key] for key in ("modalities", "size", "spacing_mm")}
        self.planes = ["volume"] if whole else list(settings.planes)
        self.digest = settings_digest(
            network=network.name, weights=network.digest, planes=sorted(self.planes), **of_slices, **grid
        )
        values = (self.digest, "+".join(meta["modalities"]), network.name, size, network.digest)
        self.provenance = dict(zip(PROVENANCE, values, strict=True))
        self._device = default_device()
        self._network = network.to(self._device, memory_format=torch.channels_last_3d if whole else torch.channels_last)
        self._settings, self._spacing_mm, self._size = settings, meta["spacing_mm"], size

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Raises UserError where features are not finite."""
        return case_features(
            self._network, image, self.planes, self._spacing_mm, self._settings.min_foreground_fraction,
            self._settings.slice_step_mm, self._settings.batch_size, self._device, self._size,
        )  # fmt: skip


def check_same_settings(real: Mapping, made: Mapping) -> None:
    """Raises UserError, which names the first of PROVENANCE in which the features of two sets differ."""
    for name in PROVENANCE:
        if real[name] != made[name]:
            raise UserError(
                f"real and synthetic image features differ in {name} ({real[name]} and {made[name]}): run "
                "`snakemake -R extract_real_features extract_synthetic_features`"
            )


def slice_counts(rows: pd.DataFrame, case_ids: list[str], planes: list[str]) -> dict[str, dict[str, int]]:
    """{plane: {case_id: slices}} of a table of cases, whose index is the case_id."""
    return {plane: {case: int(rows.at[case, f"{plane}_slices"]) for case in case_ids} for plane in planes}
