"""Score the predictions of an arm, seed by seed: Dice and HD95 per test case and region, as a whole and by lesion; and
whether the training had got past its onset.

Everything is measured on the original grid of each case. Config: {"dataset": {...}, "regions": [...],
"hd_percentile": 95}.
"""

from pathlib import Path

import pandas as pd

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.identity import levels_digest
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.evaluation.case_scores import case_scores
from workflow_scripts.evaluation.masks import read_pair
from workflow_scripts.evaluation.statistics.onset import ZERO, found_nowhere, onsets
from workflow_scripts.study.arms import ARM_COLUMNS
from workflow_scripts.study.dataset import Dataset, parse_dataset
from workflow_scripts.study.settings.evaluation import ScoreSettings

ARM_KEYS = [*ARM_COLUMNS, "seed"]


def score_arm(
    predictions_path: Path,
    arm_path: Path,
    progress: pd.DataFrame,
    test: Subset,
    dataset: Dataset,
    regions: list[str],
    percentile: float,
) -> pd.DataFrame:
    """One row per test case and region of one trained arm.

    Raises UserError if the arm is incomplete, or if there are no predictions, or some of unknown cases.
    """
    arm = read_json(arm_path)
    if missing := [key for key in ARM_KEYS if key not in arm]:
        raise UserError(f"{arm_path} lacks {', '.join(missing)}: train this arm again")
    predictions = read_tsv(predictions_path)
    if predictions.empty:
        raise UserError(f"{predictions_path} lists no prediction: the test split is empty, or predict again")
    if unknown := [case_id for case_id in predictions.case_id if case_id not in test.rows]:
        raise UserError(f"{predictions_path} has case {unknown[0]}, which is not in {test.manifest}: predict again")

    rows, onset = [], onsets(progress, regions)
    with track(len(predictions), f"scoring seed {arm['seed']}", unit="case") as bar:
        for prediction in predictions.itertuples():
            case = test.rows[prediction.case_id]
            file = predictions_path.parent / prediction.file  # an absolute path stays what it is
            truth, guess, spacing_mm = read_pair(
                *(prediction.case_id, case["seg_path"], dataset.levels_of(case["layout"])),
                *(file, dataset.levels_of(dataset.written_as)),
            )
            if case.get("levels_digest") not in (None, levels_digest(truth)):
                what = (
                    f"the mask of case {prediction.case_id} has changed since the cohort was made: {case['seg_path']}"
                )
                raise UserError(f"{what}. Put the former one back, or make the cohort again: `snakemake -R find_cases`")
            names = {"case_id": prediction.case_id, "patient_id": case["patient_id"]}
            for scores in case_scores(truth, guess, spacing_mm, regions, percentile, dataset.lesions):
                rows.append({**{key: arm[key] for key in ARM_KEYS}, **names, **scores})
            bar.update(1)
    table = pd.DataFrame(rows)
    onset |= dict.fromkeys(found_nowhere(table), ZERO)
    return table.assign(onset=table.region.map(onset))


def _read_progress(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no table of epochs ({error}): train this arm again") from None


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "test")
    files = {"type": Path, "nargs": "+", "required": True}
    parser.add_argument("--predictions", **files, help="predictions.tsv of each seed: case_id, file (relative to it)")
    parser.add_argument("--arm", **files, help="arm.json of each seed, in the same order")
    parser.add_argument("--progress", **files, help="progress.csv of each seed, likewise")
    parser.add_argument("--out", **files, help="dice.tsv of each seed, in the same order")
    args = parser.parse_args(argv)
    if not len(args.predictions) == len(args.arm) == len(args.progress) == len(args.out):
        raise UserError("--predictions, --arm, --progress and --out name the same seeds: give as many files of each")
    dataset = parse_dataset(args.config.pop("dataset", None))
    settings = ScoreSettings.read(args.config, "evaluation.segmentation")
    regions = dataset.check_regions(settings.regions)
    test = Subset.open(args.test, "test")
    tables = [
        score_arm(predictions, arm, _read_progress(progress), test, dataset, regions, settings.hd_percentile)
        for predictions, arm, progress in zip(args.predictions, args.arm, args.progress, strict=True)
    ]
    for out, table in zip(args.out, tables, strict=True):  # all or none
        write_tsv(out, table)
        means = table.groupby("region").dice.mean().round(3).to_dict()
        log.info("%s: mean Dice over %d cases: %s", out, table.case_id.nunique(), means)


if __name__ == "__main__":
    run_program(main)
