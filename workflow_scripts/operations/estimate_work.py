"""How much work each job of a study is: in floating-point operations of its networks, or in voxels of its cases.

A job's seconds are taken to be a start, the same for every job of its rule, and a rate times this amount. So only the
ratio of two jobs of one rule matters, and a count in either unit serves; a rule that is not here takes the same time in every
study.
"""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from ..evaluation.system_cost import system_cost
from ..study.arms import synthetic_count
from ..study.blocks import system_of_autoencoder
from ..study.conditions import condition_names
from ..study.generators import KINDS

NNUNET_PATCH, NNUNET_BATCH, NNUNET_FEATURES = (128, 160, 112), 2, 32  # its own plan for head MRI at 1 mm
EPOCHS = {"nnunet": 1000, "monai_dynunet": 20}
ITERATIONS, VAL_ITERATIONS, VAL_SHARE = 250, 50, 0.4  # a validation step has no backward pass


class Amounts:
    """Amounts of work of the jobs of one study.

    config : as the rules read it (`Study.plain`); cases : of the whole cohort
    """

    def __init__(self, config: Mapping[str, Any], cases: int):
        self.config, self.cases = config, cases
        self.splits, self.synthesis = config["splits"], config["synthesis"]
        self.voxels = math.prod(config["preprocessing"]["size"])
        self.test, self.held_out = self.splits["test"], self.splits["val"] + self.splits["test"]
        self._costs: dict[str, dict] = {}

    def of(self, rule: str, wildcards: Mapping[str, str]) -> float | None:
        """Work of a job, None where all jobs of the rule are alike; above 0."""
        work = WORK.get(rule)
        return None if work is None else max(1e-9, float(work(self, SimpleNamespace(**wildcards))))

    def cost(self, system: dict) -> dict:
        """FLOP of one volume of a system, by part (`system_cost`); a part that a kind lacks is 0."""
        name = system["label"]
        if name not in self._costs:
            modalities, regions = self.config["modalities"], self.config["regions"]
            size, names = self.config["preprocessing"]["size"], condition_names(regions)
            self._costs[name] = system_cost(
                system, len(modalities), len(regions) + 1, size, names
            )  # and the foreground
        return self._costs[name]

    def of_autoencoder(self, name: str) -> tuple[dict, dict]:
        """(system, its costs) of the autoencoder of that name."""
        system = system_of_autoencoder(self.config, name)
        return system, self.cost(system)

    def volume(self, w: Any) -> float:
        """FLOP of a synthetic volume of a {system}; a voxel's worth where no network makes it."""
        return self.cost(self.config["system"][w.system])["volume_flop"] or self.voxels

    def block(self, w: Any) -> float:
        """Synthetic cases of a {block}."""
        return self.synthesis["block_size"]

    @cached_property
    def segmentation_step(self) -> float:
        """FLOP of a training step, up to a constant: voxels of the batch times the square of the first stage's width."""
        block = self.config["segmentation"]
        patch, features = block["patch_size"], block["features_per_stage"]
        edges = patch or [min(a, b) for a, b in zip(NNUNET_PATCH, self.config["preprocessing"]["size"], strict=True)]
        return math.prod(edges) * (block["batch_size"] or NNUNET_BATCH) * (features or [NNUNET_FEATURES])[0] ** 2

    def segmentation_steps(self, w: Any) -> float:
        block = self.config["segmentation"]
        epochs = block["epochs"] or EPOCHS.get(w.segmenter, EPOCHS["nnunet"])
        steps = block["iterations_per_epoch"] or ITERATIONS
        if w.segmenter != "nnunet":  # it alone validates after each epoch
            return epochs * steps
        validation = VAL_ITERATIONS if block["val_iterations_per_epoch"] is None else block["val_iterations_per_epoch"]
        return epochs * (steps + VAL_SHARE * validation)


def _train_autoencoder(a: Amounts, w: Any) -> float:
    system, cost = a.of_autoencoder(w.name)
    spec = system["autoencoder"]
    whole = cost["encode_flop"] + cost["decode_flop"]
    patch = spec.get("patch_size")
    share = math.prod(patch) / a.voxels if patch else 1 / a.config["preprocessing"]["size"][0]
    share = share if spec["kind"] == "slice_vae" or patch else 1.0
    return spec["training"]["steps"] * spec["training"]["batch_size"] * share * whole


def _train_generator(a: Amounts, w: Any) -> float:
    system = a.config["system"][w.system]
    trained_by = KINDS[system["kind"]].trained_by
    if trained_by is None:
        return 1.0
    training = system[trained_by]["training"]
    return training["steps"] * training["batch_size"] * a.cost(system)["call_flop"]


def _most_synthetic(a: Amounts, w: Any) -> int:
    block = a.config["segmentation"]
    return synthetic_count(int(w.n_real), max(1, *block["ratios"], *block["synthetic_only_ratios"]))


def _coded(a: Amounts, w: Any, cases: float) -> float:
    _, cost = a.of_autoencoder(w.name)
    return cases * (cost["encode_flop"] + cost["decode_flop"])


def _per_case(cases: Callable[[Amounts, Any], float]) -> Callable[[Amounts, Any], float]:
    return lambda a, w: cases(a, w) * a.voxels


WORK: dict[str, Callable[[Amounts, Any], float]] = {
    "demo_cohort": lambda a, w: a.cases / a.config["demo_cohort"]["spacing_mm"] ** 3,
    "find_cases": lambda a, w: a.cases,
    "preprocess": lambda a, w: a.cases / a.config["preprocessing"]["shards"],
    "split_cohort": lambda a, w: a.cases,
    "train_autoencoder": _train_autoencoder,
    "extract_latents": lambda a, w: int(w.n_real) * a.of_autoencoder(w.name)[1]["encode_flop"],
    "measure_reconstruction": lambda a, w: _coded(a, w, int(w.n_real) + a.splits["val"]),
    "measure_tumours": _per_case(lambda a, w: int(w.n_real)),
    "train_generator": _train_generator,
    "synthesize": lambda a, w: a.block(w) * a.volume(w),
    "read_external": _per_case(lambda a, w: _most_synthetic(a, SimpleNamespace(n_real=max(a.splits["n_real"])))),
    "judge_external": _per_case(_most_synthetic),
    "plan_segmentation": _per_case(lambda a, w: int(w.n_real)),
    "pool_real": _per_case(lambda a, w: int(w.n_real) + a.splits["val"]),
    "pool_synthetic": _per_case(Amounts.block),
    "pool_others": _per_case(lambda a, w: int(w.n_real)),
    "pool_reconstructions": _per_case(lambda a, w: int(w.n_real)),
    "reconstruct_others": lambda a, w: _coded(a, w, int(w.n_real)),
    "train_segmentation": lambda a, w: a.segmentation_steps(w) * a.segmentation_step,
    "predict_segmentation": lambda a, w: (
        a.test * len(a.config["segmentation"]["seeds"]) * a.voxels * (8 if a.config["segmentation"]["mirroring"] else 1)
    ),
    "score_segmentation": _per_case(lambda a, w: a.test * len(a.config["segmentation"]["seeds"])),
    "extract_real_features": _per_case(lambda a, w: a.held_out + max(a.splits["n_real"])),
    "extract_synthetic_features": _per_case(lambda a, w: int(w.n_real)),
    "measure_cost": lambda a, w: a.config["evaluation"]["cost"]["volumes"] * a.volume(w),
    "measure_held_out": _per_case(lambda a, w: a.held_out),
    "evaluate_control": lambda a, w: min(a.config["evaluation"]["control"]["requests"], a.held_out) * a.volume(w),
    "sample_control_sweep": lambda a, w: a.config["evaluation"]["control"]["sweep_steps"] * a.volume(w),
    "memorisation_reference": _per_case(lambda a, w: int(w.n_real)),
    "calibrate_memorisation": _per_case(lambda a, w: int(w.n_real) + a.held_out),
    "audit_memorisation": lambda a, w: _most_synthetic(a, w) * a.voxels,
}
"""Rule -> work of one of its jobs, of its wildcards."""

LIKE = {
    "synthesize": "evaluate_control",
    "read_external": "preprocess",
    "judge_external": "memorisation_reference",
    "extract_synthetic_features": "extract_real_features",
    "pool_synthetic": "pool_real",
    "pool_others": "pool_real",
    "pool_reconstructions": "pool_real",
    "reconstruct_others": "measure_reconstruction",
    "audit_memorisation": "calibrate_memorisation",
}
"""A rule whose jobs were not measured -> one that does the same to the same unit of work."""
