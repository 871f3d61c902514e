"""Find the cases below a folder by file name, and write their paths. Images are not opened.

Config: {"dataset": {...}, "modalities": [...], "layout": "auto", "on_bad_case": "reject"}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.cohort.layouts import find_cases
from workflow_scripts.cohort.tables import found_table, rejected_table
from workflow_scripts.study.settings.cases import FindSettings


def main(argv: Sequence[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--data-root", required=True, help="folder of the cohort")
    parser.add_argument("--out", required=True, help="found.tsv to write: a row a case, its paths")
    parser.add_argument("--rejected", required=True, help="table to write: a row a refused case, file and reason")
    args = parser.parse_args(argv)
    settings = FindSettings.read(args.config)
    dataset, modalities = settings.dataset, settings.modalities
    root = Path.cwd() / args.data_root  # not resolve(): paths stay as given, links are not replaced
    found, refused, unused = find_cases(root, dataset, modalities, settings.layout)
    if refused and settings.on_bad_case == "fail":
        raise refused[0]
    if not found:
        raise UserError(f"{root} holds no complete case. The first of {len(refused)} refused: {refused[0]}")
    write_tsv(args.rejected, rejected_table(refused))
    write_tsv(args.out, found_table(found, dataset, modalities))
    if unused:
        log.info("%d NIfTI files belong to no case and are left out, for example %s", len(unused), unused[0])
    kinds = sorted({case.layout for case in found})
    log.info("%d cases found (%s), %d refused, under %s", len(found), ", ".join(kinds), len(refused), root)


if __name__ == "__main__":
    run_program(main)
