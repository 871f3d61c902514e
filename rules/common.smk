# Names, paths and helpers that the rules share: the only place with functions. No torch, and no look at the data.
import json
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

sys.path.insert(0, str(workflow.basedir))
from workflow_scripts.base.arms import blocks_for, synthetic_count
from workflow_scripts.base.config import resolve
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.environment import check_image, use_project
from workflow_scripts.base.provenance import code_digest

try:
    config = resolve(config)
    if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
        check_image(config["container"])
except UserError as error:
    raise WorkflowError(str(error)) from None

RUN = f"{config['results']}/{config['run']}"
N = f"{RUN}/n_real~{{n_real}}"
STATE = f"{RUN}/.state"
ARM = f"{N}/segmentation/{{arm}}/seed~{{seed}}"
SYSTEMS = config["systems"]
N_REAL = config["splits"]["n_real"]
AUTOENCODERS = sorted({system["autoencoder"]["name"] for system in config["system"].values() if system["autoencoder"]})
SHARDS = range(config["preprocessing"]["shards"])
SIMULATED = config["data_root"] is None
DATA_ROOT = f"{RUN}/demo_cohort" if SIMULATED else config["data_root"]
SIMULATED_FLAG = "--simulated" if SIMULATED else ""
COHORT = {
    "cases": f"{RUN}/cohort/cases.tsv",
    "splits": f"{RUN}/cohort/splits.json",
}
VOLUMES = f"{RUN}/cohort/volumes"
PLAN = {name: f"{N}/segmentation/plan/{name}.json" for name in ("plans", "dataset", "dataset_fingerprint")}


wildcard_constraints:
    n_real=r"\d+",
    shard=r"\d+",
    block=r"\d+",
    seed=r"\d+",
    name=r"[^/]+",
    system=r"[^/]+",
    arm=r"real|[^/]+/(ratio|synthetic_only)~[^/]+",


# The Snakefile is parsed in every job, so this holds on a cluster too.
use_project(bring_python=not workflow.deployment_settings.deployment_method)
# A cluster signals all processes of a job at once: shell and log must outlive a program that saves before it stops.
shell.prefix("set -euo pipefail; trap : TERM; tee() ( trap '' HUP INT TERM; exec tee \"$@\" ); ")


def block(**settings):
    """A rule's settings as JSON: a rule sees the keys that it is given here and no other."""
    return json.dumps(settings, sort_keys=True)


def code(program):
    """Digest of a program and of the modules it imports: a changed line reruns the rule, a changed comment does not."""
    return code_digest(f"workflow_scripts.{program}")


def system_of_autoencoder(name):
    """Settings of the (first) system that uses the autoencoder; the config check keeps them equal for all."""
    users = (system for system in config["system"].values() if system["autoencoder"])
    return next(system for system in users if system["autoencoder"]["name"] == name)


def autoencoder_block(wildcards):
    spec = system_of_autoencoder(wildcards.name)["autoencoder"]
    channels = {key: config[key] for key in ("modalities", "regions")}
    return block(**spec, **channels, seed=config["training_seed"])


def latents_block(wildcards):
    return block(**system_of_autoencoder(wildcards.name)["latents"])


def generator_block(wildcards):
    system = config["system"][wildcards.system]
    parts = {key: system[key] for key in ("denoiser", "diffusion", "gan") if key in system}
    return block(system=wildcards.system, regions=config["regions"], seed=config["training_seed"], **parts)


def autoencoder_devices(wildcards):
    return system_of_autoencoder(wildcards.name)["autoencoder"]["training"].get("devices", 1)


def generator_devices(wildcards):
    system = config["system"][wildcards.system]
    return system.get("gan", system.get("diffusion"))["training"].get("devices", 1)


def synthesis_block(wildcards):
    settings = {key: value for key, value in config["synthesis"].items() if key != "block_size"}
    sampler = {key: value for key, value in config["system"][wildcards.system].items() if key == "sampler"}
    return block(**settings, **sampler)


def cost_block(wildcards):
    """The sampling of a system as its cost is measured: what decides the cost, and nothing of the gate."""
    synthesis = {key: config["synthesis"][key] for key in ("seed", "slices_per_batch")}
    sampler = {key: value for key, value in config["system"][wildcards.system].items() if key == "sampler"}
    return block(**config["evaluation"]["cost"], **synthesis, **sampler)


def space_of(wildcards):
    """Folders of the autoencoder and the latents of a system, by option name; none for a system in voxel space."""
    autoencoder = config["system"][wildcards.system]["autoencoder"]
    if autoencoder is None:
        return {}
    return {
        kind: f"{RUN}/n_real~{wildcards.n_real}/{kind}/{autoencoder['name']}" for kind in ("latents", "autoencoder")
    }


def space_files(wildcards):
    """Latents and autoencoder that a generator is trained on; the volumes of a system in voxel space are no declared files."""
    files = {"latents": ("latents.safetensors", "latents.json"), "autoencoder": ("model.safetensors", "model.json")}
    return [f"{folder}/{file}" for kind, folder in space_of(wildcards).items() for file in files[kind]]


def space_options(wildcards):
    folders = space_of(wildcards) or {"volumes": VOLUMES}
    return " ".join(f"--{kind} {shlex.quote(folder)}" for kind, folder in folders.items())


def data_root(wildcards):
    return DATA_ROOT


def blocks_of(folder, n_real, ratio):
    """The block tables of `folder` that hold the first `ratio` x `n_real` synthetic cases."""
    count = synthetic_count(int(n_real), float(ratio))
    return [f"{folder}/{number}.tsv" for number in blocks_for(count, config["synthesis"]["block_size"])]


def synthetic_blocks(wildcards):
    """As many synthetic cases as real training patients: what the image metrics and the figure look at."""
    return blocks_of(f"{RUN}/n_real~{wildcards.n_real}/synthetic/{wildcards.system}/blocks", wildcards.n_real, 1)


def all_synthetic_blocks(wildcards):
    ratios = [1, *config["segmentation"]["ratios"], *config["segmentation"]["synthetic_only_ratios"]]
    folder = f"{RUN}/n_real~{wildcards.n_real}/synthetic/{wildcards.system}/blocks"
    return blocks_of(folder, wildcards.n_real, max(ratios))


def rejected_of_blocks(wildcards):
    return [path.replace(".tsv", ".rejected.tsv") for path in all_synthetic_blocks(wildcards)]


def arm_parts(wildcards):
    """(system, "ratio" or "synthetic_only", ratio) of an arm's folder name; the real-only arm has no system."""
    if wildcards.arm == "real":
        return "none", "ratio", "0"
    system, kind = wildcards.arm.split("/")
    return system, *kind.split("~")


def arm_options(wildcards):
    system, kind, ratio = arm_parts(wildcards)
    only = " --synthetic-only" if kind == "synthetic_only" else ""
    return f"--n-real {wildcards.n_real} --system {shlex.quote(system)} --ratio {ratio}{only} --seed {wildcards.seed}"


def arm_pool(wildcards):
    """Tables of the synthetic cases, preprocessed for nnU-Net, that an arm draws on."""
    system, _, ratio = arm_parts(wildcards)
    return blocks_of(f"{RUN}/n_real~{wildcards.n_real}/segmentation/pool_{system}", wildcards.n_real, ratio)


def all_arms(file):
    """A file of every arm of the study."""
    segmentation = config["segmentation"]
    names = ["real"]
    for system in SYSTEMS:
        names += [f"{system}/ratio~{ratio:g}" for ratio in segmentation["ratios"] if ratio > 0]
        names += [f"{system}/synthetic_only~{ratio:g}" for ratio in segmentation["synthetic_only_ratios"]]
    return expand(f"{ARM}/{file}", n_real=N_REAL, arm=names, seed=segmentation["seeds"])


def measured_rules():
    """Names of the rules so far that have a benchmark, in the order of the rule files."""
    return [known.name for known in workflow.rules if known.benchmark]


def of_all_systems(pattern):
    return expand(pattern, n_real=N_REAL, system=SYSTEMS)


def input_options(wildcards, input):
    """Named inputs as options of the program, such as --synthetic-rejected a.tsv b.tsv."""
    named = {name: input.get(name) for name in input.keys()}
    files = {name: [value] if isinstance(value, str) else value for name, value in named.items()}
    return " ".join(f"--{name.replace('_', '-')} {shlex.join(map(str, found))}" for name, found in files.items())
