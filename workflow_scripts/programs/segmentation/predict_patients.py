"""Segment new patients with a trained arm of a study: one NIfTI mask each, on the patient's own grid.

  python -m workflow_scripts.programs.segmentation.predict_patients --arm results/full/n_real~20/segmentation/nnunet/real/seed~0 \\
      --cases /data/new_patients --out masks

--cases is a folder whose images are named as those of the study's data set (masks are not needed, and not read), a folder of
nnU-Net's with imagesTs, or a table with case_id, patient_id and a column for each channel. Images are checked and brought to
the study's grid as its own were; a patient who cannot be used is listed in OUT/rejected.tsv with file and reason, and the others
are segmented. OUT/predictions.tsv lists the masks. An arm's folder that is carried elsewhere needs the plan.json of its segmenter
and the study.json of its run in it.
Config (optional; the study's own otherwise): layout, on_bad_case, mirroring, precision.
"""

from workflow_scripts.base.cli import Folder, log, program_parser, run_program


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(
        __doc__, cases="folder of the patients, or table of their files", out="folder for the masks"
    )
    parser.add_argument("--arm", action=Folder, required=True, help="folder of a trained arm")
    args = parser.parse_args(argv)

    from workflow_scripts.segmentation.new_patients import TrainedArm, predict_patients
    from workflow_scripts.training.devices import default_device, describe, use_threads

    use_threads(args.threads)
    device = default_device()
    arm = TrainedArm.load(args.arm, args.config, device)
    log.info("%s: predicting %s, on %s", args.arm, args.cases, describe(device, arm.predictor.precision))
    table = predict_patients(arm, args.cases, args.out)
    log.info("%d masks are in %s, listed in %s", len(table), args.out, args.out / "predictions.tsv")


if __name__ == "__main__":
    run_program(main)
