"""The jobs of a study as Snakemake plans them, and which of them it would run now. Works while Snakemake runs."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import UserError
from ..base.provenance import ROOT


@dataclass(frozen=True)
class PlannedJob:
    """A job of the study: its rule, its log file (relative to the working directory), and whether it is up to date."""

    rule: str
    log: str
    up_to_date: bool


def planned_jobs(configfiles: Sequence[str], config: Sequence[str]) -> tuple[str, list[PlannedJob]]:
    """(folder of the run, its jobs in the order of the rule files), planned in the current working directory.

    Parameters
    ----------
    configfiles, config : as after Snakemake's ``--configfile`` and ``--config``

    Raises
    ------
    UserError
        With Snakemake's sentence, where it cannot plan the study.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.cli import parse_config
    from snakemake.exceptions import RuleException, WorkflowError
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    logging.getLogger("snakemake").propagate = False
    output = OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    try:
        with SnakemakeApi(output) as api, contextlib.redirect_stdout(io.StringIO()):
            files = [Path(file).absolute() for file in configfiles]
            api_of_workflow = api.workflow(
                ResourceSettings(cores=1),
                ConfigSettings(config=parse_config(list(config)), configfiles=files),
                snakefile=ROOT / "Snakefile",
            )
            api_of_workflow.dag(DAGSettings()).printd3dag()  # plans, takes no lock, and leaves the plan in the workflow
            workflow = api_of_workflow._workflow
            order = {rule.name: number for number, rule in enumerate(workflow.rules)}
            jobs = [
                PlannedJob(job.rule.name, str(job.log[0]), not workflow.dag.needrun(job))
                for job in workflow.dag.jobs
                if job.log
            ]
            folder = workflow.globals["RUN"]
    except (WorkflowError, RuleException, OSError, ValueError) as error:
        raise UserError(f"Snakemake cannot plan this study: {error}") from None
    return folder, sorted(jobs, key=lambda job: (order[job.rule], job.log))
