"""Make the table of image metrics: images.{csv,md,tex}, every system and n_real beside what real cases reach."""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import read_tsv, write_text
from workflow_scripts.reporting.tables.cells import to_csv
from workflow_scripts.reporting.tables.images import image_notes, image_parts, image_table
from workflow_scripts.reporting.tables.systems import to_latex, to_markdown


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--images", nargs="+", required=True, help="images.tsv of every system and n_real")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out-stem", type=Path, required=True, help="path of the tables, without suffix")
    args = parser.parse_args(argv)
    table = image_table([read_tsv(file) for file in args.images])
    parts, notes = image_parts(table), image_notes(table)
    write_text(args.out_stem.with_suffix(".csv"), to_csv(table))
    write_text(args.out_stem.with_suffix(".md"), to_markdown("Image quality", parts, notes, args.simulated))
    write_text(args.out_stem.with_suffix(".tex"), to_latex("Image quality", parts, notes, args.simulated, 2))


if __name__ == "__main__":
    run_program(main)
