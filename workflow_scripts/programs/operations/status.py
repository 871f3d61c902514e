"""Print how far a study is: the jobs of each stage, how far the running ones are, and why the failed ones failed.

Works while Snakemake runs, here or on a cluster, and after it has ended in whatever way; it changes nothing and takes no
lock. Without options it tells of the study that was last started in this folder. Exits with 1 where a job has failed or
was cut off, else with 0.
"""

import sys
import time
from pathlib import Path

from workflow_scripts.base.cli import run_program
from workflow_scripts.operations.plan import plan, study_options, study_parser
from workflow_scripts.operations.run_events import read_runs
from workflow_scripts.operations.status_text import status_text, use_colours
from workflow_scripts.operations.study_state import BROKEN, CUT_OFF, jobs_of, study_state


def main(argv: list[str] | None = None) -> None:
    args = study_parser(__doc__).parse_args(argv)
    workdir = Path.cwd()
    runs = read_runs(workdir)
    files, config = args.configfile, args.config
    if runs and not files and not config:
        files, config = runs[0].configfiles, runs[0].config
    workflow, _ = plan(study_options(files, config))
    study = study_state(jobs_of(workflow), runs, workdir)
    folder = workflow.globals["RUN"]
    print(status_text(folder, study, workdir, time.time(), use_colours(sys.stdout.isatty())))
    if any(job.state in (BROKEN, CUT_OFF) for job in study.jobs):
        sys.exit(1)


if __name__ == "__main__":
    run_program(main)
