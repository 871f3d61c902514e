"""The settings that each stage is given, and no other: functions of the whole configuration and a job's wildcards."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..base.given_tables import is_table
from .arms import MIXING, Arm, others_of, train_sizes
from .dataset import parse_dataset
from .generators import KINDS


def picked(block: Mapping[str, Any], keys: Iterable[str]) -> dict:
    """The block with these keys alone."""
    return {key: block[key] for key in keys}


def without(block: Mapping[str, Any], *keys: str) -> dict:
    """The block without these keys."""
    return {key: value for key, value in block.items() if key not in keys}


def dataset(config: dict, *keys: str) -> dict:
    """What a stage needs of the data set: how its cases are stored, and its blocks `keys`."""
    return {"dataset": parse_dataset(config["data_set"]).part(*keys)}


def looks(config: dict) -> dict:
    """What the regions are called in tables, and their colours in figures."""
    return {"looks": picked(config["data_set"], ("region_names", "region_colours"))}


def find_cases(config: dict, wildcards: Any = None) -> dict:
    """Of `find_cases`."""
    return dataset(config, "foreground") | picked(config, ("modalities", "layout", "on_bad_case"))


def merge_cohort(config: dict, wildcards: Any = None) -> dict:
    """Of `merge_cohort`."""
    decided = config["patients"] is not None or is_table(config["data_root"])
    return dataset(config, "remarks") | picked(config, ("layout", "on_bad_case")) | {"patients": decided}


def preprocess(config: dict, wildcards: Any = None) -> dict:
    """Of `preprocess`."""
    shared = dataset(config, "foreground", "intensity", "bounds") | picked(config, ("modalities", "on_bad_case"))
    return shared | without(config["preprocessing"], "shards")


def splits(config: dict, wildcards: Any = None) -> dict:
    """Of `split_cohort`: the outermost region is the whole tumour."""
    segmentation, n_real = config["segmentation"], config["splits"]["n_real"]
    others = {str(size): count for size, count in others_of(segmentation, n_real).items()}
    subsets = {"train": train_sizes(segmentation, n_real), "others": others}
    return without(config["splits"], "file") | {"region": config["regions"][0]} | subsets


def system_of_autoencoder(config: dict, name: str) -> dict:
    """Settings of the (first) system that uses the autoencoder; the check of the configuration keeps them equal for all."""
    users = (system for system in config["system"].values() if system["autoencoder"])
    return next(system for system in users if system["autoencoder"]["name"] == name)


def autoencoder(config: dict, wildcards: Any) -> dict:
    """Of `train_autoencoder`."""
    spec = system_of_autoencoder(config, wildcards.name)["autoencoder"]
    return {**spec, **picked(config, ("modalities", "regions", "foreground_channel")), "seed": config["training_seed"]}


def latents(config: dict, wildcards: Any) -> dict:
    """Of `extract_latents`."""
    return system_of_autoencoder(config, wildcards.name)["latents"] | {"seed": config["training_seed"]}


def generator(config: dict, wildcards: Any) -> dict:
    """Of `train_generator`."""
    system = config["system"][wildcards.system]
    parts = picked(system, ("kind", *KINDS[system["kind"]].trained))
    channels = picked(config, ("regions", "foreground_channel"))
    return {"system": wildcards.system, **channels, "seed": config["training_seed"], **parts}


def generator_module(config: dict, wildcards: Any) -> str:
    """The code of a {system}'s kind."""
    return KINDS[config["system"][wildcards.system]["kind"]].module


def devices(config: dict, wildcards: Any, part: str) -> int:
    """How many devices train a "generator" (by {system}) or an "autoencoder" (by {name})."""
    if part == "generator":
        system = config["system"][wildcards.system]
        trained_by = KINDS[system["kind"]].trained_by
        return system[trained_by]["training"].get("devices", 1) if trained_by else 1
    return system_of_autoencoder(config, wildcards.name)[part]["training"].get("devices", 1)


def _sampler(config: dict, system: str) -> dict:
    """The blocks of a system that decide how its cases are drawn."""
    settings = config["system"][system]
    return picked(settings, KINDS[settings["kind"]].sampled)


def synthesis(config: dict, wildcards: Any) -> dict:
    """Of `synthesize`: how a system is sampled, and the gate."""
    return without(config["synthesis"], "block_size") | _sampler(config, wildcards.system)


def read_external(config: dict, wildcards: Any = None) -> dict:
    """Of `read_external`."""
    return preprocess(config) | picked(config, ("regions",))


def judge_external(config: dict, wildcards: Any = None) -> dict:
    """Of `judge_external`."""
    return picked(config["synthesis"], ("gate",)) | picked(config, ("regions",))


def sampling(config: dict, wildcards: Any) -> dict:
    """How a system is sampled, and nothing of the gate."""
    return picked(config["synthesis"], ("seed", "slices_per_batch")) | _sampler(config, wildcards.system)


def cost(config: dict, wildcards: Any) -> dict:
    """Of `measure_cost`."""
    return config["evaluation"]["cost"] | sampling(config, wildcards)


def control(config: dict, wildcards: Any) -> dict:
    """Of `evaluate_control`."""
    return picked(config["evaluation"]["control"], ("requests",)) | sampling(config, wildcards)


def sweep(config: dict, wildcards: Any) -> dict:
    """Of `sample_control_sweep`."""
    return picked(config["evaluation"]["control"], ("sweep_steps",)) | sampling(config, wildcards)


def image_features(config: dict, wildcards: Any = None) -> dict:
    """Of the extraction of features, real or synthetic."""
    return without(config["evaluation"]["images"], "neighbours", "jackknife_groups")


def images(config: dict, wildcards: Any = None) -> dict:
    """Of `evaluate_images`."""
    evaluation = config["evaluation"]
    return picked(evaluation["images"], ("neighbours", "jackknife_groups")) | {"intervals": evaluation["tables"]}


def audit_images(config: dict, wildcards: Any = None) -> dict:
    """Of `calibrate_memorisation`: features by which the audit compares."""
    return picked(config["evaluation"]["images"], ("batch_size", "planes", "min_foreground_fraction"))


def audit(config: dict, wildcards: Any) -> dict:
    """Of `audit_memorisation`."""
    gate = picked(config["memorisation"], ("action", "false_positive_rate")) | {"images": audit_images(config)}
    return gate | picked(config["synthesis"], ("slices_per_batch",))


def copy_rate(config: dict, wildcards: Any = None) -> float | None:
    """The false-positive rate of the gate against copies; None: there is no such gate."""
    memorisation = config["memorisation"]
    return memorisation["false_positive_rate"] if memorisation["action"] == "refuse" else None


def segmentation_plan(config: dict, wildcards: Any = None) -> dict:
    """Of `plan_segmentation`."""
    keys = ("patch_size", "batch_size", "features_per_stage")
    return picked(config, ("modalities", "regions")) | picked(config["segmentation"], keys)


def segmentation_training(config: dict, wildcards: Any) -> dict:
    """Of `train_segmentation`: the share of a way of mixing goes to the arms of that way alone."""
    steps = ("epochs", "iterations_per_epoch", "val_iterations_per_epoch", "initial_learning_rate")
    keys = [*steps, "augmentation", "precision", "workers", "checkpoint_minutes"]
    return picked(config["segmentation"], keys + [way for way in MIXING if wildcards.arm.endswith(f"_{way}")])


def segmentation_prediction(config: dict, wildcards: Any = None) -> dict:
    """Of `predict_segmentation`."""
    return picked(config["segmentation"], ("mirroring", "precision"))


def reference_masks(config: dict, wildcards: Any = None) -> dict:
    """Of `measure_reference_masks`."""
    return (
        dataset(config) | picked(config, ("regions", "on_bad_case")) | picked(config["preprocessing"], ("spacing_mm",))
    )


def scores(config: dict, wildcards: Any = None) -> dict:
    """Of `score_segmentation`."""
    return dataset(config, "lesions") | picked(config, ("regions",)) | config["evaluation"]["segmentation"]


def export_mix(config: dict, arm: Arm) -> dict:
    """Of `export_mix`."""
    mix = {"n_real": arm.n_real, "ratio": arm.ratio, "synthetic_only": arm.synthetic_only}
    return picked(config, ("run", "modalities", "regions")) | mix


def datasheet(config: dict, wildcards: Any) -> dict:
    """Of `describe_synthetic`."""
    system = picked(config["system"][wildcards.system], ("label", "kind")) | {"system": wildcards.system}
    shared = picked(config, ("run", "modalities", "regions")) | picked(config["preprocessing"], ("spacing_mm", "size"))
    return shared | system | {"n_real": int(wildcards.n_real), "simulated": config["data_root"] == "demo"}


def viewer(config: dict, wildcards: Any = None) -> dict:
    """Of `pack_viewer`."""
    evaluation = config["evaluation"]
    channels = picked(config, ("modalities", "regions"))
    return evaluation["report"] | picked(evaluation["figures"], ("cases",)) | channels
