"""A study as Snakemake plans it, in this process: its rules, its jobs, and what each of them asks for."""

import argparse
import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path

from ..base.errors import UserError
from ..base.provenance import PROJECT


def profile_file(name: str) -> Path:
    """The file that ``snakemake --profile <name>`` reads. Raises UserError where there is none."""
    from snakemake.cli import get_profile_dir

    if (found := get_profile_dir(name)) is None:
        raise UserError(
            f"there is no profile {name!r}: {name}/config.yaml is missing. Run this in the project's folder, or name the "
            "profile's folder"
        )
    with contextlib.suppress(ValueError):
        return Path(found[1]).resolve().relative_to(Path.cwd())
    return Path(found[1])


BASE = Path("config", "config.yaml")  # read by the Snakefile before all others, from the working directory
CONFIGFILE = ("--configfile", "--configfiles")
EQUALS = tuple(f"{name}=" for name in (*CONFIGFILE, "--snakefile", "-s"))


def with_project(options: Sequence[str]) -> list[str]:
    """Snakemake's options, with the Snakefile and the base configuration of the installed package where the working
    directory has none."""
    found = [part for word in options for part in (word.split("=", 1) if word.startswith(EQUALS) else [word])]
    if not {"--snakefile", "-s"} & set(found) and not Path("Snakefile").is_file():
        found[:0] = ["--snakefile", str(PROJECT / "Snakefile")]
    if not BASE.is_file():
        at = next((place for place, word in enumerate(found) if word in CONFIGFILE), None)
        if at is None:
            found += ["--configfile", str(PROJECT / BASE)]
        else:
            found.insert(at + 1, str(PROJECT / BASE))
    return found


def study_parser(description: str | None) -> argparse.ArgumentParser:
    """Of a program that is told of a study as Snakemake is."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form, allow_abbrev=False)
    parser.add_argument("--configfile", nargs="+", default=[], help="as given to snakemake")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as given to snakemake")
    return parser


def study_options(files: Sequence[str], config: Sequence[str]) -> list[str]:
    """The same for `plan`."""
    return [*(["--configfile", *files] if files else []), *(["--config", *config] if config else [])]


def plan(options: Sequence[str]):
    """(workflow with its DAG, all options), for some of Snakemake's ``--profile``, ``--configfile`` and ``--config``.

    Works beside a running Snakemake and takes no lock. Raises UserError, with Snakemake's sentence, where the options or
    the study are wrong.
    """
    from snakemake import cli
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import RuleException, WorkflowError
    from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

    logging.getLogger("snakemake").propagate = False
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            _, args = cli.parse_args(with_project([*options, "--snakefile", str(PROJECT / "Snakefile")]))
            resources = ResourceSettings(
                cores=1 if args.executor is None else args.cores,
                resources=args.resources,
                overwrite_threads=args.set_threads,
                overwrite_resources=args.set_resources,
                overwrite_resource_scopes=args.set_resource_scopes,
                default_resources=args.default_resources,
            )
            config = ConfigSettings(config=cli.parse_config(args.config), configfiles=args.configfile)
            with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)) as api:
                dag = api.workflow(resources, config, snakefile=args.snakefile).dag()
                dag.printd3dag()  # plans, and leaves the plan in the workflow
                return dag.workflow_api._workflow, args
    except (WorkflowError, RuleException, cli.CliException, OSError, ValueError) as error:
        raise UserError(f"Snakemake cannot plan the study: {' '.join(str(error).split())}") from None
    except SystemExit:  # its command line, or a profile, is wrong: after the usage comes the reason
        reason = " ".join(said.getvalue().split()).rpartition("rror: ")[2]
        raise UserError(f"Snakemake refuses its options, {' '.join(options)}, or the profile: {reason}") from None
