"""Say in seconds whether a study can run on this Slurm: before `snakemake --profile slurm`, on a login node.

Checks the profile's partitions and accounts, the installed packages, and, with a small job in each place where the study's
jobs would go, what a compute node sees: Python, packages, the results folder, a GPU and whether torch finds it. Every
fault is one sentence with its mend; the exit code is 2 if there is any. Nothing that it starts outlasts it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from workflow_scripts.base.cli import log, run_program, sentence_of
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.provenance import ROOT
from workflow_scripts.base.slurm import jobs, queries
from workflow_scripts.base.slurm.cluster_checks import check_accounts, check_fit, check_partitions, default_of
from workflow_scripts.base.slurm.findings import Findings, some
from workflow_scripts.base.slurm.node_checks import LOCK, check_outcome, differences, read_lock
from workflow_scripts.base.slurm.plan import Ask, asks_of_profile, plan, unknown_rules
from workflow_scripts.base.slurm.probe import packages
from workflow_scripts.base.slurm.profile import Profile, find_profile, read_profile
from workflow_scripts.base.slurm.shared_folder import appears, shared_folder
from workflow_scripts.study.settings.files import merge, read_yaml
from workflow_scripts.study.settings.study import read_study
from workflow_scripts.study.settings.systems import CONFIG


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--profile", default="slurm", help="as given to snakemake (slurm)")
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="as given to snakemake")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as given to snakemake")
    parser.add_argument("--timeout-s", type=float, default=120, help="seconds that the small jobs may take (120)")
    parser.add_argument(
        "--without-gpu",
        action="store_true",
        help="the study may run on CPUs: a GPU that torch does not find is a warning",
    )
    args = parser.parse_args(argv)
    findings = Findings()
    _check(args, findings)
    for sentence in findings.sentences(findings.warnings):
        print(f"warning: {sentence}", file=sys.stderr)
    for sentence in findings.sentences(findings.errors):
        print(f"error: {sentence}", file=sys.stderr)
    sys.stderr.flush()
    width = max((len(what) for what, _ in findings.rows), default=0)
    for what, found in findings.rows:
        print(f"{what:{width}}  {found}")
    if findings.errors:
        sys.exit(2)
    print("The study can run here.")


def _check(args: argparse.Namespace, findings: Findings) -> None:
    """All checks; each goes on where another failed, as far as it can."""
    options = [*_option("--configfile", args.configfile), *_option("--config", args.config)]
    profile, config = Profile(Path(args.profile)), None
    with collected(findings):
        profile = read_profile(find_profile(args.profile))
        for rule in unknown_rules(profile):
            findings.error(
                f"set-resources of {profile.path} names {rule}, and the workflow has no such rule: correct its name"
            )
        if not profile.frees_jobs:
            findings.warning(
                f"{profile.path} leaves this machine's cores and card as bounds of every job: write "
                "`set-resource-scopes: {gpu: local}` there, as slurm/config.yaml does"
            )
    with collected(findings):
        config = _config(args.configfile, args.config)
    here = packages()
    _check_lock(findings, here)

    with ExitStack() as stack:
        folder = None
        with collected(findings):
            folder = stack.enter_context(shared_folder(Path(config["results"]) / config["run"])) if config else None
        log.info("asking Slurm, and planning the study")
        with ThreadPoolExecutor(1) as pool:
            planning = pool.submit(plan, profile, options) if folder and profile.path.is_file() else None
            known, accounts = _ask_slurm(findings)
            asks = asks_of_profile(profile)
            with collected(findings):
                asks = planning.result() if planning else asks
        places = _places(findings, asks, profile, known, accounts) if known else {}
        if places:
            _probe(args, findings, profile, places, folder, config or {}, here)


def _option(name: str, values: Sequence[object]) -> list[str]:
    return [name, *map(str, values)] if values else []


@contextmanager
def collected(findings: Findings) -> Iterator[None]:
    """An error that the user can mend becomes a finding, and the checks go on."""
    try:
        yield
    except Exception as error:
        if (sentence := sentence_of(error)) is None:
            raise
        findings.error(sentence)


def _config(files: Sequence[Path], pairs: Sequence[str]) -> dict:
    """The study's configuration, as Snakemake puts it together. Raises UserError for what it would refuse."""
    config = read_yaml(CONFIG / "config.yaml")
    for path in files:
        try:
            config = merge(config, dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"--configfile {path} cannot be read: {' '.join(str(error).split())}") from None
    for name, _, value in (pair.partition("=") for pair in pairs):
        config = merge(config, {name: yaml.safe_load(value)})
    study = read_study(config)
    return study.plain() | {"data_root": None if study.simulated else study.data_root}


def _check_lock(findings: Findings, here: dict[str, str]) -> None:
    lock = read_lock()
    if lock is None:
        findings.error(f"{LOCK} is missing: `git checkout envs/requirements.lock`, then `make install`")
    elif wrong := differences(here, lock):
        findings.error(f"packages differ from envs/requirements.lock ({wrong}): `make install`")
    else:
        findings.row("packages", f"{len(lock)}, as in envs/requirements.lock")


def _ask_slurm(findings: Findings) -> tuple[dict[str, queries.Partition], queries.Accounts | None]:
    """Partitions and accounts; none where Slurm does not answer."""
    with collected(findings):
        if missing := queries.missing_tools():
            raise UserError(
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not on the PATH: this machine is no login "
                "node of a Slurm cluster, or its Slurm commands come with a module (`module avail slurm`)"
            )
        known = queries.partitions()
        findings.row("Slurm", f"{queries.slurm_version()}, partitions {', '.join(known)}")
        return known, queries.accounts()
    return {}, None


def _places(
    findings: Findings,
    asks: list[Ask],
    profile: Profile,
    known: dict[str, queries.Partition],
    accounts: queries.Accounts | None,
) -> dict[jobs.Place, list[str]]:
    """Where to look around, with the rules that go there. An account that is wrong is left out there: said already."""
    good = check_partitions(findings, asks, profile, known)
    bad_accounts = check_accounts(findings, asks, profile, accounts)
    check_fit(findings, good, profile, known)
    places: dict[jobs.Place, list[str]] = {}
    for ask in good:
        place = jobs.place_of(ask, profile)
        place = replace(place, account="") if place.account in bad_accounts else place
        places.setdefault(place, []).append(ask.rule)
    if not places and default_of(known):
        places[jobs.Place()] = ["any rule"]  # what can be seen elsewhere is seen there
    return places


def _probe(
    args: argparse.Namespace,
    findings: Findings,
    profile: Profile,
    places: dict[jobs.Place, list[str]],
    folder: Path | None,
    config: dict,
    here: dict[str, str],
) -> None:
    """Small jobs in all places at once, and what they saw."""
    root = config.get("data_root")
    task = {"project": str(ROOT), "folder": folder and str(folder), "data_root": root and str(Path(root).absolute())}
    log.info("small jobs in %d places", len(places))
    for outcome in jobs.run_probes(list(places), task, args.timeout_s):
        users = some(places[outcome.place])
        check_outcome(
            findings, outcome, task=task, here=here, need_gpu=not args.without_gpu, users=users, profile=profile
        )
        seen = outcome.seen.get("folder") or {}
        wait_s = float(profile.options.get("latency-wait") or 5)
        if seen.get("writes") and not appears(folder / seen["reply"], wait_s):
            findings.error(
                f"what node {{node}} writes to {folder.parent} is not seen here in {wait_s:g} s: raise latency-wait in "
                f"{profile.path}",
                outcome.seen["host"],
            )


if __name__ == "__main__":
    run_program(main)
