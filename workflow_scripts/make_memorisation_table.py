"""Make the memorisation table from the audits of all systems: <out-stem>.csv, .md and .tex."""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import read_tsv, write_text
from workflow_scripts.reporting.tables.cells import to_csv
from workflow_scripts.reporting.tables.memorisation import (
    TITLE,
    memorisation_notes,
    memorisation_table,
    memorisation_warnings,
    readable_memorisation,
)
from workflow_scripts.reporting.tables.systems import to_latex, to_markdown


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    import pandas as pd

    parser = program_parser(__doc__)
    parser.add_argument("--summaries", nargs="+", required=True, help="memorisation_summary.tsv of all systems")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out-stem", type=Path, required=True, help="path of the tables, without suffix")
    args = parser.parse_args(argv)
    settings = {"confidence": 0.95} | args.config
    summary = pd.concat([read_tsv(file) for file in args.summaries], ignore_index=True)
    table = memorisation_table(summary, settings["confidence"])
    parts = [("Nearest training cases", readable_memorisation(table))]
    notes = memorisation_warnings(table) + memorisation_notes(table)
    write_text(f"{args.out_stem}.csv", to_csv(table))
    write_text(f"{args.out_stem}.md", to_markdown(TITLE, parts, notes, args.simulated))
    write_text(f"{args.out_stem}.tex", to_latex(TITLE, parts, notes, args.simulated, text_columns=4))


if __name__ == "__main__":
    run_program(main)
