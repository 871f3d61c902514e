"""The configuration: checked, with the systems' files read in.

Imports no torch: the Snakefile calls `resolve` on every parse, also inside every cluster job.
"""

from __future__ import annotations

import copy
from pathlib import Path

from ..study.arms import synthetic_count
from ..study.segmenters import SEGMENTERS
from .schema import CONFIG, check_schema, fail, merge, read_yaml
from .systems import check_weights, load_systems

__all__ = ["merge", "resolve"]


def _check_sense(config: dict) -> None:
    """What a schema cannot say: keys that must fit each other."""
    root = config["data_root"]
    if root is not None and not Path(root).is_dir():
        fail(["data_root"], "/data/BraTS2023", f"data_root {root!r} is no folder that can be read")
    if unknown := [name for name in config["segmentation"]["segmenters"] if name not in SEGMENTERS]:
        what = f"segmentation.segmenters: {unknown[0]!r} is none of {', '.join(SEGMENTERS)}"
        fail(["segmentation", "segmenters"], [*SEGMENTERS], what)
    ratios = config["segmentation"]["ratios"]
    if 0 not in ratios:
        what = "segmentation.ratios must hold 0, the real-only arm that all others are compared with"
        fail(["segmentation", "ratios"], sorted({0, *ratios}), what)
    if config["evaluation"]["comparison_ratio"] not in (None, *ratios):
        what = "evaluation.comparison_ratio is not among segmentation.ratios: there is no such arm to compare"
        fail(["evaluation", "comparison_ratio"], None, what)
    n_real = config["splits"]["n_real"]
    smallest = min(r for r in [*ratios, *config["segmentation"]["synthetic_only_ratios"], 1] if r > 0)
    if synthetic_count(min(n_real), smallest) == 0:
        what = f"a ratio of {smallest:g} is not one synthetic case for {min(n_real)} real ones"
        fail(["segmentation", "ratios"], sorted(r for r in ratios if r == 0 or r * min(n_real) >= 1), what)
    if n_real != sorted(n_real):
        fail(["splits", "n_real"], sorted(n_real), "splits.n_real must rise: each subset lies within the next")
    for block, key in (("preprocessing", "intensity_percentiles"), ("demo_cohort", "tumour_volume_ml")):
        low, high = config[block][key]
        if low >= high:
            fail([block, key], read_yaml(CONFIG / "config.yaml")[block][key], f"{block}.{key} must rise")
    needed = sum(config["splits"][key] for key in ("val", "test")) + n_real[-1]
    if root is None and needed > config["demo_cohort"]["cases"]:
        what = f"splits ask for {needed} patients, but demo_cohort.cases is {config['demo_cohort']['cases']}"
        fail(["demo_cohort", "cases"], needed, what)
    modality = config["evaluation"]["figures"]["modality"]
    if modality not in config["modalities"]:
        what = f"evaluation.figures.modality {modality!r} is not among modalities"
        fail(["evaluation", "figures", "modality"], config["modalities"][0], what)
    if config["evaluation"]["control"]["sweep_steps"] == 1:
        what = "evaluation.control.sweep_steps is 1: a sweep needs two volumes a row, and 0 makes none"
        fail(["evaluation", "control", "sweep_steps"], 5, what)
    masks = config["evaluation"]["masks"]["reference_root"]
    if masks is not None and not Path(masks).is_dir():
        what = f"evaluation.masks.reference_root {masks!r} is no folder that can be read"
        fail(["evaluation", "masks", "reference_root"], "/data/masks", what)
    images = config["evaluation"]["images"]
    if images["network"] != "efficientnet_lite0" and images["weights"] == "package":
        what = f"evaluation.images.network {images['network']} is not packaged: evaluation.images.weights must name its file"
        fail(["evaluation", "images", "weights"], f"/weights/{images['network']}.pth", what)
    check_weights(images, ["evaluation", "images"], "weights", "sha256")


def resolve(config: dict) -> dict:
    """The checked configuration, with each system's own settings under ``system``: {name: settings}.

    Raises UserError that names the key, what is wrong, and the lines to write.
    """
    defaults = read_yaml(CONFIG / "config.yaml")
    plain = {key: copy.deepcopy(value) for key, value in config.items() if key != "system"}
    check_schema(plain, "config.schema.yaml", defaults, "config")
    _check_sense(plain)
    size = plain["preprocessing"]["size"]
    return {**plain, "system": load_systems(plain["systems"], plain["system_settings"], size)}
