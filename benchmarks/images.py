"""The image metrics at full size: volumes a second and peak memory, measured on few volumes, and what many would take.

  python -m benchmarks.images                            # 192 x 192 x 144 voxels, four modalities
  python -m benchmarks.images --size 24 32 32 --cases 3  # small

Makes volumes of noise inside an ellipsoid brain, takes features of every slice with brain (EfficientNet-Lite0, packaged
weights), pairs them by MS-SSIM, and compares two sets of half the cases and of all of them. The seconds for `--many`
cases a side are EXTRAPOLATED from these: features by the case, comparison linearly in the cases. With --out also a JSON file
that holds device and command.
"""

from __future__ import annotations

import argparse
import json
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
from workflow_scripts.evaluation.feature_files import FeatureFiles
from workflow_scripts.evaluation.feature_sets import SETS, CaseSet, groups
from workflow_scripts.evaluation.image_features import PLANES, case_features, fitting_slice_size
from workflow_scripts.evaluation.image_metrics import Settings, distances
from workflow_scripts.evaluation.volume_metrics import gradient_ratio, ms_ssim
from workflow_scripts.models.image_networks import load_image_network
from workflow_scripts.training.devices import default_device, describe, use_threads

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
SPACING_MM = (1.0, 1.0, 1.0)


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


def compare(files: FeatureFiles, n: int, dimension: int) -> None:
    """All distances of n synthetic cases and their floor to n reference cases; the same files serve as all three."""
    settings = Settings(neighbours=min(5, n - 1), samples=2000, confidence=0.95, seed=0)
    sets = {name: CaseSet([str(index) for index in range(n)], files) for name in SETS}
    for group in groups(sets, list(PLANES), MODALITIES, dimension):
        list(distances(group, n, *[dict.fromkeys(SETS, 0)] * 2, settings))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[144, 192, 192], help="voxels: depth, height, width")
    parser.add_argument("--cases", type=int, default=4, help="volumes that are measured, at least 3")
    parser.add_argument("--many", type=int, default=1000, help="cases a side of the extrapolation")
    parser.add_argument("--batch-size", type=int, default=32, help="slices through the network at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.cases < 3:
        parser.error("--cases: at least 3, or no manifold can be compared")
    use_threads(args.threads)
    device = default_device()
    network = load_image_network("efficientnet_lite0", "package", None).to(device)
    slice_size = fitting_slice_size(args.size)
    found = {"size": args.size, "cases": args.cases, "slice_size": slice_size}

    with tempfile.TemporaryDirectory() as folder:
        files, spent, slices, previous = FeatureFiles(folder, "benchmark", "real"), [], 0, None
        ratios, pairs = [], []
        for number in range(args.cases):
            image = brain(args.size, number)
            started = time.perf_counter()
            features = case_features(
                network, image, list(PLANES), SPACING_MM, 0.05, args.batch_size, device, slice_size
            )
            files.write(str(number), str(number), features)
            spent.append(time.perf_counter() - started)
            slices = sum(plane.shape[1] for plane in features.values())
            ratios.append(seconds_of(lambda image=image: gradient_ratio(image, SPACING_MM)))
            if number == 1:
                pairs.append(seconds_of(lambda image=image, other=previous: ms_ssim(image, other, device)))
            previous = image
        dimension = next(iter(features.values())).shape[2]
        found["slices_per_volume"], found["feature_mib_per_volume"] = slices, files.path("0").stat().st_size / 2**20
        found["feature_seconds_per_volume"] = float(np.median(spent[1:]))
        found["gradient_seconds_per_volume"] = float(np.median(ratios))
        found["ms_ssim_seconds_per_pair"] = pairs[0]
        found["peak_mib_features"] = peak_mib()
        few = max(3, args.cases // 2)
        found["compare_seconds"] = {n: seconds_of(lambda n=n: compare(files, n, dimension)) for n in {few, args.cases}}
        found["peak_mib"] = peak_mib()

    counts = sorted(found["compare_seconds"])
    per_case = found["compare_seconds"][counts[-1]] / counts[-1]  # without any fixed part: an upper bound
    per_volume = found["feature_seconds_per_volume"] + found["gradient_seconds_per_volume"]
    found["extrapolated_hours"] = {
        "features": 2 * args.many * per_volume / 3600,
        "comparison": args.many * per_case / 3600,
    }
    where = describe(device, "32")
    print(f"on {where}; grid {'x'.join(map(str, args.size))}, {len(MODALITIES)} modalities, {args.cases} volumes")
    print(
        f"features: {1 / found['feature_seconds_per_volume']:.3g} volumes/s ({slices} slices of {slice_size} pixels, "
        f"{len(MODALITIES) * slices / found['feature_seconds_per_volume']:.0f} images/s), "
        f"{found['feature_mib_per_volume']:.1f} MiB kept a volume"
    )
    print(f"gradient ratio: {found['gradient_seconds_per_volume']:.2g} s a volume; MS-SSIM: {pairs[0]:.3g} s a pair")
    for n, seconds in sorted(found["compare_seconds"].items()):
        print(f"comparison of {n} synthetic and {n} floor cases with {n} reference cases: {seconds:.3g} s")
    print(
        f"peak memory: {found['peak_mib_features']:.0f} MiB with features, {found['peak_mib']:.0f} MiB in all (process)"
    )
    hours = found["extrapolated_hours"]
    print(
        f"EXTRAPOLATED, not measured: {args.many} synthetic against {args.many} real volumes: {hours['features']:.2g} h of "
        f"features and at most {hours['comparison']:.2g} h of comparison"
    )
    if args.out:
        command = f"python -m benchmarks.images {' '.join(map(shlex.quote, sys.argv[1:]))}"
        args.out.write_text(json.dumps({"device": where, "command": command, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
