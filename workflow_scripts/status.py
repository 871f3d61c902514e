"""Print how far a study is: the jobs of each stage, how far the running ones are, and why the failed ones failed.

Works while Snakemake runs, here or on a cluster, and after it has ended in whatever way; it changes nothing and takes no
lock. Without options it tells of the study that was last started in this folder. Exits with 1 where a job has failed or
was cut off, else with 0.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

from workflow_scripts.base.cli import run_program
from workflow_scripts.reporting.job_states import look_around, study_state
from workflow_scripts.reporting.planned_jobs import planned_jobs
from workflow_scripts.reporting.run_log import options_of, read_run_logs
from workflow_scripts.reporting.status_text import needs_the_user, status_text, use_colours


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError where Snakemake cannot plan the study, SystemExit(1) where jobs have failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--configfile", nargs="+", help="as given to Snakemake")
    parser.add_argument("--config", nargs="+", metavar="KEY=VALUE", help="as given to Snakemake")
    args = parser.parse_args(argv)
    workdir = Path.cwd()
    runs = read_run_logs(workdir)
    files, config = args.configfile or [], args.config or []
    last = next((run for run in runs if run.command), None)  # one that could not even plan its jobs logs no command
    if last and args.configfile is None and args.config is None:
        files, config = options_of(last.command)
    folder, planned = planned_jobs(files, config)
    machine = look_around(any(job.slurm_id for run in runs for job in run.jobs.values()))
    study = study_state(planned, runs, machine, workdir)
    print(status_text(folder, study, workdir, datetime.now(), use_colours(sys.stdout.isatty())))
    if needs_the_user(study):
        sys.exit(1)


if __name__ == "__main__":
    run_program(main)
