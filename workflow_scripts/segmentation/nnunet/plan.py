"""One nnU-Net plan from the real training cases alone, with the configuration's overrides worked in.

The fingerprint is nnU-Net's (`nnunetv2.experiment_planning.dataset_fingerprint`), taken from the preprocessed volumes;
the plan is made by nnU-Net's ExperimentPlanner.
"""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ...base.cli import log
from ...base.errors import UserError
from ...base.files import read_json
from ...cohort.volumes import VolumeStore
from ...study.settings.segmentation import Segmentation
from ..cases import checked_volume
from ..segmenter import Plan
from .library import CONFIGURATION, DATASET, NnunetPlan, nnunet_home, nnunet_image, quiet

FOREGROUND_SAMPLES = 10_000  # voxels a case for the intensity statistics, nnU-Net's default; z-scoring ignores them
MIN_EDGE = 4  # voxels at the lowest resolution, as in nnU-Net's planner (UNet_featuremap_min_edge_length)


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


def region_labels(regions: list[str]) -> dict[str, int | list[int]]:
    """nnU-Net's ``labels`` for levels 0 ... R: region i is the levels from i + 1 upwards.

    nnU-Net trains one sigmoid per region, and reads them in this order. One region of one level would be a class to
    it: it gets a second level, which no voxel has.
    """
    levels = list(range(1, max(len(regions), 2) + 1))
    if len(regions) == 1:
        return {"background": 0, regions[0]: levels}
    return {
        "background": 0,
        **{name: levels[index:] for index, name in enumerate(regions[:-1])},
        regions[-1]: levels[-1],
    }


def dataset_description(modalities: list[str], regions: list[str], n_cases: int) -> dict:
    """``dataset.json``, nnU-Net's description of a data set."""
    return {
        "channel_names": {str(channel): name for channel, name in enumerate(modalities)},
        "labels": region_labels(regions),
        "regions_class_order": list(range(1, len(regions) + 1)),
        "numTraining": n_cases,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIO",
    }


def make_plan(measured: dict, dataset: dict, case_ids: list[str], threads: int = 1) -> NnunetPlan:
    """nnU-Net's own plan for a fingerprint, its 3d_fullres configuration alone."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    with nnunet_home(max(1, threads)) as home, quiet():  # the planner hands it to torch as a number of threads
        raw, preprocessed = (home / name / DATASET for name in ("nnUNet_raw", "nnUNet_preprocessed"))
        raw.mkdir(parents=True)
        preprocessed.mkdir(parents=True)
        # The planner wants a list of files, and opens none of them.
        files = {case_id: {"images": ["none"], "label": "none"} for case_id in case_ids}
        (raw / "dataset.json").write_text(json.dumps({**dataset, "dataset": files}))
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(measured))
        ExperimentPlanner(DATASET).plan_experiment()
        plans = read_json(preprocessed / "nnUNetPlans.json")
    plans["configurations"] = {CONFIGURATION: plans["configurations"][CONFIGURATION]}
    return NnunetPlan(plans, dataset)


def override_plan(
    plan: NnunetPlan,
    patch_size: list[int] | None = None,
    batch_size: int | None = None,
    features_per_stage: list[int] | None = None,
) -> NnunetPlan:
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
    return NnunetPlan(plans, plan.dataset)


def _back(transposed: list[int], plans: dict) -> list[int]:
    """Numbers along the plan's axes, along our depth, height, width."""
    return [transposed[axis] for axis in plans["transpose_backward"]]


def plan(store: VolumeStore, case_ids: list[str], head: Plan, settings: Segmentation, threads: int) -> dict:
    """nnU-Net's plan of the named cases; see `segmentation.segmenter`."""
    dataset = dataset_description(head.modalities, head.regions, len(case_ids))
    measured = fingerprint(store, case_ids, head.modalities, threads)
    own = settings.patch_size, settings.batch_size, settings.features_per_stage
    planned = override_plan(make_plan(measured, dataset, case_ids, threads), *own)
    chosen = planned.configuration
    log.info(
        "planned on %d cases: patch %s, batch %d, features %s",
        *(len(case_ids), chosen["patch_size"], chosen["batch_size"]),
        chosen["architecture"]["arch_kwargs"]["features_per_stage"],
    )
    return {"plans": planned.plans, "dataset": planned.dataset, "dataset_fingerprint": measured}
