"""Write report.html: one file that opens offline, with the answer, tables, figures and what was refused.

Config (--config): the configuration of the run as a user may give it, which the report shows, and `looks` of the regions.
"""

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import write_text
from workflow_scripts.reporting.looks import use_looks
from workflow_scripts.reporting.report.blocks import Run
from workflow_scripts.reporting.report.page import FILES, render
from workflow_scripts.reporting.tables.cells import read_ratio_table

REQUIRED = ("augmentation_ratio", "cases", "splits", "rejected")


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, out="report.html")
    for name, words in FILES.items():
        needed = {"required": True, "nargs": "+"} if name in REQUIRED else {"default": [], "nargs": "*"}
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, action="extend", help=words, **needed)
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    args = parser.parse_args(argv)
    files = {name: getattr(args, name) for name in FILES}
    use_looks(args.config.pop("looks", None))
    table = read_ratio_table(args.augmentation_ratio[0])
    write_text(args.out, render(Run(table, files, args.config, args.simulated)))


if __name__ == "__main__":
    run_program(main)
