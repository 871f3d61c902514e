"""The tables of a cohort: the cases found, the cases that passed, and the cases refused."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from ..base.cli import log
from ..base.errors import BadCase, UserError
from ..base.files import read_tsv
from ..study.dataset import Dataset
from .case import Case
from .layouts import CaseFiles, parts_of

OF_SHARDS = ("labels", "image_digest", "channel_digest")
"""Columns of the shards' tables that the cohort as a whole is looked at by, and that cases.tsv leaves out."""
REJECTED_COLUMNS = ("case_id", "file", "reason", "kind")


def path_columns(dataset: Dataset, modalities: Sequence[str]) -> list[str]:
    """case_id, patient_id, layout, a path for each part of a case, and a channel for each modality."""
    paths = [f"{name}_path" for name in parts_of(dataset, modalities)]
    return ["case_id", "patient_id", "layout", *paths, *(f"{name}_channel" for name in modalities)]


def case_columns(dataset: Dataset, modalities: Sequence[str]) -> list[str]:
    """The columns of cases.tsv and `OF_SHARDS`; volumes in ml on the case's own grid."""
    volumes = [f"{name}_ml" for name in (*dataset.regions, "foreground")]
    return [
        *path_columns(dataset, modalities),
        *volumes,
        "note",
        "content_digest",
        "mask_digest",
        "levels_digest",
        *OF_SHARDS,
    ]


def _path_row(case: CaseFiles, modalities: Sequence[str]) -> dict:
    row = {"case_id": case.case_id, "patient_id": case.patient_id, "layout": case.layout}
    row.update({f"{name}_path": str(path) for name, path in case.paths.items()})
    row.update({f"{name}_channel": case.channels.get(name) for name in modalities})
    return row


def _table(rows: Iterable[dict], columns: Sequence[str]) -> pd.DataFrame:
    return _with_channels(pd.DataFrame(list(rows), columns=list(columns)))


def _with_channels(table: pd.DataFrame) -> pd.DataFrame:
    """The table with channels as whole numbers that may be empty."""
    return table.astype({name: "Int64" for name in table.columns if name.endswith("_channel")})


def found_table(cases: Iterable[CaseFiles], dataset: Dataset, modalities: Sequence[str]) -> pd.DataFrame:
    """A row a case that was found: its ids, layout, paths and channels."""
    return _table((_path_row(case, modalities) for case in cases), path_columns(dataset, modalities))


def files_of(row: dict, dataset: Dataset, modalities: Sequence[str], beside: Path = Path()) -> CaseFiles:
    """The files of one row of found.tsv or cases.tsv; paths that are not absolute are seen from the folder `beside`.

    Raises UserError if a modality has no column there.
    """
    try:
        paths = {name: Path(beside, row[f"{name}_path"]) for name in parts_of(dataset, modalities)}
    except KeyError as error:
        raise UserError(f"the table of cases has no column {error}: run `snakemake -R find_cases`") from None
    channels = {name: row.get(f"{name}_channel") for name in modalities}
    channels = {name: int(index) for name, index in channels.items() if pd.notna(index)}
    return CaseFiles(row["case_id"], row["patient_id"], row["layout"], paths, channels)


def join_tables(paths: Sequence[str]) -> pd.DataFrame:
    """All tables of shards below each other, sorted by case id; with empty ones the columns stay."""
    tables = [read_tsv(path) for path in paths]
    filled = [_with_channels(table) for table in tables if not table.empty]
    joined = pd.concat(filled, ignore_index=True) if filled else tables[0]
    return joined.sort_values("case_id", kind="stable", ignore_index=True)


def case_row(files: CaseFiles, case: Case) -> dict:
    """The row of a case that passed the checks. Keeps no array of it."""
    row = {"note": "; ".join(case.notes), "labels": " ".join(f"{name}:{count}" for name, count in case.labels.items())}
    row |= {f"{name}_digest": digest for name, digest in case.digests.items()}
    return {**_path_row(files, list(case.values)), **case.volumes_ml(), **row}


def passed_table(rows: Iterable[dict], dataset: Dataset, modalities: Sequence[str]) -> pd.DataFrame:
    """A table of `case_row`s."""
    return _table(rows, case_columns(dataset, modalities))


def refuse_copies(cases: pd.DataFrame) -> tuple[pd.DataFrame, list[BadCase]]:
    """Keep the first case of each id and of each set of images; the others come back as BadCase."""
    copies = []
    for column, what in (("case_id", "the case id is there more than once"), ("content_digest", "")):
        kept = cases.drop_duplicates(column)
        first = dict(zip(kept[column], kept["case_id"], strict=True))
        doubled = cases.duplicated(column)
        for row in cases[doubled].to_dict("records"):
            twin = first[row[column]]
            reason = what or f"its images are those of case {twin}, voxel by voxel"
            remedy = f"Case {twin} is kept; remove one of them"
            copies.append(BadCase(row["case_id"], row["seg_path"], reason, remedy, "duplicate"))
        cases = cases[~doubled]
    return cases.reset_index(drop=True), copies


@contextmanager
def refusals(refused: list[BadCase], on_bad_case: str) -> Iterator[None]:
    """What is raised of one case goes to `refused` and the log; with `on_bad_case` "fail" it ends the program."""
    try:
        yield
    except BadCase as bad:
        if on_bad_case == "fail":
            raise
        log.info("refused: %s", bad)
        refused.append(bad)


def rejected_table(refused: Iterable[BadCase]) -> pd.DataFrame:
    """A row a refused case: case_id, file, reason (what is wrong, and what to do), kind."""
    rows = [(bad.case_id, bad.file, ". ".join(filter(None, (bad.reason, bad.remedy))), bad.kind) for bad in refused]
    return pd.DataFrame(rows, columns=list(REJECTED_COLUMNS))
