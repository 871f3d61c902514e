"""A cohort that a table names: a line a case, a column a file. For cases that no layout finds."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ..base.errors import BadCase, UserError
from ..base.given_tables import is_table, read_given
from ..study.dataset import Dataset
from ..study.voxels import MASK
from .layouts import TWICE, CaseFiles, find_cases, images_below, keep_apart, parts_of

CASE, PATIENT, COLUMN_OF_MASK = "case_id", "patient_id", "mask"


def listing(root: str | os.PathLike) -> str:
    """Digest of the names, sizes and times of the files that cases are read from: below a folder, or of a table."""
    digest = hashlib.sha256()
    for path in sorted({Path(root), *_named_files(Path(root))}) if is_table(root) else images_below(Path(root)):
        try:
            status = path.stat()
            known = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            known = "unreadable"
        digest.update(f"{os.path.relpath(path, root)}\0{known}\n".encode())
    return digest.hexdigest()[:32]


def _named_files(table: Path) -> list[Path]:
    rows = read_given(table, "data_root", (CASE, PATIENT, COLUMN_OF_MASK))
    return [
        table.parent / name for row in rows for column, name in row.items() if name and column not in (CASE, PATIENT)
    ]


def cases_of_table(
    table: Path, dataset: Dataset, modalities: Sequence[str], layout: str = "auto", annotated: bool = True
) -> tuple[list[CaseFiles], list[BadCase]]:
    """The cases that a table names, sorted by id, and those that lack a file or are named twice.

    table : with the columns case_id, patient_id, one for each modality, mask, and foreground where the data set's is a file;
        paths are those of 3D images, absolute or seen from the table's folder
    layout : that says what the labels mean; "auto" where all layouts of the data set say the same
    annotated : whether it names masks; else the column mask is not read

    Raises UserError if the table lacks a column or an entry, or the labels are not sure.
    """
    meaning = _meaning(dataset, layout, table) if annotated or layout != "auto" else next(iter(dataset.layouts))
    columns = {part: COLUMN_OF_MASK if part == MASK else part for part in parts_of(dataset, modalities, annotated)}
    found: dict[str, CaseFiles] = {}
    refused: list[BadCase] = []
    for row in read_given(table, "data_root", (CASE, PATIENT, *columns.values())):
        case_id = row[CASE]
        paths = {part: table.parent / row[column] for part, column in columns.items()}
        if case_id in found:
            refused.append(BadCase(case_id, table, "the case id is there more than once", TWICE, "duplicate"))
        elif missing := [path for path in paths.values() if not path.is_file()]:
            what = "Mend the path in the table: it is seen from the table's folder"
            refused.append(BadCase(case_id, missing[0], "the file is not there", what, "incomplete"))
        elif bad := set(case_id) & set("/\\{}\0"):
            what = f"the case id holds {sorted(bad)[0]!r}, which no file's name can hold"
            refused.append(BadCase(case_id, table, what, "Give it another id", "other"))
        else:
            found[case_id] = CaseFiles(case_id, row[PATIENT], meaning, paths)
    return keep_apart(list(found.values()), refused), refused


def cases_in(
    root: Path, dataset: Dataset, modalities: Sequence[str], layout: str = "auto", annotated: bool = True
) -> tuple[list[CaseFiles], list[BadCase], list[Path]]:
    """The cases of a table, or those below a folder: as `layouts.find_cases`, and raises as both do."""
    if is_table(root) and root.is_file():
        return *cases_of_table(root, dataset, modalities, layout, annotated), []
    return find_cases(root, dataset, modalities, layout, annotated)


def _meaning(dataset: Dataset, layout: str, table: Path) -> str:
    """The layout whose labels the masks have."""
    if layout != "auto":
        return layout
    first, *others = dataset.layouts
    if any(dataset.levels_of(name) != dataset.levels_of(first) for name in others):
        known = "\n".join(f"    layout: {name}   # {dataset.meaning_of(name)}" for name in dataset.layouts)
        raise UserError(f"{table} names files, not what their labels mean. Write one of\n{known}")
    return first
