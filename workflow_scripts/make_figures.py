"""Draw Dice against augmentation ratio, from the scores of all arms and the ratio table made of them."""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.evaluation.arms import read_scores
from workflow_scripts.reporting.figures.ratio import dice_vs_ratio
from workflow_scripts.reporting.figures.style import save_figure
from workflow_scripts.reporting.tables.cells import read_ratio_table


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument(
        "--dice", nargs="+", required=True, help="scores of all arms: the table of gather_scores, or every dice.tsv"
    )
    parser.add_argument("--table", type=Path, required=True, help="augmentation_ratio.csv")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out", type=Path, required=True, help="figure, .png or .svg")
    args = parser.parse_args(argv)
    save_figure(dice_vs_ratio(read_scores(args.dice), read_ratio_table(args.table), args.simulated), args.out)


if __name__ == "__main__":
    run_program(main)
