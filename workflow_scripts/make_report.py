"""Write report.html: one file that opens offline, with the answer, tables, figures and what was refused.

Config (--config): the whole configuration of the run, which the report shows.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import add_cohort, program_parser, run_program
from workflow_scripts.base.files import read_tsv, write_text
from workflow_scripts.cohort.dataset import read_splits
from workflow_scripts.reporting.report import render
from workflow_scripts.reporting.tables import read_mixed_csv, read_ratio_table


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="augmentation_ratio.csv")
    parser.add_argument("--systems", type=Path, help="systems.csv")
    parser.add_argument("--compute", type=Path, help="compute.csv")
    parser.add_argument("--figures", nargs="*", default=[], help="PNG or SVG files, in the order to show them")
    parser.add_argument("--images", type=Path, help="images.csv")
    parser.add_argument("--synthetic-rejected", nargs="*", default=[], help="draws that the gate refused, per system")
    parser.add_argument("--synthetic", nargs="*", default=[], help="cases.tsv of the synthetic cases, per system")
    parser.add_argument("--reconstruction", nargs="*", default=[], help="reconstruction.tsv of every autoencoder")
    add_cohort(parser, "cases", "splits")
    parser.add_argument("--rejected", type=Path, required=True, help="cohort/rejected.tsv")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out", type=Path, required=True, help="report.html")
    args = parser.parse_args(argv)
    text = render(
        table=read_ratio_table(args.table),
        figures=args.figures,
        synthetic_rejected=args.synthetic_rejected,
        synthetic_cases=args.synthetic,
        reconstruction=args.reconstruction,
        cases=read_tsv(args.cases),
        splits=read_splits(args.splits),
        rejected=read_tsv(args.rejected),
        simulated=args.simulated,
        config=args.config,
        systems=args.systems and read_mixed_csv(args.systems),
        compute=args.compute and read_mixed_csv(args.compute),
        images=args.images and read_mixed_csv(args.images),
    )
    write_text(args.out, text)


if __name__ == "__main__":
    run_program(main)
