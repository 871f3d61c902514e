"""Image metrics of a system's synthetic cases against real ones that no stage trained on, and of real against real.

Reference: real validation and test cases. Synthetic: the first synthetic cases. Floor: real training cases, against
the same reference. Of a patient's time points the first counts alone: the others are no independent cases. All three
sets hold the same number of cases, n = the smallest of the three, and synthetic and floor the same number of slices a
plane. Reads the features that extract_image_features has kept, no volumes.

Config (--config): neighbours; jackknife_groups; intervals {bootstrap_samples, confidence, seed}.
"""

import pandas as pd

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.evaluation.case_features import check_same_settings, slice_counts
from workflow_scripts.evaluation.feature_files import FeatureFiles
from workflow_scripts.evaluation.feature_sets import SETS, CaseSet, draw_cases, groups, matched_slices
from workflow_scripts.evaluation.metrics import COLUMNS, METRICS, OF_SETS, Settings, Whole, distances
from workflow_scripts.study.settings.evaluation import ImageMetricsSettings

SEED = 0  # of the draws of cases and slices


def main(argv: list[str] | None = None) -> None:
    paths = {"real": "table of the real cases' features", "real_pairs": "table of pairs of real cases"}
    paths |= {"synthetic": "table of the synthetic cases' features", "synthetic_pairs": "table of their pairs"}
    paths |= {"features": "folder in which the features are kept", "out": "images.tsv"}
    args = program_parser(__doc__, "train", "val", "test", "system", **paths).parse_args(argv)
    settings = ImageMetricsSettings.read(args.config, "evaluation.images")
    tables = {"real": read_tsv(args.real), "synthetic": read_tsv(args.synthetic)}
    about = tables["real"].iloc[0]
    if len(tables["synthetic"]):
        check_same_settings(about, tables["synthetic"].iloc[0])
    train, *held_out = (Subset.open(getattr(args, name), name) for name in ("train", "val", "test"))
    n_real = train.n_patients
    ids = {
        "reference": sorted(case_id for subset in held_out for case_id in subset.first_of_each_patient),
        "floor": train.first_of_each_patient,
        "synthetic": list(tables["synthetic"].case_id),
    }
    n = min(map(len, ids.values()))
    if n == 0:
        empty = next(name for name, found in ids.items() if not found)
        raise UserError(f"there is no {empty} case to compare: no image metrics for {args.system}, n={n_real}")
    rng = numpy_rng(SEED, "cases for the Fréchet distance", n_real)
    ids = {name: found[:n] if name == "synthetic" else draw_cases(found, n, rng) for name, found in ids.items()}

    planes = [name.removesuffix("_slices") for name in tables["real"].columns if name.endswith("_slices")]
    modalities = about.modalities.split("+")
    source = {name: "synthetic" if name == "synthetic" else "real" for name in SETS}
    rows_of = {name: tables[source[name]].set_index("case_id") for name in SETS}
    counts = {name: slice_counts(rows_of[name], ids[name], planes) for name in SETS}
    slices = matched_slices(counts, SEED)
    sets = {
        name: CaseSet(
            ids[name],
            FeatureFiles(
                args.features, about.settings_digest, rows_of[name]["set"].iloc[0], rows_of[name].features_digest
            ),
            slices[name],
            settings.jackknife_groups,
        )
        for name in SETS
    }
    drawn = {name: {plane: sum(map(len, found.values())) for plane, found in slices[name].items()} for name in SETS}
    everything = {name: {plane: sum(found.values()) for plane, found in counts[name].items()} for name in SETS}
    intervals = settings.intervals
    chosen = Settings(settings.neighbours, intervals.bootstrap_samples, intervals.confidence, intervals.seed)
    rows = []
    with track(len(planes) * len(modalities) * 3 * n, f"image metrics, {args.system}", unit="case") as bar:
        for group in groups(sets, planes, modalities, int(about.feature_dimension), bar.update):
            of_group = planes if group.plane == "joint" else [group.plane]
            n_slices = [{s: sum(found[s][p] for p in of_group) for s in SETS} for found in (drawn, everything)]
            rows += distances(group, n, *n_slices, chosen)
    ratios = {
        "synthetic": rows_of["synthetic"].loc[ids["synthetic"]],
        "real": rows_of["reference"].loc[ids["reference"]],
    }
    pairs = {"synthetic": read_tsv(args.synthetic_pairs), "real": read_tsv(args.real_pairs)}
    for measure in OF_SETS:
        rows += measure(Whole(ratios, pairs, modalities, n, chosen))

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.sort_values("metric", key=lambda names: names.map(list(METRICS).index), kind="stable")
    integers = [name for name in COLUMNS if name.startswith("n_")]
    table = table.astype(dict.fromkeys(integers, "Int64")).reset_index(drop=True)
    table = table.assign(
        **{"confidence": chosen.confidence, "bootstrap_samples": chosen.samples},
        **{name: about[name] for name in ("modalities", "feature_network", "feature_dimension", "slice_size")},
        weights_sha256=about.weights_sha256,
    )
    write_tsv(args.out, pd.DataFrame({"n_real": n_real, "system": args.system}, index=table.index).join(table))
    for row in table[table.metric.isin(("fid", "kid")) & (table.modality == "all")].itertuples():
        log.info("%s %s %s: %.4g (%d cases)", row.metric.upper(), row.plane, row.comparison, row.value, row.n_cases)


if __name__ == "__main__":
    run_program(main)
