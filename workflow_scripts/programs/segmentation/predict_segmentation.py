"""Predict the held-out test cases with the networks of one arm, seed by seed, each case on the grid it came on, in
the labels that its data set is written in.

Writes predictions/<case_id>.nii.gz beside each --out, and the table --out: case_id, file (relative to the table's folder).
Config (optional; the arm's own settings otherwise): mirroring, precision.
"""

from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, write_tsv
from workflow_scripts.base.progress import track


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "plan", "test")
    files = {"type": Path, "nargs": "+", "required": True}
    parser.add_argument("--arm", **files, help="arm.json of each seed, in the folder of train_segmentation")
    parser.add_argument("--out", **files, help="predictions.tsv of each seed, in the same order")
    args = parser.parse_args(argv)

    import numpy as np
    import pandas as pd

    from workflow_scripts.cohort.nifti import write_nifti
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.segmentation.cases import checked_image
    from workflow_scripts.segmentation.prediction import load_predictor, predicted_levels
    from workflow_scripts.segmentation.segmenter import load_plan
    from workflow_scripts.training.devices import default_device, describe, use_threads

    if len(args.arm) != len(args.out):
        raise UserError("--arm and --out name the same seeds: give as many files of each")
    plan, arms = load_plan(args.plan), [read_json(path) for path in args.arm]
    test = Subset.open(args.test, "test")
    case_ids, store = test.case_ids, test.store
    for path, arm in zip(args.arm, arms, strict=True):
        if leaked := sorted(set(case_ids) & {*arm["real_ids"], *arm["others_ids"], *arm["val_ids"]}):
            what = f"test case {leaked[0]} was in the training or validation of {path.parent}"
            raise UserError(f"{what}: train the arm again")
    use_threads(args.threads)
    with track(len(case_ids) * len(arms), "predicting test cases", "case") as bar:
        for path, arm, out in zip(args.arm, arms, args.out, strict=True):
            device = default_device()
            predictor = load_predictor(plan, path.parent, arm, args.config, device)
            where = describe(device, predictor.precision)
            log.info("%s: %d test cases, on %s", path.parent, len(case_ids), where)
            rows = []
            for case_id in case_ids:
                image, meta = checked_image(store, case_id, plan.modalities)
                file = Path("predictions", f"{case_id}.nii.gz")
                levels = predicted_levels(predictor, plan, image, meta)
                labels = np.asarray(meta["written"]["labels"], np.uint8)[levels]
                write_nifti(out.parent / file, labels, meta["source"]["affine"])
                rows.append((case_id, str(file)))
                bar.update()
            write_tsv(out, pd.DataFrame(rows, columns=["case_id", "file"]))


if __name__ == "__main__":
    run_program(main)
