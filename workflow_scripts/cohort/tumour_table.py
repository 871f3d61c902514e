"""Tumours of preprocessed cases, measured."""

from collections.abc import Sequence

from ..base.errors import BadCase, UserError
from .tumours import measure
from .volumes import VolumeStore


def measure_case(store: VolumeStore, case_id: str, regions: Sequence[str]) -> dict:
    """The row of a case: case_id, its conditions, foreground_volume_ml. Raises BadCase for an empty mask."""
    meta = store.meta(case_id)
    try:
        measured = measure(store.levels(case_id), meta["spacing_mm"], regions)
    except UserError as error:
        file = store.folder / f"{case_id}.levels.npy"
        raise BadCase(case_id, file, str(error), "Run `snakemake -R preprocess`") from None
    return {"case_id": case_id, **measured, "foreground_volume_ml": meta["foreground_volume_ml"]}
