"""Say what a study will cost before it runs: jobs, hours, GPU hours, memory and disk by stage, and what would make it cheaper.

  make estimate CONFIG=config/config.yaml ARGS="--config data_root=/data/patients"

Measures on this machine: some minutes of the workflow itself, with simulated patients at the study's shapes. Or takes the
measurements of an earlier run (--earlier, with the config files of that run, made in this folder), whose shapes may differ: its
seconds are scaled by counted operations and voxels. Redraws of refused synthetic cases, waits in a queue and failures are not in
it.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from workflow_scripts.base.cli import run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_json
from workflow_scripts.operations import estimate as costs
from workflow_scripts.operations.estimate_rates import (
    Rate,
    jobs_of_plan,
    rates_of_run,
    with_benchmark,
    with_likes,
)
from workflow_scripts.operations.estimate_work import Amounts
from workflow_scripts.operations.plan import plan, profile_file, study_options, study_parser
from workflow_scripts.operations.probe import probe_settings, run_probe

WORTH = 0.15  # of the cost, that a setting must save to be named


class Planned:
    """A planned study: its jobs, their amounts of work, its configuration and its folder."""

    def __init__(self, files: list[str], config: list[str], profile: str | None = None):
        workflow, options = plan([*study_options(files, config), *(["--workflow-profile", profile] if profile else [])])
        cards = dict(options.resources.items()).get("gpu")
        self.gpus = int(cards.value) if cards else 1
        self.config, self.asked = workflow.globals["config"], workflow.globals["STUDY"].asked()
        self.jobs, self.folder = jobs_of_plan(workflow), Path(workflow.globals["RUN"])
        self.amounts = Amounts(self.config, cases_of(self.config))

    def hours(self, rates: dict[str, Rate]) -> tuple[float, float]:
        """(hours of all jobs, GPU hours)."""
        full = with_likes(rates, self.jobs)
        seconds = costs.seconds_of(self.jobs, full, self.amounts)
        return sum(seconds) / 3600, sum(s * job.gpus for s, job in zip(seconds, self.jobs, strict=True)) / 3600


def cases_of(config: dict) -> int:
    """Cases of the cohort: simulated ones by the settings; else the folders in data_root, at least what the splits take."""
    splits = config["splits"]
    least = max(splits["n_real"]) + splits["val"] + splits["test"]
    if config["data_root"] == "demo":
        return config["demo_cohort"]["cases"]
    root = Path(config["data_root"])
    return max(least, sum(entry.is_dir() for entry in os.scandir(root))) if root.is_dir() else least


def _parser() -> argparse.ArgumentParser:
    parser = study_parser(__doc__)
    parser.add_argument(
        "--earlier", nargs="+", metavar="CONFIGFILE", help="config files of a run whose results are here"
    )
    parser.add_argument("--earlier-config", nargs="+", default=[], metavar="KEY=VALUE", help="its --config")
    parser.add_argument(
        "--workflow-profile", metavar="FOLDER", help="as given to snakemake: profiles/cpu where it runs without a GPU"
    )
    parser.add_argument("--benchmark", type=Path, help="JSON of benchmarks.networks: the networks run as fast as there")
    parser.add_argument("--speed", type=float, default=1.0, help="of the GPU, as a share of that of --benchmark (1)")
    parser.add_argument(
        "--cores", type=int, default=len(os.sched_getaffinity(0)), help="CPU cores of the machine (all)"
    )
    parser.add_argument("--gpus", type=int, help="jobs that may hold a GPU at once, or share one (as the profile says)")
    parser.add_argument("--steps", type=int, help="of each training that is measured (40 on a GPU, else 12)")
    return parser


def main(argv: list[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    if (
        args.workflow_profile
    ):  # Snakemake goes on without one that is missing, and what is measured runs in another folder
        args.workflow_profile = str(profile_file(args.workflow_profile).resolve().parent)
    study = Planned(args.configfile, args.config, args.workflow_profile)
    has_gpu = shutil.which("nvidia-smi") is not None
    with tempfile.TemporaryDirectory(prefix="estimate_") as folder:
        if args.earlier:
            before = Planned(args.earlier, args.earlier_config)
            results = before.folder
        else:
            settings = probe_settings(study.config, study.asked, args.steps or (40 if has_gpu else 12))
            file, results = run_probe(Path(folder), settings, args.cores, args.workflow_profile)
            before = Planned([str(file)], [])
        rates, device = rates_of_run(results, before.jobs, before.amounts)
        units = costs.disk_units(before.amounts, before.jobs), costs.disk_units(study.amounts, study.jobs)
        disk = costs.disk_bytes(results, *units)
    measured = f"the run {before.folder.name}" if args.earlier else "a run of a few patients and steps"
    said = [f"Measured by {measured} on {device}, {args.cores} CPU cores."]
    if args.benchmark:
        if not args.speed > 0:
            raise UserError("--speed must be above 0: how fast the GPU is, as a share of the benchmark's")
        rates, there = with_benchmark(rates, args.benchmark, args.speed)
        said.append(f"Its networks' speed is that of {args.benchmark}: {there}.")
    show(study, args, rates, disk, said, on_gpu=has_gpu or args.benchmark is not None)


def show(study: Planned, args, rates: dict[str, Rate], disk: dict[str, float], said: list[str], on_gpu: bool) -> None:
    """Print the estimate, and leave it beside the run as estimate.json, which the report shows."""
    full = with_likes(rates, study.jobs)
    table = costs.estimate_table(study.jobs, full, study.amounts)
    seconds = costs.seconds_of(study.jobs, full, study.amounts)
    wall = costs.wall_seconds(study.jobs, seconds, args.cores, args.gpus or study.gpus) / 3600
    print(
        "\n".join(
            [f"{study.folder}: {len(study.jobs)} jobs", "", *costs.estimate_text(table, wall, disk, on_gpu), *said]
        )
    )
    likes = {row.stage: row.by for row in table.itertuples() if row.by}
    if likes:
        print("Not measured themselves: " + ", ".join(f"{rule} (by {like})" for rule, like in likes.items()) + ".")
    cheaper = savings(study, args, rates, on_gpu)
    print(
        "\n".join(["", f"To make it cheaper ({'GPU time' if on_gpu else 'time'} of all jobs), one of:", *cheaper])
        if cheaper
        else ""
    )
    study.folder.mkdir(parents=True, exist_ok=True)
    rows = table.drop(columns="by").to_dict(orient="records")
    rows = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    write_json(
        study.folder / "estimate.json", {"rows": rows, "wall_hours": wall, "disk_bytes": disk, "by": " ".join(said)}
    )


def savings(study: Planned, args, rates: dict[str, Rate], on_gpu: bool) -> list[str]:
    """What each setting alone would leave, the cheapest first."""
    now, found = study.hours(rates)[on_gpu], []
    for setting in costs.cheaper_settings(study.config):
        try:
            hours = Planned(args.configfile, [*args.config, setting], args.workflow_profile).hours(rates)[on_gpu]
        except UserError:  # it does not go together with another setting
            continue
        if hours < (1 - WORTH) * now:
            found.append((hours, setting))
    return [
        f'  {costs.amount_text(hours):>9} of {costs.amount_text(now)}  --config "{setting}"'
        for hours, setting in sorted(found)
    ]


if __name__ == "__main__":
    run_program(main)
