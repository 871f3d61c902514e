"""The data set that most tests are about, by its own names."""

from __future__ import annotations

from workflow_scripts.study.conditions import condition_names
from workflow_scripts.study.dataset import read_dataset

DATASET = read_dataset("brats")
MODALITIES, REGIONS = tuple(DATASET.modalities), tuple(DATASET.regions)
CONDITIONS = tuple(condition_names(REGIONS))
WRITTEN = DATASET.written
ALL_PARTS = DATASET.model_dump(mode="json")  # what a rule hands a program, and more
LOOKS = {key: ALL_PARTS[key] for key in ("region_names", "region_colours")}
