"""Find the cases below a folder by file name, or in a table, and write their paths. Images are not opened.

Config: {"dataset": {...}, "modalities": [...], "layout": "auto", "on_bad_case": "reject"}
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.cohort.case_table import cases_in
from workflow_scripts.cohort.identity import read_patients
from workflow_scripts.cohort.layouts import CaseFiles
from workflow_scripts.cohort.tables import found_table, rejected_table
from workflow_scripts.study.settings.cases import FindSettings


def main(argv: Sequence[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--data-root", required=True, help="folder of the cohort, or a table that names its files")
    parser.add_argument("--out", required=True, help="found.tsv to write: a row a case, its paths")
    parser.add_argument("--rejected", required=True, help="table to write: a row a refused case, file and reason")
    parser.add_argument("--patients", type=Path, help="table of case_id and patient_id, which decides who is who")
    parser.add_argument("--movable", action="store_true", help="cases that move with the table: paths as seen from it")
    args = parser.parse_args(argv)
    settings = FindSettings.read(args.config)
    dataset, modalities = settings.dataset, settings.modalities
    root = Path.cwd() / args.data_root  # not resolve(): paths stay as given, links are not replaced
    found, refused, unused = cases_in(root, dataset, modalities, settings.layout)
    if args.patients is not None:
        found = _of_table(found, args.patients, refused)
    if refused and settings.on_bad_case == "fail":
        raise refused[0]
    if not found:
        raise UserError(f"{root} holds no complete case. The first of {len(refused)} refused: {refused[0]}")
    if args.movable:
        found = [_as_seen_from(Path.cwd() / args.out, case) for case in found]
    write_tsv(args.rejected, rejected_table(refused))
    write_tsv(args.out, found_table(found, dataset, modalities))
    if unused:
        log.info("%d NIfTI files belong to no case and are left out, for example %s", len(unused), unused[0])
    kinds = sorted({case.layout for case in found})
    log.info("%d cases found (%s), %d refused, under %s", len(found), ", ".join(kinds), len(refused), root)


def _as_seen_from(table: Path, case: CaseFiles) -> CaseFiles:
    return replace(case, paths={name: Path(os.path.relpath(path, table.parent)) for name, path in case.paths.items()})


def _of_table(found: list[CaseFiles], path: Path, refused: list[BadCase]) -> list[CaseFiles]:
    """The cases with the patients of the user's table; a case that it lacks goes to `refused`."""
    patients, kept = read_patients(path), []
    for case in found:
        if case.case_id in patients:
            kept.append(replace(case, patient_id=patients[case.case_id]))
        else:
            what = "the table of patients lacks this case"
            refused.append(BadCase(case.case_id, path, what, f"Add a line: {case.case_id},<patient>", "incomplete"))
    return kept


if __name__ == "__main__":
    run_program(main)
