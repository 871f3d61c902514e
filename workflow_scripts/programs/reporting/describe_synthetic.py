"""Write the datasheet of a system's synthetic cases, croissant.json beside them: what they are, from whom, with which
audit. Config: of `study.settings.export.DatasheetSettings`.
"""

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import read_tsv, write_json
from workflow_scripts.reporting.datasheet import croissant
from workflow_scripts.study.settings.export import DatasheetSettings


def main(argv: list[str] | None = None) -> None:
    args = program_parser(
        __doc__,
        table="cases.tsv of the synthetic cases",
        rejected="rejected.tsv beside it",
        audit="memorisation_summary.tsv of the system",
        out="croissant.json",
    ).parse_args(argv)
    settings, tables = DatasheetSettings.read(args.config), map(read_tsv, (args.table, args.rejected, args.audit))
    write_json(args.out, croissant(settings, args.table, *tables))


if __name__ == "__main__":
    run_program(main)
