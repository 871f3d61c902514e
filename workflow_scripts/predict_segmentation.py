"""Predict the held-out test cases with one arm's network, each on the grid it came on, in BraTS-2023 labels.

Writes predictions/<case_id>.nii.gz beside --out, and the table --out: case_id, file (relative to the table's folder).
Config (optional; the arm's own settings otherwise): mirroring, precision.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import add_cohort, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, write_tsv
from workflow_scripts.base.progress import track


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the arm's folder, from train_segmentation")
    parser.add_argument("--plan", type=Path, required=True, help="folder of plan_segmentation")
    add_cohort(parser, "cases", "splits", "volumes")
    parser.add_argument("--out", type=Path, required=True, help="predictions.tsv")
    args = parser.parse_args(argv)

    import pandas as pd

    from workflow_scripts.cohort.dataset import read_splits, test_ids
    from workflow_scripts.cohort.nifti import write_nifti
    from workflow_scripts.cohort.volumes import VolumeStore
    from workflow_scripts.segmentation.nnunet import load_plan, nnunet_home
    from workflow_scripts.segmentation.plan import checked_image
    from workflow_scripts.segmentation.predict import Predictor
    from workflow_scripts.segmentation.settings import SegmentationSettings
    from workflow_scripts.training.devices import default_device, describe, use_threads

    plan, arm = load_plan(args.plan), read_json(args.model / "arm.json")
    case_ids = sorted(test_ids(read_splits(args.splits)))
    if leaked := sorted(set(case_ids) & {*arm["real_ids"], *arm["val_ids"]}):
        raise UserError(f"test case {leaked[0]} was in the training or validation of {args.model}: train the arm again")
    own = arm["prediction"]
    given = {key: args.config[key] for key in ("mirroring", "precision") if key in args.config}
    settings = SegmentationSettings.from_config({"mirroring": own["mirroring"], "precision": own["precision"], **given})
    use_threads(args.threads)
    axes, store = own["mirror_axes"] if settings.mirroring else None, VolumeStore(args.volumes)
    rows = []
    with nnunet_home(), track(len(case_ids), "predicting test cases", "case") as bar:
        predictor = Predictor(plan, args.model / "model.safetensors", axes, settings.precision, default_device())
        log.info("%d test cases, on %s", len(case_ids), describe(predictor.device, predictor.precision))
        for case_id in case_ids:
            image, meta = checked_image(store, case_id, plan.modalities)
            file = Path("predictions", f"{case_id}.nii.gz")
            write_nifti(args.out.parent / file, predictor.labels(image, meta), meta["source"]["affine"])
            rows.append((case_id, str(file)))
            bar.update()
    write_tsv(args.out, pd.DataFrame(rows, columns=["case_id", "file"]))


if __name__ == "__main__":
    run_program(main)
