"""Image metrics of a system's synthetic cases against real ones that no stage trained on, and of real against real.

Reference: real validation and test cases. Synthetic: the first synthetic cases. Floor: real training cases, against
the same reference. All three hold the same number of cases, n = the smallest of the three sets, and synthetic and
floor the same number of slices a plane. Reads the features that extract_image_features has kept, no volumes.

Config (--config): neighbours; intervals {bootstrap_samples, confidence, seed}.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.base.cli import add_cohort, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.cohort.dataset import read_splits, test_ids, train_ids, val_ids
from workflow_scripts.evaluation.feature_files import FeatureFiles
from workflow_scripts.evaluation.feature_sets import SETS, CaseSet, draw_slices, groups
from workflow_scripts.evaluation.image_metrics import COLUMNS, METRICS, Settings, distances, diversity, through_plane

DEFAULTS = {
    "neighbours": 5,
    "intervals": {"bootstrap_samples": 2000, "confidence": 0.95, "seed": 0},
    "seed": 0,  # of the draws of cases and slices
}


def _draw_cases(case_ids: list[str], count: int, rng: np.random.Generator) -> list[str]:
    return [case_ids[index] for index in np.sort(rng.permutation(len(case_ids))[:count])]


def _one_setting(real: pd.DataFrame, made: pd.DataFrame) -> pd.Series:
    """The provenance that both tables share. Raises UserError where it differs."""
    columns = ["settings_digest", "modalities", "feature_network", "slice_size", "weights_sha256"]
    if made.empty:
        return real.iloc[0]
    for name in columns:
        if real[name].iloc[0] != made[name].iloc[0]:
            raise UserError(
                f"real and synthetic image features differ in {name} ({real[name].iloc[0]} and {made[name].iloc[0]}): run "
                "`snakemake -R extract_real_features extract_synthetic_features`"
            )
    return real.iloc[0]


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__)
    add_cohort(parser, "splits", "n-real")
    parser.add_argument("--real", type=Path, required=True, help="table of the real cases' features")
    parser.add_argument("--real-pairs", type=Path, required=True, help="table of pairs of real cases")
    parser.add_argument("--synthetic", type=Path, required=True, help="table of the synthetic cases' features")
    parser.add_argument("--synthetic-pairs", type=Path, required=True, help="table of pairs of synthetic cases")
    parser.add_argument("--features", type=Path, required=True, help="folder in which the features are kept")
    parser.add_argument("--system", required=True, help="name of the generative system")
    parser.add_argument("--out", type=Path, required=True, help="images.tsv")
    args = parser.parse_args(argv)
    settings = DEFAULTS | args.config
    tables = {"real": read_tsv(args.real), "synthetic": read_tsv(args.synthetic)}
    about = _one_setting(tables["real"], tables["synthetic"])
    known, splits = set(tables["real"].case_id), read_splits(args.splits)
    ids = {
        "reference": [case for case in val_ids(splits) + test_ids(splits) if case in known],
        "floor": [case for case in train_ids(splits, args.n_real) if case in known],
        "synthetic": list(tables["synthetic"].case_id),
    }
    n = min(map(len, ids.values()))
    if n == 0:
        empty = next(name for name, found in ids.items() if not found)
        raise UserError(f"there is no {empty} case to compare: no image metrics for {args.system}, n={args.n_real}")
    rng = numpy_rng(settings["seed"], "cases for the Fréchet distance", args.n_real)
    ids = {name: found[:n] if name == "synthetic" else _draw_cases(found, n, rng) for name, found in ids.items()}

    planes = [name.removesuffix("_slices") for name in tables["real"].columns if name.endswith("_slices")]
    modalities = about.modalities.split("+")
    source = {name: "synthetic" if name == "synthetic" else "real" for name in SETS}
    rows_of = {name: tables[source[name]].set_index("case_id") for name in SETS}
    slices = _draw_slices(ids, rows_of, planes, settings["seed"])
    sets = {
        name: CaseSet(
            ids[name], FeatureFiles(args.features, about.settings_digest, rows_of[name]["set"].iloc[0]), slices[name]
        )
        for name in SETS
    }
    drawn = {name: {plane: sum(map(len, found.values())) for plane, found in slices[name].items()} for name in SETS}
    everything = {
        name: {plane: int(rows_of[name].loc[ids[name], f"{plane}_slices"].sum()) for plane in planes} for name in SETS
    }
    intervals = settings["intervals"]
    chosen = Settings(
        settings["neighbours"], intervals["bootstrap_samples"], intervals["confidence"], intervals["seed"]
    )
    rows = []
    with track(len(planes) * len(modalities) * 3 * n, f"image metrics, {args.system}", unit="case") as bar:
        for group in groups(sets, planes, modalities, int(about.feature_dimension), bar.update):
            of_group = planes if group.plane == "joint" else [group.plane]
            counts = [{s: sum(found[s][p] for p in of_group) for s in SETS} for found in (drawn, everything)]
            rows += distances(group, n, *counts, chosen)
    ratios = {
        "synthetic": rows_of["synthetic"].loc[ids["synthetic"]],
        "real": rows_of["reference"].loc[ids["reference"]],
    }
    rows += through_plane(ratios, modalities, chosen)
    pairs = {"synthetic": read_tsv(args.synthetic_pairs), "real": read_tsv(args.real_pairs)}
    rows += diversity(pairs, modalities, n, chosen)

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.sort_values("metric", key=lambda names: names.map(METRICS.index), kind="stable")
    integers = [name for name in COLUMNS if name.startswith("n_")]
    table = table.astype(dict.fromkeys(integers, "Int64")).reset_index(drop=True)
    table = table.assign(
        **{"confidence": chosen.confidence, "bootstrap_samples": chosen.samples},
        **{name: about[name] for name in ("modalities", "feature_network", "feature_dimension", "slice_size")},
        weights_sha256=about.weights_sha256,
    )
    write_tsv(args.out, pd.DataFrame({"n_real": args.n_real, "system": args.system}, index=table.index).join(table))
    for row in table[table.metric.isin(("fid", "kid")) & (table.modality == "all")].itertuples():
        log.info("%s %s %s: %.4g (%d cases)", row.metric.upper(), row.plane, row.comparison, row.value, row.n_cases)


def _draw_slices(
    ids: dict[str, list[str]], rows_of: dict[str, pd.DataFrame], planes: list[str], seed: int
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """For each set and plane {case_id: which of its slices}: all of the reference, as many of synthetic as of floor."""
    found = {
        name: {
            plane: [(case, index) for case in case_ids for index in range(rows_of[name].at[case, f"{plane}_slices"])]
            for plane in planes
        }
        for name, case_ids in ids.items()
    }
    for plane in planes:
        count = min(len(found["synthetic"][plane]), len(found["floor"][plane]))
        for name in ("synthetic", "floor"):
            rng = numpy_rng(seed, "slices for the Fréchet distance", plane)
            found[name][plane] = draw_slices(found[name][plane], count, rng)
    return {name: {plane: _by_case(pairs) for plane, pairs in of_set.items()} for name, of_set in found.items()}


def _by_case(pairs: list[tuple[str, int]]) -> dict[str, np.ndarray]:
    drawn: dict[str, list[int]] = {}
    for case_id, index in pairs:
        drawn.setdefault(case_id, []).append(index)
    return {case_id: np.array(indices) for case_id, indices in drawn.items()}


if __name__ == "__main__":
    run_program(main)
