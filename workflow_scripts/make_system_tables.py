"""Make the tables that compare systems: compute.{csv,md,tex}, what each costs, and systems.{csv,md,tex}, what it brings.

Config (--config): systems (as resolved), modalities, regions, size, and comparison_ratio, the augmentation ratio whose
Dice gain is shown.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import read_tsv, write_text
from workflow_scripts.cohort.tumours import condition_names
from workflow_scripts.reporting.tables.cells import read_ratio_table, to_csv
from workflow_scripts.reporting.tables.images import fid_rows
from workflow_scripts.reporting.tables.systems import (
    comparison_notes,
    comparison_table,
    compute_notes,
    compute_table,
    readable_comparison,
    readable_costs,
    readable_published,
    to_latex,
    to_markdown,
)
from workflow_scripts.study.settings.systems import shipped_systems


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    import pandas as pd

    parser = program_parser(__doc__)
    parser.add_argument("--ratios", type=Path, required=True, help="augmentation_ratio.csv")
    parser.add_argument("--images", nargs="+", required=True, help="images.tsv of every system and n_real")
    parser.add_argument("--costs", nargs="+", required=True, help="cost.tsv of every system")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    args = parser.parse_args(argv)
    config = args.config
    regions = config["regions"]
    fid = fid_rows(pd.concat([read_tsv(file) for file in args.images], ignore_index=True))
    systems = {name: config["systems"][name] for name in dict.fromkeys(fid.system)}  # in the order of the config
    compute = compute_table(
        systems,
        {name: system.plain() for name, system in shipped_systems().items()},
        (len(config["modalities"]), len(regions)),
        config["size"],
        len(condition_names(regions)),
        pd.concat([read_tsv(file) for file in args.costs], ignore_index=True),
    )
    comparison = comparison_table(
        read_ratio_table(args.ratios),
        fid,
        compute,
        {name: system["label"] for name, system in systems.items()},
        config["comparison_ratio"],
    )
    size = "x".join(map(str, config["size"]))
    costs = [(f"This run, {size} voxels", readable_costs(compute))]
    costs.append(("The paper's settings", readable_published(compute)))
    gains = [(f"Dice gain at {comparison.ratio.iloc[0]:g}x", readable_comparison(comparison))]
    for stem, title, table, parts, notes, words in (
        ("compute", "Cost of the systems", compute, costs, compute_notes(compute), 1),
        ("systems", "Comparison of the systems", comparison, gains, comparison_notes(comparison), 1),
    ):
        write_text(args.out / f"{stem}.csv", to_csv(table))
        write_text(args.out / f"{stem}.md", to_markdown(title, parts, notes, args.simulated))
        write_text(args.out / f"{stem}.tex", to_latex(title, parts, notes, args.simulated, words))


if __name__ == "__main__":
    run_program(main)
