"""Say whether a study can run on this Slurm: before `snakemake --profile slurm`, on a login node.

Plans the study, compares what its rules ask for with what the cluster's nodes have, and starts a small job in each place
where the study's jobs would go, through Snakemake and the same profile: it tells what a compute node sees of Python, packages,
the results folder and the GPU. Every fault is one sentence with its fix; the exit code is 2 if there is any. Nothing that
it starts outlasts it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from workflow_scripts.base.cli import log, run_program, sentence_of
from workflow_scripts.base.provenance import ROOT
from workflow_scripts.operations import cluster
from workflow_scripts.operations.node_probe import look, place, shared_folder
from workflow_scripts.operations.node_report import packages
from workflow_scripts.operations.node_verdict import (
    LOCK,
    differences,
    end_faults,
    gpu_fault,
    lock_warning,
    node_faults,
    read_lock,
    summary,
)
from workflow_scripts.operations.plan import plan, profile_file


class Findings:
    """Errors and warnings as sentences, each with the nodes that have it, and a table of what was checked."""

    def __init__(self):
        self.errors: dict[str, list[str]] = {}
        self.warnings: dict[str, list[str]] = {}
        self.rows: list[tuple[str, str]] = []

    def error(self, text: str, node: str = "") -> None:
        if text:
            self.errors.setdefault(text, []).append(node)

    def warning(self, text: str, node: str = "") -> None:
        if text:
            self.warnings.setdefault(text, []).append(node)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """An error that the user can fix becomes a finding, and the checks go on."""
        try:
            yield
        except Exception as error:
            if (sentence := sentence_of(error)) is None:
                raise
            self.error(sentence)

    def show(self) -> None:
        for kind, found in (("warning", self.warnings), ("error", self.errors)):
            for text, nodes in found.items():
                print(
                    f"{kind}: {text.replace('{node}', ' and '.join(sorted(set(nodes))))}", file=sys.stderr, flush=True
                )
        width = max((len(what) for what, _ in self.rows), default=0)
        for what, said in self.rows:
            print(f"{what:{width}}  {said}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--profile", default="slurm", help="as given to snakemake (slurm)")
    parser.add_argument("--configfile", nargs="+", default=[], help="as given to snakemake")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as given to snakemake")
    parser.add_argument("--timeout-s", type=float, default=120, help="seconds that the small jobs may take (120)")
    without = "the study may run on CPUs: a GPU that torch does not find is a warning"
    parser.add_argument("--without-gpu", action="store_true", help=without)
    args = parser.parse_args(argv)
    findings = Findings()
    _check(args, findings)
    findings.show()
    if findings.errors:
        sys.exit(2)
    print("The study can run here.")


def _check(args: argparse.Namespace, findings: Findings) -> None:
    """All checks; each goes on where another failed, as far as it can."""
    here, lock = packages(), read_lock()
    if not lock:
        findings.error(f"{LOCK} is missing: `git checkout envs/requirements.lock`, then `make install`")
    elif wrong := differences(here, lock):
        findings.error(f"packages differ from envs/requirements.lock ({wrong}): `make install`")
    else:
        findings.rows.append(("packages", f"{len(lock)}, as in envs/requirements.lock"))
    known, workflow = {}, None
    with findings.collected():
        known = cluster.partitions()
    with findings.collected():
        profile = profile_file(args.profile)
        files = ["--configfile", *args.configfile] if args.configfile else []
        config = ["--config", *args.config] if args.config else []
        workflow, options = plan(["--profile", args.profile, *files, *config])
    with ExitStack() as stack, findings.collected():
        if workflow is None:
            return
        _check_profile(findings, workflow, options, profile)
        asks = cluster.asks_of(workflow, attempts=options.retries + 1)
        folder = stack.enter_context(shared_folder(Path(workflow.globals["RUN"])))
        if not known:
            return
        has = "; ".join(f"{name}: {partition}" for name, partition in known.items())
        mine = cluster.accounts()
        findings.rows += [("partitions", has), ("accounts", mine or "this Slurm keeps none")]
        errors, warnings = cluster.misfits(asks, profile, known)
        for text in errors:
            findings.error(text)
        for text in warnings:
            findings.warning(text)
        root = None if workflow.globals["SIMULATED"] else str(Path(workflow.globals["DATA_ROOT"]).absolute())
        task = {"project": str(ROOT), "folder": str(folder), "data_root": root}
        _look_around(
            args, findings, asks, profile, task, here, f"This Slurm has {has}; accounts of yours: {mine or 'any'}"
        )


def _check_profile(findings: Findings, workflow, options, profile: Path) -> None:
    settings, rules = workflow.resource_settings, {rule.name for rule in workflow.rules}
    for name in sorted({*settings.overwrite_resources, *settings.overwrite_threads} - rules):
        findings.error(
            f"{profile} names a rule {name}, and the workflow has none: Snakemake would pass over it; correct it"
        )
    if options.executor != "slurm":
        findings.error(f"{profile} does not send jobs to Slurm: write `executor: slurm` there")
    if not workflow.resource_scopes.is_local("gpu"):
        findings.warning(
            f"{profile} leaves this machine's cores and card as bounds of every job: write "
            "`set-resource-scopes: {gpu: local}` there, as slurm/config.yaml does"
        )


def _look_around(args, findings: Findings, asks, profile: Path, task: dict, here: dict, has: str) -> None:
    """Small jobs in all places at once, and what they saw."""
    places: dict[str, tuple[dict, list[cluster.Ask]]] = {}
    for ask in asks:
        resources = place(ask.resources)
        places.setdefault(repr(sorted(resources.items())), (resources, []))[1].append(ask)
    log.info("small jobs in %d places", len(places))
    with ThreadPoolExecutor(max(len(places), 1)) as pool:
        jobs = [pool.submit(look, each, profile, task, args.timeout_s) for each, _ in places.values()]
    for job, (resources, users) in zip(jobs, places.values(), strict=True):
        outcome = job.result()
        seen, node = outcome.seen, outcome.seen.get("host", "")
        named = ", ".join(f"{name} {value}" for name, value in resources.items()) or "nothing special"
        lines = filter(None, (cluster.line_of(str(value), profile) for value in resources.values()))
        what = f"a small job with {named}, as of {cluster.some(ask.rule for ask in users)},"
        where = f"{profile} ({', '.join(dict.fromkeys(lines)) or 'default-resources'})"
        for fault in end_faults(outcome, what, where, has):
            findings.error(fault)
        if not seen:
            continue
        faults = list(node_faults(seen, task, here))
        for fault in faults:
            findings.error(fault, node)
        (findings.warning if args.without_gpu else findings.error)(gpu_fault(seen), node)
        findings.warning(lock_warning(seen, task), node)
        if outcome.trouble is None:
            findings.rows.append((named, summary(outcome)))
        elif not faults:
            findings.error(f"{what} failed on node {{node}}: {outcome.words!r}", node)


if __name__ == "__main__":
    run_program(main)
