"""Make the augmentation-ratio table from the scores of all arms: <out-stem>.csv, .md and .tex; and one table of all scores."""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import write_text, write_tsv
from workflow_scripts.evaluation.arms import read_scores
from workflow_scripts.evaluation.statistics.ratio_table import ratio_table
from workflow_scripts.reporting.tables.cells import to_csv
from workflow_scripts.reporting.tables.ratio import to_latex, to_markdown


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--dice", nargs="+", required=True, help="dice.tsv of every arm and seed")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out-stem", type=Path, required=True, help="path of the tables, without suffix")
    parser.add_argument("--scores", type=Path, help="table of all rows of the dice.tsv; none where left out")
    args = parser.parse_args(argv)
    settings = {"bootstrap_samples": 2000, "confidence": 0.95, "power": 0.8, "seed": 0} | args.config
    scores = read_scores(args.dice)
    if args.scores:
        write_tsv(args.scores, scores)
    table = ratio_table(scores, **settings)
    write_text(f"{args.out_stem}.csv", to_csv(table))
    write_text(f"{args.out_stem}.md", to_markdown(table, args.simulated))
    write_text(f"{args.out_stem}.tex", to_latex(table, args.simulated))


if __name__ == "__main__":
    run_program(main)
