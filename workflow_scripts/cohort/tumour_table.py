"""Tumours of preprocessed cases, measured."""

from collections.abc import Sequence

from ..base.errors import BadCase, UserError
from .tumours import measure, pieces_of
from .volumes import VolumeStore


def measure_case(store: VolumeStore, case_id: str, regions: Sequence[str]) -> dict:
    """The row of a case: case_id, its conditions, foreground_volume_ml, largest_piece_fraction. Raises BadCase for an empty mask."""
    meta = store.meta(case_id)
    levels = store.levels(case_id)
    try:
        measured = measure(levels, meta["spacing_mm"], regions)
    except UserError as error:
        file = store.folder / f"{case_id}.levels.npy"
        raise BadCase(case_id, file, str(error), "Run `snakemake -R preprocess`") from None
    measured["foreground_volume_ml"] = meta["foreground_volume_ml"]
    return {"case_id": case_id, **measured, "largest_piece_fraction": pieces_of(levels >= 1)[1]}
