"""One nnU-Net plan from the real training cases alone, with the configuration's overrides worked in.

The fingerprint is nnU-Net's (`nnunetv2.experiment_planning.dataset_fingerprint`), taken from the preprocessed volumes;
the plan is made by nnU-Net's ExperimentPlanner.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..base.errors import BadCase, UserError
from ..base.files import read_json
from ..cohort.volumes import VolumeStore
from .nnunet import CONFIGURATION, DATASET, Plan, nnunet_home, nnunet_image, quiet, region_labels

FOREGROUND_SAMPLES = 10_000  # voxels a case for the intensity statistics, nnU-Net's default; z-scoring ignores them
MIN_EDGE = 4  # voxels at the lowest resolution, as in nnU-Net's planner (UNet_featuremap_min_edge_length)


def check_arrays(case_id: str, file: str, image: np.ndarray, levels: np.ndarray | None, modalities: list[str]) -> None:
    """Raise BadCase unless image (M, D, H, W) and levels (D, H, W; None: not looked at) hold `modalities`, one grid,
    and a foreground."""
    reason = ""
    if image.shape[0] != len(modalities):
        reason = f"holds {image.shape[0]} modalities, not {len(modalities)} ({', '.join(modalities)})"
    elif levels is not None and image.shape[1:] != levels.shape:
        reason = f"the image's grid {image.shape[1:]} differs from its mask's {levels.shape}"
    elif not (np.asarray(image) > -1).any():
        reason = "the image is background alone"
    if reason:
        raise BadCase(case_id, file, reason, "Make it again with the stage that wrote it (`snakemake -R <stage>`)")


def checked_image(store: VolumeStore, case_id: str, modalities: list[str]) -> tuple[np.ndarray, dict]:
    """A case's image (M, D, H, W) in [-1, 1] and sidecar. Raises BadCase if it does not fit. Reads no mask."""
    image, meta = store.image(case_id), store.meta(case_id)
    if list(meta["modalities"]) != list(modalities):
        reason = f"holds the modalities {', '.join(meta['modalities'])}, not {', '.join(modalities)}"
        raise BadCase(case_id, f"{case_id}.json", reason, "Preprocess it again: `snakemake -R preprocess`")
    check_arrays(case_id, f"{case_id}.image.npy", image, None, modalities)
    return image, meta


def checked_volume(store: VolumeStore, case_id: str, modalities: list[str]) -> tuple[np.ndarray, np.ndarray, dict]:
    """As `checked_image`, with the case's levels (D, H, W) in between."""
    image, meta = checked_image(store, case_id, modalities)
    levels = store.levels(case_id)
    check_arrays(case_id, f"{case_id}.levels.npy", image, levels, modalities)
    return image, levels, meta


def _measure_case(store: VolumeStore, case_id: str, modalities: list[str]) -> dict:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero

    image, levels, meta = checked_volume(store, case_id, modalities)
    data, seg, _ = crop_to_nonzero(nnunet_image(image), levels[None].astype(np.int8))
    samples, _ = DatasetFingerprintExtractor.collect_foreground_intensities(seg, data, num_samples=FOREGROUND_SAMPLES)
    # nnU-Net normalises within the foreground if that is less than 3/4 of the image. That must not hang on how tight
    # our grid sits, so the share is that of the image as it was given.
    given_mm3 = math.prod(meta["source"]["shape"]) * abs(np.linalg.det(np.array(meta["source"]["affine"])[:3, :3]))
    foreground_box_mm3 = math.prod(data.shape[1:]) * math.prod(meta["spacing_mm"])
    return {
        "shape": [int(edge) for edge in data.shape[1:]],
        "spacing": [float(edge) for edge in meta["spacing_mm"]],
        "samples": samples,
        "relative_size": min(foreground_box_mm3 / given_mm3, 1.0),
    }


def _statistics(samples: list[np.ndarray]) -> dict[str, float]:
    values = np.concatenate([np.asarray(part, dtype=np.float64) for part in samples])
    if not values.size:
        raise UserError("no training case has a tumour: a segmentation cannot be planned")
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    return {
        "mean": float(values.mean()),
        "median": float(median),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "percentile_99_5": float(high),
        "percentile_00_5": float(low),
    }


def fingerprint(store: VolumeStore, case_ids: list[str], modalities: list[str], threads: int = 1) -> dict:
    """nnU-Net's dataset fingerprint of the named cases; reads no other. Raises BadCase as `checked_volume`."""
    with ThreadPoolExecutor(max(1, threads)) as workers:
        cases = list(workers.map(lambda case_id: _measure_case(store, case_id, modalities), case_ids))
    return {
        "spacings": [case["spacing"] for case in cases],
        "shapes_after_crop": [case["shape"] for case in cases],
        "foreground_intensity_properties_per_channel": {
            str(channel): _statistics([case["samples"][channel] for case in cases])
            for channel in range(len(modalities))
        },
        "median_relative_size_after_cropping": float(np.median([case["relative_size"] for case in cases])),
    }


def dataset_description(modalities: list[str], regions: list[str], case_ids: list[str], n_real: int) -> dict:
    """``dataset.json``: nnU-Net's keys, and the case ids the plan is made from."""
    return {
        "channel_names": {str(channel): name for channel, name in enumerate(modalities)},
        "labels": region_labels(regions),
        "regions_class_order": list(range(1, len(regions) + 1)),
        "numTraining": len(case_ids),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIO",
        "n_real": n_real,
        "training_case_ids": list(case_ids),
    }


def make_plan(measured: dict, dataset: dict, threads: int = 1) -> Plan:
    """nnU-Net's own plan for a fingerprint, its 3d_fullres configuration alone."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    with nnunet_home(max(1, threads)) as home, quiet():  # the planner hands it to torch as a number of threads
        raw, preprocessed = (home / name / DATASET for name in ("nnUNet_raw", "nnUNet_preprocessed"))
        raw.mkdir(parents=True)
        preprocessed.mkdir(parents=True)
        # The planner wants a list of files, and opens none of them.
        files = {case_id: {"images": ["none"], "label": "none"} for case_id in dataset["training_case_ids"]}
        (raw / "dataset.json").write_text(json.dumps({**dataset, "dataset": files}))
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(measured))
        ExperimentPlanner(DATASET).plan_experiment()
        plans = read_json(preprocessed / "nnUNetPlans.json")
    plans["configurations"] = {CONFIGURATION: plans["configurations"][CONFIGURATION]}
    return Plan(plans, dataset)


def override_plan(
    plan: Plan,
    patch_size: list[int] | None = None,
    batch_size: int | None = None,
    features_per_stage: list[int] | None = None,
) -> Plan:
    """The plan with the given settings in place of nnU-Net's own, and all that depends on them worked out again.

    `patch_size` is in voxels [depth, height, width] of our grid. `features_per_stage` sets the number of stages too.
    Raises UserError with the value to write if the patch cannot be halved often enough.
    """
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    plans = json.loads(json.dumps(plan.plans))
    configuration = plans["configurations"][CONFIGURATION]
    kwargs = configuration["architecture"]["arch_kwargs"]
    order = plans["transpose_forward"]
    if batch_size is not None:
        configuration["batch_size"] = batch_size
    if patch_size is not None:
        configuration["patch_size"] = [patch_size[axis] for axis in order]
    if patch_size is not None or features_per_stage is not None:
        patch = configuration["patch_size"]
        _, strides, kernels, _, _ = get_pool_and_conv_props(configuration["spacing"], patch, MIN_EDGE, 999_999)
        stages = len(strides)
        if features_per_stage is not None:
            stages = len(features_per_stage)
            if not 2 <= stages <= len(strides):
                raise UserError(
                    f"segmentation.features_per_stage has {stages} entries, but a patch of {_back(patch, plans)} voxels "
                    f"allows 2 to {len(strides)} (an edge stays at least {MIN_EDGE} voxels long). Write, for example: "
                    f"features_per_stage: {[32 * 2**stage for stage in range(len(strides))]}"
                )
        total = np.prod(np.array(strides[:stages]), axis=0)
        if any(edge % factor for edge, factor in zip(patch, total, strict=True)):
            fitting = [int(math.ceil(edge / factor) * factor) for edge, factor in zip(patch, total, strict=True)]
            raise UserError(
                f"segmentation.patch_size {_back(patch, plans)} does not divide by {_back(total.tolist(), plans)}, what "
                f"{stages} stages of the network need. Write, for example: patch_size: {_back(fitting, plans)}"
            )
        base, most = kwargs["features_per_stage"][0], max(kwargs["features_per_stage"][-1], 320)
        kwargs |= {
            "n_stages": stages,
            "features_per_stage": features_per_stage or [min(base * 2**stage, most) for stage in range(stages)],
            "strides": [list(stride) for stride in strides[:stages]],
            "kernel_sizes": [list(kernel) for kernel in kernels[:stages]],
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
        }
    return Plan(plans, plan.dataset)


def _back(transposed: list[int], plans: dict) -> list[int]:
    """Numbers along the plan's axes, along our depth, height, width."""
    return [transposed[axis] for axis in plans["transpose_backward"]]


def read_plan_settings(config: dict) -> dict:
    """The overrides in a stage's config block. Raises UserError for a value that is no positive whole number."""
    settings = {key: config.get(key) for key in ("patch_size", "batch_size", "features_per_stage")}
    for key, value in settings.items():
        numbers = [value] if key == "batch_size" else value
        right = value is None or (
            isinstance(numbers, list)
            and all(type(number) is int and number > 0 for number in numbers)
            and (key != "patch_size" or len(numbers) == 3)
        )
        if not right:
            example = {"patch_size": [96, 128, 128], "batch_size": 2, "features_per_stage": [32, 64, 128, 256]}[key]
            raise UserError(f"segmentation.{key} is {value!r}: write null, or for example {key}: {example}")
    return settings


def plan_files(folder: Path) -> list[Path]:
    """The files a plan consists of."""
    return [folder / name for name in ("plans.json", "dataset.json", "dataset_fingerprint.json")]
