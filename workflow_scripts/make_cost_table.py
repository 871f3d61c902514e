"""Make the table of what the run cost, stage by stage, from Snakemake's benchmark files: cost.csv and cost.md.

It depends on the machine and the hour, unlike the other tables.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_text
from workflow_scripts.reporting.tables.cells import to_csv
from workflow_scripts.reporting.tables.cost import cost_markdown, cost_table, read_jobs


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run, with benchmarks/ and logs/")
    parser.add_argument("--stages", nargs="+", required=True, help="rules to count, in the order of the table")
    parser.add_argument("--out-stem", type=Path, required=True, help="path of the tables, without suffix")
    args = parser.parse_args(argv)
    jobs = read_jobs(args.run, args.stages)
    if jobs.empty:
        raise UserError(f"{args.run}/benchmarks holds no benchmark file of these stages: run Snakemake first")
    table = cost_table(jobs, args.stages)
    write_text(f"{args.out_stem}.csv", to_csv(table))
    write_text(f"{args.out_stem}.md", cost_markdown(table))
    total = table.iloc[-1]
    log.info("%d jobs, %s wall hours, %s GPU hours", total.jobs, total.wall_hours, total.gpu_hours)


if __name__ == "__main__":
    run_program(main)
