"""The command `sliceaug`: the programs of workflow_scripts/programs that people start by hand, under short names.

Options are those of the programs: `sliceaug synthesize --help`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from workflow_scripts.base.cli import run_program

PROGRAMS = {
    "run": ("operations.watch", "a study; options are Snakemake's own: --cores all --config data_root=/data/patients"),
    "status": ("operations.status", "how far a study is, and why what failed did"),
    "estimate": ("operations.estimate", "what a study will cost, before it runs"),
    "check": ("operations.slurm_check", "whether a study can run on this Slurm"),
    "synthesize": ("synthesis.synthesize", "patients from a trained generator's folder"),
    "predict": ("segmentation.predict_patients", "masks of new patients by a trained arm"),
    "pool-folds": ("reporting.pool_folds", "tables over the studies of all folds"),
    "track": ("reporting.track_run", "curves and scores of a run in MLflow or Weights & Biases, offline"),
}
"""Command -> module below workflow_scripts.programs, and what it is for."""


def main(argv: Sequence[str] | None = None) -> None:
    """Hand the words behind the command to its program; exits as that does."""
    listed = "\n".join(f"  {name:12} {what}" for name, (_, what) in PROGRAMS.items())
    parser = argparse.ArgumentParser(
        prog="sliceaug",
        description=f"How much does synthetic data help a tumour segmentation?\n\ncommands:\n{listed}",
        epilog="`sliceaug COMMAND --help` lists its options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="sliceaug COMMAND [options]",
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=PROGRAMS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    sys.argv[0] = f"sliceaug {args.command}"  # what the program's own usage begins with
    program = import_module(f"workflow_scripts.programs.{PROGRAMS[args.command][0]}")
    run_program(partial(program.main, args.options))


if __name__ == "__main__":
    main()
