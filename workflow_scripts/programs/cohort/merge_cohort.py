"""Join the shards to cases.tsv and rejected.tsv, and look at the cohort as a whole: copies, patients, labels.

Cases whose images are those of another case are refused; what is odd or only suspected is written to remarks.tsv.
Config: {"dataset": {...}, "on_bad_case": "reject", "layout": "auto", "patients": false}: "fail" stops if any case was
refused; patients: a table of the user says who they are.
"""

from collections.abc import Sequence

import pandas as pd

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.cohort.channels import swapped_channels
from workflow_scripts.cohort.identity import join_patients
from workflow_scripts.cohort.plausibility import check_labels
from workflow_scripts.cohort.tables import OF_SHARDS, REJECTED_COLUMNS, join_tables, refuse_copies, rejected_table
from workflow_scripts.study.settings.cases import JoinSettings

MOST_LOGGED = 20


def main(argv: Sequence[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--shards", nargs="+", required=True, help="tables of passed cases")
    parser.add_argument(
        "--rejected-shards", nargs="+", required=True, help="tables of refused cases, of find_cases too"
    )
    parser.add_argument("--cases", required=True, help="cases.tsv to write")
    parser.add_argument("--rejected", required=True, help="rejected.tsv to write")
    parser.add_argument("--remarks", required=True, help="table to write: what is odd about the whole cohort")
    args = parser.parse_args(argv)
    settings = JoinSettings.read(args.config)
    cases, copies = refuse_copies(join_tables(args.shards))
    rejected = pd.concat([join_tables(args.rejected_shards), rejected_table(copies)], ignore_index=True)
    rejected = rejected[list(REJECTED_COLUMNS)].sort_values("case_id", kind="stable", ignore_index=True)
    if len(rejected) and settings.on_bad_case == "fail":
        first = rejected.iloc[0]
        raise BadCase(first.case_id, first.file, first.reason, kind=first.kind)
    if cases.empty:
        first = " ".join(f"The first: {row.case_id}: {row.reason} ({row.file})" for row in rejected[:1].itertuples())
        raise UserError(f"no case is left: {len(rejected)} were refused. {first}")
    remarks = check_labels(cases, settings.dataset, settings.layout)
    cases, suspected = join_patients(cases, settings.patients)
    cases, swapped = swapped_channels(cases)
    remarks += suspected + swapped
    for remark in remarks[:MOST_LOGGED]:
        log.warning("%s", remark)
    if len(remarks) > MOST_LOGGED:
        log.warning("and %d more remarks: %s", len(remarks) - MOST_LOGGED, args.remarks)
    write_tsv(args.remarks, pd.DataFrame({"note": remarks}, dtype=str))
    write_tsv(args.rejected, rejected)
    write_tsv(args.cases, cases.drop(columns=list(OF_SHARDS)))
    log.info("%d cases pass, %d are refused (%s)", len(cases), len(rejected), args.rejected)


if __name__ == "__main__":
    run_program(main)
