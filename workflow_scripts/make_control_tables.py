"""Make the tables of control and masks: control.{csv,md,tex}, requested against measured, and masks.{csv,md,tex}.

Config (--config): {"bootstrap_samples": 2000, "confidence": 0.95, "seed": 0}
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_text
from workflow_scripts.evaluation.agreement import control_summary
from workflow_scripts.reporting.tables.cells import to_csv
from workflow_scripts.reporting.tables.control import (
    control_notes,
    mask_notes,
    readable_control,
    readable_shapes,
    readable_validity,
    without_gaps,
)
from workflow_scripts.reporting.tables.systems import to_latex, to_markdown


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    import pandas as pd

    parser = program_parser(__doc__)
    parser.add_argument("--control", nargs="+", required=True, help="control.tsv of every system and n_real")
    parser.add_argument("--masks", nargs="+", required=True, help="masks.tsv of every system and n_real")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    args = parser.parse_args(argv)
    config = {"bootstrap_samples": 2000, "confidence": 0.95, "seed": 0} | args.config
    found = pd.concat([_control(file) for file in args.control], ignore_index=True)
    summary = control_summary(found, config["bootstrap_samples"], config["confidence"], config["seed"])
    control = without_gaps(summary)
    masks = without_gaps(pd.concat([read_tsv(file) for file in args.masks], ignore_index=True))
    shapes = [("Validity", readable_validity(masks)), *readable_shapes(masks)]
    simulated = args.simulated
    for stem, title, table, parts, notes, words in (
        ("control", "Control of the generators", control, readable_control(control), control_notes, 1),
        ("masks", "Tumour masks of the generators", masks, shapes, mask_notes, 1),
    ):
        write_text(args.out / f"{stem}.csv", to_csv(table))
        write_text(args.out / f"{stem}.md", to_markdown(title, parts, notes(table, simulated), simulated))
        write_text(args.out / f"{stem}.tex", to_latex(title, parts, notes(table, simulated), simulated, words))


def _control(file: str):
    """A control.tsv with at least a row. Raises UserError."""
    table = read_tsv(file)
    if table.empty:
        raise UserError(f"{file} holds no request: run `snakemake -R evaluate_control`")
    return table


if __name__ == "__main__":
    run_program(main)
