"""Make depth_decoder.{csv,md,tex}: decoding slice by slice beside decoding along depth, in quality and cost.

Config (--config): bootstrap_samples, confidence and seed of the intervals.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import read_tsv, write_text
from workflow_scripts.reporting.tables.cells import to_csv
from workflow_scripts.reporting.tables.depth_decoder import TITLE, decoder_notes, decoder_table, readable_decoders
from workflow_scripts.reporting.tables.systems import to_latex, to_markdown


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    import pandas as pd

    parser = program_parser(__doc__)
    parser.add_argument("--quality", nargs="+", required=True, help="reconstruction.tsv of every depth decoder")
    parser.add_argument("--costs", nargs="+", required=True, help="cost.tsv of every depth decoder")
    parser.add_argument("--synthetic", nargs="+", required=True, help="decoders.tsv of every system")
    parser.add_argument("--fids", nargs="+", required=True, help="decoder_fid.tsv of every system")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out-stem", type=Path, required=True, help="path of the tables without suffix")
    args = parser.parse_args(argv)
    read = [
        pd.concat([read_tsv(file) for file in files], ignore_index=True)
        for files in (args.quality, args.costs, args.synthetic, args.fids)
    ]
    intervals = {"bootstrap_samples": 2000, "confidence": 0.95, "seed": 0} | args.config
    table = decoder_table(*read, intervals)
    parts, notes = readable_decoders(table), decoder_notes(table)
    write_text(args.out_stem.with_suffix(".csv"), to_csv(table))
    write_text(args.out_stem.with_suffix(".md"), to_markdown(TITLE, parts, notes, args.simulated))
    write_text(args.out_stem.with_suffix(".tex"), to_latex(TITLE, parts, notes, args.simulated, text_columns=3))


if __name__ == "__main__":
    run_program(main)
