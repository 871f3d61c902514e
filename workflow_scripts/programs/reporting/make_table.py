"""Make one table of the study: every number as CSV, and for readers as Markdown and LaTeX.

Config (--config): the settings that `reporting.registry` lists for the table.
"""

from importlib import import_module

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import write_text
from workflow_scripts.reporting.looks import use_looks
from workflow_scripts.reporting.registry import TABLE_INPUTS, TABLES, add_inputs, read_inputs


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, out="the CSV; .md and .tex are written beside it")
    parser.add_argument("--table", choices=TABLES, required=True, help="name of the table")
    add_inputs(parser, TABLE_INPUTS)
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    args = parser.parse_args(argv)
    use_looks(args.config.pop("looks", None))
    files = read_inputs(args, TABLES[args.table], TABLE_INPUTS)
    # by name: the digest of this program's code holds no table, and the rule adds that of its own
    table = import_module(f"workflow_scripts.reporting.tables.{args.table}").TABLE
    made = table.make(files, args.config)
    for suffix, text in table.texts(made, args.config, args.simulated).items():
        write_text(args.out.with_suffix(suffix), text)


if __name__ == "__main__":
    run_program(main)
