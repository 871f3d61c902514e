"""Make one table of the study: every number as CSV, and for readers as Markdown and LaTeX.

Config (--config): the settings that `reporting.registry` lists for the table.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_text
from workflow_scripts.reporting.registry import INPUTS, TABLES


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--table", choices=TABLES, required=True, help="name of the table")
    for name, words in INPUTS.items():
        parser.add_argument(f"--{name}", nargs="+", type=Path, help=words)
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out", type=Path, required=True, help="the CSV; .md and .tex are written beside it")
    args = parser.parse_args(argv)
    files = {name: getattr(args, name) for name in TABLES[args.table].inputs}
    if missing := [f"--{name} ({INPUTS[name]})" for name, found in files.items() if not found]:
        raise UserError(f"the table {args.table} is made of {', '.join(missing)} too")
    # by name: the digest of this program's code holds no table, and a rule adds that of its own (`code_of_table`)
    table = import_module(f"workflow_scripts.reporting.tables.{args.table}").TABLE
    made = table.make(files, args.config)
    for suffix, text in table.texts(made, args.config, args.simulated).items():
        write_text(args.out.with_suffix(suffix), text)


if __name__ == "__main__":
    run_program(main)
