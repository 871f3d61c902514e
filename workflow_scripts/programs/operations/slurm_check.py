"""Say whether a study can run on this Slurm: before `snakemake --profile slurm`, on a login node.

Plans the study, compares what its rules ask for with what the cluster's nodes have, and starts a small job in each place
where the study's jobs would go, through Snakemake and the same profile: it tells what a compute node sees of Python, packages,
the results folder and the GPU. Every fault is one sentence with its fix; the exit code is 2 if there is any. Nothing that
it starts outlasts it.
"""

import argparse
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from workflow_scripts.base.cli import log, run_program, sentence_of
from workflow_scripts.base.provenance import PROJECT
from workflow_scripts.operations import cluster
from workflow_scripts.operations.node_probe import look, place, shared_folder
from workflow_scripts.operations.node_report import differences, normalised, packages, some
from workflow_scripts.operations.plan import plan, profile_file, study_options, study_parser

LOCK = PROJECT / "envs" / "requirements.lock"


class Findings:
    """Errors and warnings as sentences, each with the nodes that have it, and rows of what was checked."""

    def __init__(self):
        self.said: dict[tuple[str, str], list[str]] = {}

    def add(self, kind: str, text: str, node: str = "") -> None:
        self.said.setdefault((kind, text), []).append(node)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """An error that the user can fix becomes a finding, and the checks go on."""
        try:
            yield
        except Exception as error:
            if (sentence := sentence_of(error)) is None:
                raise
            self.add("error", sentence)

    def show(self) -> bool:
        """Print all; whether there is no error."""
        for wanted, stream in (("warning", sys.stderr), ("error", sys.stderr), ("row", sys.stdout)):
            for text, nodes in ((text, nodes) for (kind, text), nodes in self.said.items() if kind == wanted):
                head = "" if wanted == "row" else f"{wanted}: "
                print(head + text.replace("{node}", " and ".join(sorted(set(nodes)))), file=stream, flush=True)
        return not any(kind == "error" for kind, _ in self.said)


def read_lock() -> dict[str, str]:
    """Version of each package of the lock, by normalised name; empty where the file is missing."""
    lines = LOCK.read_text(encoding="utf-8").splitlines() if LOCK.is_file() else []
    pins = (line.strip().split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {normalised(name): version for name, version in pins}


def main(argv: Sequence[str] | None = None) -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--profile", default="slurm", help="as given to snakemake (slurm)")
    parser.add_argument("--timeout-s", type=float, default=120, help="seconds that the small jobs may take (120)")
    without = "the study may run on CPUs: a GPU that torch does not find is a warning"
    parser.add_argument("--without-gpu", action="store_true", help=without)
    args = parser.parse_args(argv)
    findings = Findings()
    _check(args, findings)
    if not findings.show():
        sys.exit(2)
    print("The study can run here.")


def _check(args: argparse.Namespace, findings: Findings) -> None:
    """All checks; each goes on where another failed, as far as it can."""
    here, lock = packages(), read_lock()
    if not lock:
        findings.add("error", f"{LOCK} is missing: `git checkout envs/requirements.lock`, then `make install`")
    elif wrong := differences(here, lock):
        findings.add("error", f"packages differ from envs/requirements.lock ({wrong}): `make install`")
    known, workflow = {}, None
    with findings.collected():
        known = cluster.partitions()
    with findings.collected():
        profile = profile_file(args.profile)
        workflow, options = plan(["--profile", args.profile, *study_options(args.configfile, args.config)])
    with ExitStack() as stack, findings.collected():
        if workflow is None:
            return
        _check_profile(findings, workflow, options, profile)
        folder = stack.enter_context(shared_folder(Path(workflow.globals["RUN"])))
        if not known:
            return
        has = f"This Slurm has {'; '.join(f'{name}: {what}' for name, what in known.items())}; you may charge "
        has += cluster.accounts() or "any account"
        findings.add("row", has)
        asks = cluster.asks_of(workflow, attempts=options.retries + 1)
        for kind, text in cluster.misfits(asks, profile, known):
            findings.add(kind, text)
        root = None if workflow.globals["SIMULATED"] else str(Path(workflow.globals["config"]["data_root"]).absolute())
        task = {"project": str(PROJECT), "folder": str(folder), "data_root": root, "wait_s": 10}
        task |= {"python": sys.executable, "version": platform.python_version(), "packages": here}
        _look_around(args, findings, asks, profile, task, has)


def _check_profile(findings: Findings, workflow, options, profile: Path) -> None:
    settings, rules = workflow.resource_settings, {rule.name for rule in workflow.rules}
    for name in sorted({*settings.overwrite_resources, *settings.overwrite_threads} - rules):
        findings.add(
            "error", f"{profile} names a rule {name} that the workflow does not have, and Snakemake passes over it"
        )
    if options.executor != "slurm":
        findings.add("error", f"{profile} does not send jobs to Slurm: write `executor: slurm` there")
    if not workflow.resource_scopes.is_local("gpu"):
        findings.add(
            "warning",
            f"{profile} leaves this machine's cores and card as bounds of every job: write "
            "`set-resource-scopes: {gpu: local}` there, as slurm/config.yaml does",
        )


def _look_around(args, findings: Findings, asks: list[cluster.Ask], profile: Path, task: dict, has: str) -> None:
    """Small jobs in all places at once, and what they saw."""
    places: dict[str, tuple[dict, list[str]]] = {}
    for ask in asks:
        resources = place(ask.resources)
        places.setdefault(repr(sorted(resources.items())), (resources, []))[1].append(ask.rule)
    log.info("small jobs in %d places", len(places))
    with ThreadPoolExecutor(len(places)) as pool:
        jobs = [pool.submit(look, each, profile, task, args.timeout_s) for each, _ in places.values()]
    for job, (resources, rules) in zip(jobs, places.values(), strict=True):
        outcome = job.result()
        named = ", ".join(f"{name} {value}" for name, value in resources.items()) or "no wishes"
        if outcome.fault:
            lines = filter(None, (cluster.line_of(str(value), profile) for value in resources.values()))
            where = f"{profile} ({', '.join(dict.fromkeys(lines)) or 'default-resources'})"
            findings.add(
                "error",
                f"a small job with {named}, as of {some(rules)}, {outcome.fault}. {has}. What these rules ask for is in {where}",
            )
        for kind, sentence, node in outcome.said:
            if kind == "row":
                findings.add("row", f"{named}: {outcome.seconds:.0f} s, {sentence}", node)
            else:
                findings.add({"gpu": "warning" if args.without_gpu else "error"}.get(kind, kind), sentence, node)


if __name__ == "__main__":
    run_program(main)
