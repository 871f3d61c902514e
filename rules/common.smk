# Names, paths and helpers that the rules share: the only place with functions. No torch, and no look at the data.
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.environment import use_project
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.cohort.case_table import listing
from workflow_scripts.operations.run_events import write_events
from workflow_scripts.operations.external import check_counts
from workflow_scripts.operations.study_file import check_settings, write_settings
from workflow_scripts.reporting.registry import FIGURES, TABLES
from workflow_scripts.study import blocks
from workflow_scripts.study.arms import ARM_PATTERN
from workflow_scripts.study.commands import options
from workflow_scripts.study.files import Files
from workflow_scripts.study.generators import KINDS
from workflow_scripts.study.segmenters import module_of
from workflow_scripts.study.settings.study import check_image, read_study

# profiles/default is read beside every other profile, and wins over it: its numbers are this machine's. A profile that
# calls cards local (set-resource-scopes) sends jobs elsewhere: there, neither number bounds what a job asks for.
if workflow.resource_scopes.is_local("gpu"):
    for name in ("_cores", "gpu"):
        workflow.global_resources[name] = None
    if workflow.is_main_process:
        workflow.resource_settings.cores = None

try:
    STUDY = read_study(config)
    config = STUDY.plain()
    if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
        check_image(STUDY.container)
except UserError as error:
    raise WorkflowError(str(error)) from None

FILES = Files(config)
RUN = FILES.run
N = f"{RUN}/n_real~{{n_real}}"
STATE = f"{RUN}/.state/n_real~{{n_real}}"  # what a stopped training resumes from
IMAGE_FEATURES = f"{RUN}/evaluation/image_features"  # files that the tables of cases list with their digests
SEGMENTER = f"{N}/segmentation/{{segmenter}}"
ARM = f"{SEGMENTER}/{{arm}}/seed~{{seed}}"
SYSTEMS, SAMPLED = FILES.systems, FILES.sampled
N_REAL = FILES.n_real
NOT_COUNTED = ("make_report", "track_run")  # in the cost table: what comes after it
WHOLE_FIGURES = ("dice_vs_ratio", "ladder", "exchange")  # of the whole study
SHARDS = range(config["preprocessing"]["shards"])
SIMULATED = STUDY.simulated
TRACKED = [f"{RUN}/tracking/{config['tracking']}.txt"] if config["tracking"] != "none" else []
REFERENCE_ROOT = config["evaluation"]["masks"]["reference_root"]
# What a stage is given of the cohort: the cases of its own subset, as links and a manifest with digests.
TRAIN = f"{N}/train/manifest.json"
VAL, TEST = (f"{RUN}/cohort/{name}/manifest.json" for name in ("val", "test"))
TRAIN_SUBSETS = expand(TRAIN, n_real=N_REAL)
OTHERS = f"{N}/others/manifest.json"  # the next patients of the nested order, for the ladder alone


wildcard_constraints:
    n_real=r"\d+",
    shard=r"\d+",
    block=r"\d+",
    seed=r"\d+",
    name=r"[^/]+",
    table="|".join(TABLES),
    figure="|".join(FIGURES),
    place=r"(n_real~\d+/)?",
    suffix=r"(_[^/]+)?",
    system=r"[^/]+",
    tracker="mlflow|wandb",
    segmenter=r"[^/]+",
    compared="cases|tumours",
    dataset=r"Dataset\d{3}_[^/]+",
    arm=ARM_PATTERN,


if workflow.is_main_process:
    try:
        check_settings(Path(RUN), config)
        check_counts(STUDY, FILES)
    except UserError as error:
        raise WorkflowError(str(error)) from None
write_events(workflow, lambda: write_settings(Path(RUN), config))  # for `make status`
# The Snakefile is parsed in every job, so this holds on a cluster too.
use_project(bring_python=not workflow.deployment_settings.deployment_method)
# A cluster signals all processes of a job at once: shell and log must outlive a program that saves before it stops.
shell.prefix("set -euo pipefail; trap : TERM; tee() ( trap '' HUP INT TERM; exec tee \"$@\" ); ")


def settings_of(wildcards, value):
    """A setting of a program: as it is, a pattern with wildcards, or what a function of (config, wildcards) returns."""
    if callable(value):
        return value(config, wildcards)
    return value.format_map(wildcards) if isinstance(value, str) else value


def run(program, config=None, modules=(), unasked=None, **settings):
    """Params of a rule: its program, the options made of the rule's named files and these settings, the digest of its code.

    A program sees the keys of the configuration that it is given here and no other. `modules`: what it loads by name.
    `unasked`: settings by which nothing comes out other than it did: a changed one reruns nothing.
    """

    def given(wildcards):
        return settings_of(wildcards, config), {name: settings_of(wildcards, value) for name, value in settings.items()}

    def asked(wildcards):
        """A changed setting reruns the rule: Snakemake does not compare params that depend on input or output."""
        return json.dumps(given(wildcards), sort_keys=True)

    def options_of(wildcards, input, output):
        files = [(name, found) for named in (input, output) for name, found in named.items() if name != "after"]
        block, others = given(wildcards)
        others |= {name: settings_of(wildcards, value) for name, value in (unasked or {}).items()}
        return options(block, files, others, Path(RUN, ".state", "lists"), not workflow.dryrun)

    def code(wildcards):
        """A changed line reruns the rule, a changed comment does not."""
        found = " ".join([f"programs.{program}", *(settings_of(wildcards, module) for module in modules)])
        return " ".join(code_digest(f"workflow_scripts.{module}") for module in found.split())

    return {"program": program, "options": options_of, "settings": asked, "code": code}


def needs(mem_mb, runtime, **others):
    """Resources of a rule: memory grows with each attempt, up to `node_mem_mb` of a cluster's profile, its largest node's."""
    limit = (workflow.resource_settings.default_resources or {}).get("node_mem_mb")
    most = max(mem_mb, limit.value) if limit and limit.value else float("inf")
    memory = lambda wildcards, attempt: min(mem_mb * attempt, most)
    return {"mem_mb": memory, "runtime": runtime, "launcher": "", **others}


def devices_of(part):
    """How many devices train a part of a system."""
    return lambda wildcards: blocks.devices(config, wildcards, part)


def module_for(stage):
    """The module of the {segmenter} that does a stage's work."""
    return lambda config, wildcards: module_of(wildcards.segmenter, stage)


def of_seeds(pattern):
    """`pattern` with each seed of the arms; its other wildcards stay."""
    return expand(pattern, seed=config["segmentation"]["seeds"], allow_missing=True)


def table_files(*suffixes):
    """The files of all tables of the study: where every system's cases are read from a folder, there is none of generators."""
    names = [name for name in TABLES if SAMPLED or name not in ("compute", "control")]
    return [f"{RUN}/tables/{name}{suffix}" for name in names for suffix in suffixes]


def table_block(config, wildcards):
    """The settings of a table. That of the cost reads the benchmarks and logs of all jobs but its own and the report's."""
    # by their files: in another workflow, rules may have other names, and rules of its own stand beside them
    places = [str(known.benchmark) for known in workflow.rules if str(known.benchmark).startswith(f"{RUN}/benchmarks/")]
    parts = [place.removeprefix(f"{RUN}/benchmarks/").removesuffix(".tsv").split("/") for place in places]
    names = [part[1] if part[0].startswith("n_real~") else part[0] for part in parts]
    stages = [name for name in names if name not in NOT_COUNTED]
    measured = {"run": RUN, "stages": stages} if wildcards.table == "cost" else {}
    return {**blocks.looks(config), **TABLES[wildcards.table].block(config), **measured}


def table_modules(config, wildcards):
    """The code of a table; that of the compute table counts the networks of the systems' kinds."""
    kinds = sorted({KINDS[system["kind"]].module for system in config["system"].values()})
    return " ".join([f"reporting.tables.{wildcards.table}", *(kinds if wildcards.table == "compute" else [])])


def of_figure(wildcards):
    """The n_real and the system that a figure is of; "" for one of the whole study."""
    return SimpleNamespace(n_real=wildcards.place[len("n_real~") : -1], system=wildcards.suffix[1:])


def all_figures():
    """Those of the whole study, and those of each n_real and system."""
    sweeps = SAMPLED if config["evaluation"]["control"]["sweep_steps"] else []
    each = [
        (f"{RUN}/figures/n_real~{{n_real}}/{name}_{{system}}.png", systems)
        for name, systems in (("real_and_synthetic", SYSTEMS), ("memorisation", SYSTEMS), ("control_sweep", sweeps))
    ]
    return [
        *expand(f"{RUN}/figures/{{name}}.png", name=WHOLE_FIGURES),
        *(file for pattern, systems in each for file in FILES.of_systems(pattern, systems)),
    ]
