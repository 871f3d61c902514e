"""Gather the scores of all arms and seeds in one table."""

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import write_tsv
from workflow_scripts.evaluation.scores import read_scores


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, scores="table of all their rows")
    parser.add_argument("--dice", nargs="+", required=True, help="dice.tsv of every arm and seed")
    args = parser.parse_args(argv)
    write_tsv(args.scores, read_scores(args.dice))


if __name__ == "__main__":
    run_program(main)
