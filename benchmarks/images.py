"""The image metrics at full size: features of few volumes, the comparison of many, and the memorisation audit of many.

  python -m benchmarks.images                                      # 192 x 192 x 144 voxels, four modalities, 1000 cases
  python -m benchmarks.images --size 24 32 32 --cases 3 --many 20  # small

Makes volumes of noise inside an ellipsoid brain, takes features of their slices with brain (EfficientNet-Lite0, packaged
weights), of one also those of every slice, as a step of 0 would, and pairs two of them by MS-SSIM. Their feature files are
then linked under `--many` ids for each of the three sets, and the comparison runs on all of them: its seconds and the
process's peak memory are MEASURED with `--many` cases a side.
So is one row of the memorisation audit, against `--many` training cases on the coarse grid. What is a rate times a number
says so. With --out also a JSON file that holds device and command.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.evaluation.audit import audit_row
from workflow_scripts.evaluation.feature_files import FeatureFiles
from workflow_scripts.evaluation.feature_sets import SETS, CaseSet, groups
from workflow_scripts.evaluation.image_features import PLANES, case_features, fitting_slice_size
from workflow_scripts.evaluation.metrics import Settings, distances
from workflow_scripts.evaluation.volume_metrics import gradient_ratio, ms_ssim
from workflow_scripts.memorisation.likeness import blocks_of, coarse_image, coarse_mask
from workflow_scripts.memorisation.reference import Reference
from workflow_scripts.models.image_networks import load_image_network
from workflow_scripts.study.settings.evaluation import ImageFeatures
from workflow_scripts.training.devices import default_device, describe, use_threads

IMAGES = ImageFeatures()
MODALITIES = ("t1n", "t1c", "t2w", "t2f")
SPACING_MM = (1.0, 1.0, 1.0)
COARSE_MM, SHIFT_MM = 4.0, 8.0  # memorisation.resolution_mm and max_shift_mm of config.yaml


def brain(size: list[int], number: int) -> np.ndarray:
    """Smooth noise in an ellipsoid, (4, D, H, W) float16 in [-1, 1], background -1."""
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, edge)) for edge in size)]
    inside = sum((axis / 0.8) ** 2 for axis in axes) < 1
    noise = numpy_rng("benchmark", number).normal(size=(len(MODALITIES), *(-(-edge // 4) for edge in size)))
    coarse = np.stack([ndimage.zoom(channel, 4, order=1) for channel in noise])[:, : size[0], : size[1], : size[2]]
    return np.where(inside, np.clip(coarse * 0.4, -0.99, 1), -1).astype(np.float16)


def seconds_of(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class LinkedFiles(FeatureFiles):
    """Feature files of few volumes under the ids of many cases, each read with its features in an order of its own.

    In one order the slices of many cases would span no more directions than those of the few, and the Fréchet distance
    of such covariances is cheaper than that of full ones.
    """

    def link(self, case_id: str, number: int) -> None:
        os.link(self.path(str(number)), self.path(case_id))

    def read(self, case_id: str, plane: str, modality: int) -> np.ndarray:
        return np.roll(super().read(case_id, plane, modality), int(case_id.rsplit("-", 1)[1]), axis=1)


def compare(files: LinkedFiles, volumes: int, many: int, dimension: int) -> None:
    """All distances of `many` synthetic cases and their floor to `many` reference cases, as evaluate_images takes them."""
    settings = Settings(neighbours=min(5, many - 1), samples=2000, confidence=0.95, seed=0)
    ids = {name: [f"{name}-{place * many + row}" for row in range(many)] for place, name in enumerate(SETS)}
    for number, case_id in enumerate(case_id for of_set in ids.values() for case_id in of_set):
        files.link(case_id, number % volumes)
    sets = {name: CaseSet(case_ids, files) for name, case_ids in ids.items()}
    for group in groups(sets, list(PLANES), MODALITIES, dimension):
        list(distances(group, many, *[dict.fromkeys(SETS, 0)] * 2, settings))


def audit(image: np.ndarray, many: int, feature_length: int) -> float:
    """Seconds of one row of the memorisation audit against `many` training cases, which hold noise on the coarse grid."""
    blocks = blocks_of(SPACING_MM, COARSE_MM)
    sigma = [COARSE_MM / (edge * count) for edge, count in zip(SPACING_MM, blocks, strict=True)]
    description = {"spacing_mm": SPACING_MM, "blocks": blocks, "sigma": sigma, "max_shift_mm": SHIFT_MM}
    levels, rng = (image[0] > 0.3).astype(np.uint8), numpy_rng("benchmark", "training cases")
    shapes = (coarse_image(image, blocks, sigma).shape, coarse_mask(levels, blocks).shape)
    images, masks = (rng.standard_normal((many, *shape), dtype=np.float32) for shape in shapes)
    ids = [str(index) for index in range(many)]
    reference = Reference(ids, ids, images, masks, description)
    features = rng.standard_normal((many, 2, feature_length), dtype=np.float32)
    return seconds_of(lambda: audit_row(reference, features, "case", image, levels, features[0, 0]))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[144, 192, 192], help="voxels: depth, height, width")
    parser.add_argument("--cases", type=int, default=4, help="volumes whose features are taken, at least 3")
    parser.add_argument("--many", type=int, default=1000, help="cases a side of the comparison, at least 3")
    parser.add_argument("--slice-step-mm", type=float, default=IMAGES.slice_step_mm, help="as in the configuration")
    parser.add_argument("--batch-size", type=int, default=32, help="slices through the network at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if min(args.cases, args.many) < 3:
        parser.error("--cases and --many: at least 3, or no manifold can be compared")
    use_threads(args.threads)
    device = default_device()
    network = load_image_network("efficientnet_lite0", "package", None).to(device)
    slice_size = fitting_slice_size(args.size)
    found = {
        "size": args.size,
        "cases": args.cases,
        "many": args.many,
        "slice_size": slice_size,
        "slice_step_mm": args.slice_step_mm,
    }

    def features_of(image: np.ndarray, step_mm: float) -> dict[str, np.ndarray]:
        share, planes = IMAGES.min_foreground_fraction, list(PLANES)
        return case_features(network, image, planes, SPACING_MM, share, step_mm, args.batch_size, device, slice_size)

    with tempfile.TemporaryDirectory() as folder:
        files, spent, slices, previous = LinkedFiles(folder, "benchmark", "real"), [], 0, None
        ratios, pairs = [], []
        for number in range(args.cases):
            image = brain(args.size, number)
            started = time.perf_counter()
            features = features_of(image, args.slice_step_mm)
            files.write(str(number), str(number), features)
            spent.append(time.perf_counter() - started)
            slices = sum(plane.shape[1] for plane in features.values())
            ratios.append(seconds_of(lambda image=image: gradient_ratio(image, SPACING_MM)))
            if number == 1:
                found["every_slice_seconds_per_volume"] = seconds_of(lambda image=image: features_of(image, 0))
                pairs.append(seconds_of(lambda image=image, other=previous: ms_ssim(image, other, device)))
            previous = image
        dimension = next(iter(features.values())).shape[2]
        found["slices_per_volume"], found["feature_mib_per_volume"] = slices, files.path("0").stat().st_size / 2**20
        found["feature_seconds_per_volume"] = float(np.median(spent[1:]))
        found["gradient_seconds_per_volume"] = float(np.median(ratios))
        found["ms_ssim_seconds_per_pair"] = pairs[0]
        found["peak_mib_features"] = peak_mib()
        found["comparison_seconds"] = seconds_of(lambda: compare(files, args.cases, args.many, dimension))
        found["peak_mib_comparison"] = peak_mib()
    found["audit_row_seconds"] = audit(image, args.many, len(PLANES) * len(MODALITIES) * dimension)
    found["peak_mib"] = peak_mib()

    per_volume = found["feature_seconds_per_volume"] + found["gradient_seconds_per_volume"]
    found["extrapolated_hours"] = {
        "features": 2 * args.many * per_volume / 3600,
        "audit": args.many * found["audit_row_seconds"] / 3600,
    }
    where = describe(device, "32")
    print(f"on {where}; grid {'x'.join(map(str, args.size))}, {len(MODALITIES)} modalities, {args.cases} volumes")
    print(
        f"features: {1 / found['feature_seconds_per_volume']:.3g} volumes/s ({slices} slices of {slice_size} pixels, "
        f"{len(MODALITIES) * slices / found['feature_seconds_per_volume']:.0f} images/s), "
        f"{found['every_slice_seconds_per_volume'] / found['feature_seconds_per_volume']:.2f} times as fast as every slice, "
        f"{found['feature_mib_per_volume']:.1f} MiB kept a volume; peak memory {found['peak_mib_features']:.0f} MiB (process)"
    )
    print(f"gradient ratio: {found['gradient_seconds_per_volume']:.2g} s a volume; MS-SSIM: {pairs[0]:.3g} s a pair")
    print(
        f"comparison of {args.many} synthetic and {args.many} floor cases with {args.many} reference cases, measured: "
        f"{found['comparison_seconds']:.4g} s, peak memory {found['peak_mib_comparison']:.0f} MiB (process); the files of "
        f"{args.cases} volumes under {3 * args.many} ids, so that the disk is read less than for as many volumes"
    )
    print(
        f"memorisation audit against {args.many} training cases, measured: {found['audit_row_seconds']:.3g} s a row without "
        f"its features, peak memory of the process then {found['peak_mib']:.0f} MiB"
    )
    hours = found["extrapolated_hours"]
    print(
        f"EXTRAPOLATED, a measured rate times {args.many}, not measured: {hours['features']:.2g} h of features of "
        f"{args.many} synthetic and {args.many} real volumes; {hours['audit']:.2g} h of audit of {args.many} cases"
    )
    if args.out:
        command = f"python -m benchmarks.images {' '.join(map(shlex.quote, sys.argv[1:]))}"
        args.out.write_text(json.dumps({"device": where, "command": command, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
