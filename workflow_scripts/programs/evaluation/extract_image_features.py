"""Features of the cases that the image metrics compare, computed once, and what is measured on their volumes.

Two uses:
- the real cases (--val, --test, --train): held-out and training cases, for every system and n_real
- the synthetic cases of one system (--synthetic, --tables)
A case whose file of features was made from the same images, by the same network and settings, is not computed again.

Writes a row a case (--out): slices and gradient ratio; and a row a pair of cases and modality (--pairs): MS-SSIM. Pairs
are made of validation and test cases, the first of each patient, in a seeded order, or of synthetic cases by number:
each with the one and the two before it.

Config (--config): evaluation.images of the configuration.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, sha256_file, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.cohort.nifti import read_synthetic_case, synthetic_file
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.evaluation.case_features import CaseFeatures
from workflow_scripts.evaluation.feature_files import FeatureFiles
from workflow_scripts.evaluation.normalised import normalised_columns
from workflow_scripts.evaluation.volume_metrics import gradient_ratio, ms_ssim, ms_ssim_scales
from workflow_scripts.study.settings.evaluation import Images
from workflow_scripts.training.devices import default_device, use_threads

SEED = 0  # of the draw of training cases
PAIR_COLUMNS = ("first_id", "second_id", "last", "modality", "ms_ssim", "scales", "window")


class RealCases:
    """Preprocessed cases; `paired` are those whose pairs are measured."""

    kind = "real"

    def __init__(self, held_out: list[Subset], train: list[Subset], seed: int):
        self.subset_of = {case_id: subset for subset in (*held_out, *train) for case_id in subset.case_ids}
        first = sorted(case_id for subset in held_out for case_id in subset.first_of_each_patient)
        self.paired = [first[index] for index in numpy_rng(seed, "pairs of real cases").permutation(len(first))]
        self.case_ids = [case_id for subset in held_out for case_id in subset.case_ids]
        self.case_ids += sorted({case_id for subset in train for case_id in subset.case_ids})

    def image(self, case_id: str) -> np.ndarray:
        return self.subset_of[case_id].store.image(case_id)

    def levels(self, case_id: str) -> np.ndarray:
        return self.subset_of[case_id].store.levels(case_id)

    def source(self, case_id: str) -> str:
        return self.subset_of[case_id].store.digest(case_id, ".image.npy")


class SyntheticCases:
    """Synthetic cases of one system, in the order of their numbers, each a patient of its own."""

    def __init__(self, folder: Path, made: pd.DataFrame, system: str, modalities: list[str], shape: tuple[int, ...]):
        self.folder, self.modalities, self.shape = folder, modalities, shape
        self.case_ids = self.paired = list(made.case_id)
        self.kind = f"{folder.parent.parent.name}_{system}"

    def levels(self, case_id: str) -> np.ndarray:
        return read_synthetic_case(self.folder / case_id, case_id, self.modalities)[1]

    def image(self, case_id: str) -> np.ndarray:
        image, _ = read_synthetic_case(self.folder / case_id, case_id, self.modalities)
        if image.shape != self.shape:
            raise UserError(
                f"synthetic case {case_id} has shape {image.shape}, the real volumes {self.shape}: they come from another "
                "model. Remove its folder and run `snakemake -R synthesize`"
            )
        return image

    def source(self, case_id: str) -> str:
        files = [synthetic_file(self.folder / case_id, case_id, name) for name in self.modalities]
        if missing := [file for file in files if not file.is_file()]:
            raise UserError(f"missing image of synthetic case {case_id}: {missing[0]}. Run `snakemake -R synthesize`")
        return hashlib.sha256("".join(map(sha256_file, files)).encode()).hexdigest()


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "val", out="table of the cases", pairs="table of the pairs of cases")
    parser.add_argument("--test", type=Path, help="manifest.json of the test subset: the real cases")
    parser.add_argument("--train", type=Path, nargs="+", default=[], help="manifest.json of each train subset")
    parser.add_argument("--synthetic", type=Path, help="folder of the synthetic cases of one system")
    parser.add_argument("--tables", nargs="+", default=[], help="tables of the synthetic cases (blocks)")
    parser.add_argument("--first", type=int, help="look at so many synthetic cases, by number (all of the tables)")
    parser.add_argument("--system", default="", help="name of the generative system")
    parser.add_argument("--features", type=Path, required=True, help="folder in which the features are kept")
    args = parser.parse_args(argv)
    if (args.test is None) == (args.synthetic is None):
        parser.error("give --test and --train for the real cases, or --synthetic for a system's")
    use_threads(args.threads)
    settings = Images.read(args.config, "evaluation.images")

    val = Subset.open(args.val, "val")
    meta = val.store.meta(val.case_ids[0])
    if args.test:
        train = [Subset.open(manifest, "train") for manifest in args.train]
        cases = RealCases([val, Subset.open(args.test, "test")], train, SEED)
    else:
        shape = (len(meta["modalities"]), *meta["size"])
        made = pd.concat([read_tsv(file) for file in args.tables], ignore_index=True).sort_values("number")
        cases = SyntheticCases(args.synthetic, made.iloc[: args.first], args.system, meta["modalities"], shape)
    table = _features_of(cases, settings, meta, args.features)
    write_tsv(args.pairs, _pairs_of(cases, settings.ms_ssim_cases, meta))
    write_tsv(args.out, table)


def _features_of(cases: RealCases | SyntheticCases, settings: Images, meta: dict, folder: Path) -> pd.DataFrame:
    features_of = CaseFeatures(settings, meta)
    files, planes = FeatureFiles(folder, features_of.digest, cases.kind), features_of.planes
    rows, kept = [], 0
    with track(len(cases.case_ids), f"image features, {cases.kind}", unit="case") as bar:
        for case_id in cases.case_ids:
            source, image = cases.source(case_id), cases.image(case_id)
            counts = files.read_counts(case_id, source)
            kept += counts is not None
            if counts is None:
                files.write(case_id, source, features_of(image))
                counts = files.read_counts(case_id, source)
            ratios = dict(zip(meta["modalities"], gradient_ratio(image, meta["spacing_mm"]), strict=True))
            rows.append(
                {"case_id": case_id, "source_digest": source, "features_digest": sha256_file(files.path(case_id))}
                | {"feature_dimension": counts["dimension"]}
                | {f"{plane}_slices": counts[plane] for plane in planes}
                | {f"gradient_ratio_{name}": ratio for name, ratio in ratios.items()}
                | normalised_columns(image, cases.levels(case_id), meta)
            )
            bar.update(1)
    log.info("%d cases, the features of %d of them from an earlier run", len(rows), kept)
    columns = [
        "case_id",
        "source_digest",
        "features_digest",
        "feature_dimension",
        *(f"{plane}_slices" for plane in planes),
    ]
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    return table.assign(set=cases.kind, **features_of.provenance)


def _pairs_of(cases: RealCases | SyntheticCases, count: int, meta: dict) -> pd.DataFrame:
    """MS-SSIM of each of the first `count` cases with the two before it. `last`: place of the later case in the order."""
    device, rows = default_device(), []
    scales, window = ms_ssim_scales(meta["size"])
    held: list[tuple[str, np.ndarray]] = []
    for place, case_id in enumerate(cases.paired[:count]):
        image = np.array(cases.image(case_id))
        for other_id, other in held:
            for name, value in zip(meta["modalities"], ms_ssim(other, image, device), strict=True):
                rows.append((other_id, case_id, place, name, float(value), scales, window))
        held = [*held[-1:], (case_id, image)]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


if __name__ == "__main__":
    run_program(main)
