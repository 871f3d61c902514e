"""What Snakemake has read and would do: rules and planned jobs as it sees them itself, not as the rule files are written."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def parsed(
    project: Path = ROOT,
    configfiles: tuple[str, ...] = (),
    config: str = '{"data_root": "demo"}',
    plan: bool = True,
    everything: bool = False,
) -> dict:
    """``rules``: name -> threads, resources, log, benchmark, conda, params; ``jobs``: rule, input, output, params, command.

    `config`: JSON, as after --config. Without `plan` there are no jobs; with `everything` also those of what is made
    already. Base rules, which others inherit from, are left out.
    """
    import warm

    command = [warm.python(), __file__, json.dumps([*configfiles]), config, json.dumps(plan), json.dumps(everything)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def _rule(rule) -> dict:
    resources = {name: None if callable(value) else value for name, value in _values(rule.resources).items()}
    return {
        "threads": resources.get("_cores"),
        "resources": [name for name in resources if not name.startswith("_")],
        "log": [str(path) for path in rule.log],
        "benchmark": rule.benchmark and str(rule.benchmark),
        "conda": bool(rule.conda_env),
        "params": list(rule.params.keys()),
    }


def _values(resources) -> dict:
    raw = {name: getattr(value, "raw", value) for name, value in resources.items()}
    return {name: getattr(value, "value", value) for name, value in raw.items()}


def _named(files) -> dict:
    return {name: [found] if isinstance(found, str) else list(found) for name, found in files.items()}


def _job(job) -> dict:
    return {
        "rule": job.rule.name,
        "wildcards": dict(job.wildcards_dict),
        "input": [str(path) for path in job.input],
        "named": _named(job.input),
        "output": [str(path) for path in job.output],
        "params": {name: str(value) for name, value in job.params.items()},
        "command": job.shellcmd or "",
    }


def main() -> None:
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

    configfiles, config, plan, everything = (json.loads(text) for text in sys.argv[1:])
    files = [Path(file).resolve() for file in configfiles]
    with SnakemakeApi(OutputSettings(dryrun=True, quiet={"all"})) as api:
        settings = ConfigSettings(configfiles=files, config=config)
        workflow = api.workflow(
            ResourceSettings(cores=1), config_settings=settings, snakefile=Path("Snakefile").resolve()
        )
        workflow.dag(DAGSettings(forceall=everything)).execute_workflow(executor="dryrun")
        known = workflow._workflow
        rules = {rule.name: _rule(rule) for rule in known.rules if rule.shellcmd and rule.output}
        jobs = [_job(job) for job in known.dag.jobs] if plan else []
    print(json.dumps({"rules": rules, "jobs": jobs}))


if __name__ == "__main__":
    main()
