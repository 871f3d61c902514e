# Names, paths and helpers that the rules share: the only place with functions. No torch, and no look at the data.
import json
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

sys.path.insert(0, str(workflow.basedir))
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.environment import use_project
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.operations.run_events import write_events
from workflow_scripts.reporting.registry import TABLES
from workflow_scripts.study.arms import ARM_PATTERN, REAL_ONLY, Arm, arms_of_study, blocks_for, synthetic_count
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

RUN = f"{config['results']}/{config['run']}"
N = f"{RUN}/n_real~{{n_real}}"
STATE = f"{RUN}/.state"
SEGMENTER = f"{N}/segmentation/{{segmenter}}"
ARM = f"{SEGMENTER}/{{arm}}/seed~{{seed}}"
SYSTEMS = config["systems"]
N_REAL = config["splits"]["n_real"]
ARMS = arms_of_study(config["segmentation"], SYSTEMS, N_REAL)
AUTOENCODERS = sorted({system["autoencoder"]["name"] for system in config["system"].values() if system["autoencoder"]})
DEPTH_DECODED = [name for name, system in config["system"].items() if system.get("depth_decoder")]
SHARDS = range(config["preprocessing"]["shards"])
SIMULATED = STUDY.simulated
DATA_ROOT = f"{RUN}/demo_cohort" if SIMULATED else config["data_root"]
REFERENCE_ROOT = config["evaluation"]["masks"]["reference_root"]
SIMULATED_FLAG = "--simulated" if SIMULATED else ""
# What a stage is given of the cohort: the cases of its own subset, as links and a manifest with digests.
TRAIN = f"{N}/train/manifest.json"
VAL, TEST = (f"{RUN}/cohort/{name}/manifest.json" for name in ("val", "test"))
TRAIN_SUBSETS = expand(TRAIN, n_real=N_REAL)
IMAGE_FEATURES = {
    key: value for key, value in config["evaluation"]["images"].items() if key not in ("neighbours", "jackknife_groups")
}


wildcard_constraints:
    n_real=r"\d+",
    shard=r"\d+",
    block=r"\d+",
    seed=r"\d+",
    name=r"[^/]+",
    table="|".join(TABLES),
    system=r"[^/]+",
    segmenter=r"[^/]+",
    arm=ARM_PATTERN,


write_events(workflow)  # for `make status`
# The Snakefile is parsed in every job, so this holds on a cluster too.
use_project(bring_python=not workflow.deployment_settings.deployment_method)
# A cluster signals all processes of a job at once: shell and log must outlive a program that saves before it stops.
shell.prefix("set -euo pipefail; trap : TERM; tee() ( trap '' HUP INT TERM; exec tee \"$@\" ); ")


def block(**settings):
    """A rule's settings as JSON: a rule sees the keys that it is given here and no other."""
    return json.dumps(settings, sort_keys=True)


def memory(mb):
    """Megabytes that a job asks for: more with each attempt, up to `node_mem_mb` of a cluster's profile, its largest node's."""
    limit = (workflow.resource_settings.default_resources or {}).get("node_mem_mb")
    most = max(mb, limit.value) if limit and limit.value else float("inf")
    return lambda wildcards, attempt: min(mb * attempt, most)


def code(*modules):
    """Digest of a program, what it loads by name, and all they import: a changed line reruns the rule, a comment does not."""
    return " ".join(code_digest(f"workflow_scripts.{module}") for module in modules)


def code_of_segmenter(program, stage):
    """As `code`, of a program that leaves its work to the {segmenter}."""
    return lambda wildcards: code(program) + code(module_of(wildcards.segmenter, stage))


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


def depth_decoder_block(wildcards):
    return block(**system_of_autoencoder(wildcards.name)["depth_decoder"], seed=config["training_seed"])


def depth_decoder_of(wildcards):
    """The depth decoder that a generator's folder takes in."""
    name = config["system"][wildcards.system]["autoencoder"]["name"]
    folder = f"{RUN}/n_real~{wildcards.n_real}/autoencoder/{name}/depth_decoder"
    return {"weights": f"{folder}/model.safetensors", "contract": f"{folder}/model.json"}


def attached_depth_decoder(wildcards):
    """The depth decoder in a generator's folder; none for a system that decodes without."""
    folder = f"{RUN}/n_real~{wildcards.n_real}/generator/{wildcards.system}/depth_decoder"
    files = ("model.safetensors", "model.json") if wildcards.system in DEPTH_DECODED else ()
    return [f"{folder}/{file}" for file in files]


def depth_decoders(file):
    """A file of every depth decoder of the study."""
    names = sorted({config["system"][system]["autoencoder"]["name"] for system in DEPTH_DECODED})
    return expand(f"{N}/autoencoder/{{name}}/depth_decoder/{file}", n_real=N_REAL, name=names)


def table_files(*suffixes):
    """The files of all tables of the study: that of the depth decoder only where a system has one."""
    return [
        f"{RUN}/tables/{name}{suffix}"
        for name in TABLES
        if name != "depth_decoder" or DEPTH_DECODED
        for suffix in suffixes
    ]


def table_block(wildcards):
    """The settings of a table. That of the cost reads the benchmarks and logs of all jobs but its own and the report's."""
    measured = {"run": RUN, "stages": measured_rules()} if wildcards.table == "cost" else {}
    return block(**TABLES[wildcards.table].block(config), **measured)


def table_options(wildcards, input):
    named = {name: input.get(name) for name in TABLES[wildcards.table].inputs}
    return options(named)


def generator_block(wildcards):
    system = config["system"][wildcards.system]
    parts = {key: system[key] for key in ("kind", *KINDS[system["kind"]].trained)}
    return block(system=wildcards.system, regions=config["regions"], seed=config["training_seed"], **parts)


def autoencoder_devices(wildcards):
    return system_of_autoencoder(wildcards.name)["autoencoder"]["training"].get("devices", 1)


def depth_decoder_devices(wildcards):
    return system_of_autoencoder(wildcards.name)["depth_decoder"]["training"].get("devices", 1)


def generator_devices(wildcards):
    system = config["system"][wildcards.system]
    trained_by = KINDS[system["kind"]].trained_by
    return system[trained_by]["training"].get("devices", 1) if trained_by else 1


def sampled(wildcards):
    """The blocks of a system that decide how its cases are drawn."""
    system = config["system"][wildcards.system]
    return {key: system[key] for key in KINDS[system["kind"]].sampled}


def synthesis_block(wildcards):
    settings = {key: value for key, value in config["synthesis"].items() if key != "block_size"}
    return block(**settings, **sampled(wildcards), depth_decoder=wildcards.system in DEPTH_DECODED)


def sampling(wildcards):
    """How a system is sampled, and nothing of the gate."""
    synthesis = {key: config["synthesis"][key] for key in ("seed", "slices_per_batch")}
    return synthesis | sampled(wildcards) | {"depth_decoder": wildcards.system in DEPTH_DECODED}


def cost_block(wildcards):
    return block(**config["evaluation"]["cost"], **sampling(wildcards))


def decoders_block(wildcards):
    images = {key: value for key, value in IMAGE_FEATURES.items() if key != "ms_ssim_cases"}
    groups = config["evaluation"]["images"]["jackknife_groups"]
    return block(**config["evaluation"]["decoders"], images=images, jackknife_groups=groups, **sampling(wildcards))


def control_block(wildcards):
    return block(requests=config["evaluation"]["control"]["requests"], **sampling(wildcards))


def sweep_block(wildcards):
    modality = config["evaluation"]["figures"]["modality"]
    steps = config["evaluation"]["control"]["sweep_steps"]
    return block(sweep_steps=steps, modality=modality, **sampling(wildcards))


def space_of(wildcards):
    """Folders of the autoencoder and the latents of a system, by option name; none for a system in voxel space."""
    autoencoder = config["system"][wildcards.system]["autoencoder"]
    if autoencoder is None:
        return {}
    return {
        kind: f"{RUN}/n_real~{wildcards.n_real}/{kind}/{autoencoder['name']}" for kind in ("latents", "autoencoder")
    }


def space_files(wildcards):
    """Latents and autoencoder that a generator is trained on; none for a system in voxel space."""
    files = {"latents": ("latents.safetensors", "latents.json"), "autoencoder": ("model.safetensors", "model.json")}
    return [f"{folder}/{file}" for kind, folder in space_of(wildcards).items() for file in files[kind]]


def train_of_voxel_system(wildcards):
    """The volumes that a generator is trained on; none for a system over latents."""
    return [] if space_of(wildcards) else [TRAIN.format(**wildcards)]


def space_options(wildcards):
    folders = space_of(wildcards) or {"train": TRAIN.format(**wildcards)}
    return " ".join(f"--{kind} {shlex.quote(folder)}" for kind, folder in folders.items())


def copy_gate_files(wildcards):
    """The training set that the release gate compares with, where copies of training cases are refused."""
    if config["memorisation"]["action"] != "refuse":
        return []
    return [f"{RUN}/n_real~{wildcards.n_real}/memorisation/reference.{kind}" for kind in ("json", "safetensors")]


def copy_gate_options(wildcards, input):
    if not input.copies:
        return ""
    rate = config["memorisation"]["false_positive_rate"]
    return f"--refuse-copies {shlex.quote(str(Path(input.copies[0]).parent))} --false-positive-rate {rate}"


AUDIT_IMAGES = {key: config["evaluation"]["images"][key] for key in ("batch_size", "planes", "min_foreground_fraction")}


def audit_block(wildcards):
    gate = {key: config["memorisation"][key] for key in ("action", "false_positive_rate")}
    decoding = {"slices_per_batch": config["synthesis"]["slices_per_batch"]}
    decoding["depth_decoder"] = wildcards.system in DEPTH_DECODED
    return block(images=AUDIT_IMAGES, **gate, **decoding)


def copy_control_files(wildcards):
    """Latents and generator by which the audit decodes training cases; none for a system in voxel space."""
    latents = space_of(wildcards).get("latents")
    if latents is None:
        return []
    model = f"{RUN}/n_real~{wildcards.n_real}/generator/{wildcards.system}"
    files = [f"{latents}/latents.safetensors", f"{model}/model.safetensors", f"{model}/model.json"]
    return files + attached_depth_decoder(wildcards)


def copy_control_options(wildcards, input):
    if not input.control:
        return ""
    latents, model = (shlex.quote(str(Path(input.control[place]).parent)) for place in (0, 1))
    return f"--latents {latents} --model {model}"


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


def arm_pool(wildcards):
    """Tables of the synthetic cases, preprocessed for the segmenter, that an arm draws on."""
    arm = Arm.of_folder(ARM.format_map(wildcards))
    pool = f"{SEGMENTER.format_map(wildcards)}/pool_{arm.system}"
    return [] if arm.system == REAL_ONLY else blocks_of(pool, arm.n_real, arm.ratio)


def all_arms(file):
    """A file of every arm of the study."""
    return [f"{RUN}/{arm.folder}/{file}" for arm in ARMS]


def of_seeds(pattern):
    """`pattern` with each seed of the arms; its other wildcards stay."""
    return expand(pattern, seed=config["segmentation"]["seeds"], allow_missing=True)


def measured_rules():
    """Names of the rules whose jobs the cost table counts, in the order of the rule files."""
    return [known.name for known in workflow.rules if known.benchmark and known.name != "make_report"]


def evaluations(file, systems=SYSTEMS):
    """A file of the evaluation of each system and n_real."""
    return expand(f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/{file}", n_real=N_REAL, system=systems)


def of_all_systems(pattern):
    return expand(pattern, n_real=N_REAL, system=SYSTEMS)


def input_options(wildcards, input):
    """Named inputs as options of the program, such as --synthetic-rejected a.tsv b.tsv."""
    return options({name: input.get(name) for name in input.keys()})


def options(named):
    files = {name: [value] if isinstance(value, str) else value for name, value in named.items()}
    return " ".join(f"--{name.replace('_', '-')} {shlex.join(map(str, found))}" for name, found in files.items())


SWEEP_FIGURES = (
    of_all_systems(f"{RUN}/figures/n_real~{{n_real}}/control_sweep_{{system}}.png")
    if config["evaluation"]["control"]["sweep_steps"]
    else []
)
