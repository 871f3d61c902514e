"""Fréchet distance of synthetic volumes to real ones that the generator never saw, and its floor: real against real.

Reference: real validation and test cases. Synthetic: the first synthetic cases. Floor: real training cases, against
the same reference. All three hold the same number of cases, n = the smallest of the three sets, and synthetic and
floor the same number of slices a plane.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from workflow_scripts.base.cli import add_cohort, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.cohort.dataset import read_splits, test_ids, train_ids, val_ids
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.evaluation.frechet import GaussianStatistics, frechet_distance
from workflow_scripts.evaluation.image_features import (
    PLANES,
    draw_slices,
    find_slices,
    fitting_slice_size,
    plane_statistics,
)
from workflow_scripts.models.feature_network import load_feature_network
from workflow_scripts.training.devices import default_device, describe, use_threads

DEFAULTS = {
    "weights": "package",
    "sha256": None,
    "batch_size": 32,
    "planes": ["axial", "sagittal", "coronal"],
    "min_brain_fraction": 0.05,
    "slice_size": None,  # pixels; None: what fits the volumes
    "seed": 0,
}


def _draw_cases(case_ids: list[str], count: int, rng: np.random.Generator) -> list[str]:
    return [case_ids[index] for index in np.sort(rng.permutation(len(case_ids))[:count])]


def _synthetic_reader(folder: Path, modalities: list[str], shape: tuple[int, ...]) -> Callable[[str], np.ndarray]:
    def read(case_id: str) -> np.ndarray:
        image, _ = read_synthetic_case(folder / case_id, case_id, modalities)
        if image.shape != shape:
            raise UserError(
                f"synthetic case {case_id} has shape {image.shape}, the real volumes {shape}: they come from another "
                "model. Remove its folder and run `snakemake -R synthesize`"
            )
        return image

    return read


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__)
    add_cohort(parser, "cases", "splits", "volumes", "n-real")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic cases")
    parser.add_argument("--tables", nargs="+", required=True, help="tables of the synthetic cases (blocks)")
    parser.add_argument("--system", required=True, help="name of the generative system")
    parser.add_argument("--out", type=Path, required=True, help="fid.tsv")
    args = parser.parse_args(argv)
    use_threads(args.threads)
    settings = DEFAULTS | args.config
    planes = settings["planes"]
    if not planes or set(planes) - set(PLANES):
        raise UserError(f"evaluation: images: planes must be some of {', '.join(PLANES)}, not {planes}")

    known, splits = set(read_tsv(args.cases).case_id), read_splits(args.splits)
    made = pd.concat([read_tsv(file) for file in args.tables], ignore_index=True).sort_values("number")
    sets = {
        "reference": [case for case in val_ids(splits) + test_ids(splits) if case in known],
        "floor": [case for case in train_ids(splits, args.n_real) if case in known],
        "synthetic": list(made.case_id),
    }
    n = min(map(len, sets.values()))
    if n == 0:
        empty = next(name for name, ids in sets.items() if not ids)
        raise UserError(f"there is no {empty} case to compare: no Fréchet distance for {args.system}, n={args.n_real}")
    rng = numpy_rng(settings["seed"], "cases for the Fréchet distance", args.n_real)
    sets = {name: ids[:n] if name == "synthetic" else _draw_cases(ids, n, rng) for name, ids in sets.items()}

    store = VolumeStore(args.volumes)
    meta = store.meta(sets["reference"][0])
    shape = (len(meta["modalities"]), *meta["size"])
    readers = dict.fromkeys(("reference", "floor"), store.image)
    readers["synthetic"] = _synthetic_reader(args.synthetic, meta["modalities"], shape)
    slices = {
        name: find_slices(readers[name], ids, planes, settings["min_brain_fraction"]) for name, ids in sets.items()
    }
    for plane in planes:
        count = min(len(slices["synthetic"][plane]), len(slices["floor"][plane]))
        for name in ("synthetic", "floor"):
            draw = numpy_rng(settings["seed"], "slices for the Fréchet distance", plane)
            slices[name][plane] = draw_slices(slices[name][plane], count, draw)

    device = default_device()
    log.info("features of %d cases a side, on %s", n, describe(device, "32"))
    network = load_feature_network(settings["weights"], settings["sha256"]).eval()
    network = network.to(device, memory_format=torch.channels_last)
    slice_size = settings["slice_size"] or fitting_slice_size(meta["size"])
    total = sum(len(found) for planes_of in slices.values() for found in planes_of.values()) * shape[0]
    gaussians = {}
    with track(total, f"image features, {args.system}", unit="image") as bar:
        for name, ids in sets.items():
            gaussians[name] = plane_statistics(
                network, readers[name], ids, slices[name], meta["spacing_mm"],
                settings["batch_size"], device, bar.update, slice_size,
            )  # fmt: skip
    table = _distances(gaussians, slices, planes)
    provenance = {
        "n_cases": n,
        "n_reference_cases": n,
        "modalities": "+".join(meta["modalities"]),
        "feature_network": network.name
        if settings["weights"] == "package"
        else f"weights file {Path(settings['weights']).name}",
        "feature_dimension": len(gaussians["reference"][planes[0]].mean),
        "slice_size": slice_size,
        "weights_sha256": network.digest,
    }
    write_tsv(args.out, table.assign(**provenance).pipe(_with_front, n_real=args.n_real, system=args.system))
    for row in table.itertuples():
        log.info("FID %s %s: %.2f (%d slices)", row.plane, row.comparison, row.fid, row.n_slices)


def _distances(
    gaussians: dict[str, dict[str, GaussianStatistics]], slices: dict[str, dict[str, list]], planes: list[str]
) -> pd.DataFrame:
    """Rows for each plane and for all of them joint."""
    groups = {plane: [plane] for plane in planes}
    if len(planes) > 1:
        groups["joint"] = planes
    rows = []
    for plane, members in groups.items():
        pooled = {}
        for name, of_plane in gaussians.items():
            pooled[name] = GaussianStatistics(len(of_plane[planes[0]].mean))
            for member in members:
                pooled[name].merge(of_plane[member])
        for comparison in ("synthetic", "floor"):
            rows.append(
                {
                    "plane": plane,
                    "comparison": comparison,
                    "fid": frechet_distance(pooled[comparison], pooled["reference"]),
                    "n_slices": sum(len(slices[comparison][member]) for member in members),
                    "n_reference_slices": sum(len(slices["reference"][member]) for member in members),
                    "n_images": pooled[comparison].count,
                }
            )
    return pd.DataFrame(rows)


def _with_front(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    return pd.DataFrame(values, index=table.index).join(table)


if __name__ == "__main__":
    run_program(main)
