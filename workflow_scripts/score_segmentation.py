"""Score the predictions of one arm: Dice and HD95 per test case and region, of the region as a whole and by lesion.

Everything is measured on the original grid of each case. Config: {"regions": [...], "hd_percentile": 95, "lesions":
{"dilation_voxels": 3, "min_volume_mm3": 50, "small_volume_ml": 1}}.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from workflow_scripts.base.cli import add_cohort, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.regions import REGIONS, check_regions
from workflow_scripts.evaluation.case_scores import case_scores
from workflow_scripts.evaluation.lesions import LesionSettings
from workflow_scripts.evaluation.masks import read_pair
from workflow_scripts.training.devices import use_threads

ARM_KEYS = ("n_real", "system", "ratio", "synthetic_only", "control", "seed")


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument(
        "--predictions", type=Path, required=True, help="predictions.tsv: case_id, file (relative to it)"
    )
    parser.add_argument("--arm", type=Path, required=True, help="arm.json of the trained arm")
    add_cohort(parser, "cases")
    parser.add_argument("--out", type=Path, required=True, help="dice.tsv")
    args = parser.parse_args(argv)
    use_threads(args.threads)
    settings = {"regions": list(REGIONS), "hd_percentile": 95} | args.config
    regions, lesions = check_regions(settings["regions"]), LesionSettings(**settings.get("lesions", {}))
    arm = read_json(args.arm)
    if missing := [key for key in ARM_KEYS if key not in arm]:
        raise UserError(f"{args.arm} lacks {', '.join(missing)}: train this arm again")
    predictions, cases = read_tsv(args.predictions), read_tsv(args.cases).set_index("case_id")
    if predictions.empty:
        raise UserError(f"{args.predictions} lists no prediction: the test split is empty, or predict again")
    if unknown := [case_id for case_id in predictions.case_id if case_id not in cases.index]:
        raise UserError(f"{args.predictions} has case {unknown[0]}, which is not in {args.cases}: predict again")

    rows = []
    with track(len(predictions), "scoring", unit="case") as bar:
        for prediction in predictions.itertuples():
            case = cases.loc[prediction.case_id]
            file = args.predictions.parent / prediction.file  # an absolute path stays what it is
            truth, guess, spacing_mm = read_pair(prediction.case_id, case.seg_path, case.layout, file)
            names = {"case_id": prediction.case_id, "patient_id": case.patient_id}
            for scores in case_scores(truth, guess, spacing_mm, regions, settings["hd_percentile"], lesions):
                rows.append({**{key: arm[key] for key in ARM_KEYS}, **names, **scores})
            bar.update(1)
    table = pd.DataFrame(rows)
    write_tsv(args.out, table)
    log.info("mean Dice over %d cases: %s", len(predictions), table.groupby("region").dice.mean().round(3).to_dict())


if __name__ == "__main__":
    run_program(main)
