"""Train a segmenter on one arm of the study: real cases, or real and synthetic ones, or synthetic ones alone.

Writes model.safetensors (the last epoch's weights: nothing is chosen on validation), arm.json and progress.csv into
--out. An arm killed at any moment and run again ends in the same bytes on a CPU with the same number of threads.
"""

from dataclasses import asdict
from pathlib import Path

from workflow_scripts.base.cli import Folder, program_parser, run_program
from workflow_scripts.base.files import atomic, read_tsv, write_json
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.study.arms import ARM_COLUMNS, AUGMENTATION_OF, Arm
from workflow_scripts.study.segmenters import module_of

PACKAGE = "workflow_scripts"
MODULE = f"{PACKAGE}.programs.segmentation.train_segmentation"
NOT_TRAINING = {"mirroring", "workers"}  # settings that leave the weights as they are


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "plan", pool="folder of preprocessed cases", real="table of pool_real")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="tables of pool_synthetic")
    parser.add_argument("--others", type=Path, help="of an arm of the ladder: its further cases, a table in their pool")
    parser.add_argument(
        "--out",
        action=Folder,
        required=True,
        help="the arm's folder, which says what it is: .../n_real~20/segmentation/nnunet/slice_ldm/ratio~1/seed~0",
    )
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints to resume from")
    args = parser.parse_args(argv)

    import tempfile

    import pandas as pd
    from safetensors.torch import save_file

    from workflow_scripts.segmentation.arms import choose_cases, link_view
    from workflow_scripts.segmentation.draws import real_fraction
    from workflow_scripts.segmentation.segmenter import Training, load_plan, stage
    from workflow_scripts.study.settings.segmentation import Segmentation
    from workflow_scripts.training.devices import default_device, use_threads
    from workflow_scripts.training.state import StateFolder, run_digest

    settings = Segmentation.read(args.config, "segmentation")
    plan, arm = load_plan(args.plan), Arm.of_folder(args.out)
    real, synthetic = read_tsv(args.real), [read_tsv(table) for table in args.synthetic]
    others = read_tsv(args.others) if args.others else None
    cases = choose_cases(arm, plan, real, synthetic, others)
    digests = pd.concat([real, *synthetic, others]).set_index("case_id")["files_digest"]
    augmentation = AUGMENTATION_OF.get(arm.control, settings.augmentation)
    settings = settings.model_copy(update={"augmentation": augmentation})
    code = f"{PACKAGE}.{module_of(arm.segmenter, 'train')}"
    what = {"settings": settings.model_dump(exclude=NOT_TRAINING)}
    what |= {"cases": asdict(cases), "plan": asdict(plan), "segmenter": code_digest(code)}
    use_threads(args.threads)
    with (
        StateFolder(args.state, "train_segmentation", run_digest(what, MODULE)) as state,
        tempfile.TemporaryDirectory(prefix="sliceaug-arm-") as view,
    ):
        state.asked_for(
            f"segmentation {arm.folder} seed {arm.seed}", what["settings"] | {"cases": list(cases.train_ids)}
        )
        pools = {args.pool: cases.in_pool} | ({args.others.parent: cases.of_ladder} if args.others else {})
        for pool, pool_ids in pools.items():
            link_view(cases, pool, pool_ids, Path(view), digests, args.threads)
        trained = stage(arm.segmenter, "train")(Training(plan, cases, Path(view), settings, default_device(), state))
    with atomic(args.out / "model.safetensors") as temporary:
        save_file(trained.weights, temporary)
    with atomic(args.out / "progress.csv") as temporary:
        pd.DataFrame(trained.progress).to_csv(temporary, index=False, lineterminator="\n")
    real_patches = trained.patches * real_fraction(cases, settings)
    n_real = len(cases.real_ids) + len(cases.others_ids)
    described = {
        **{key: getattr(arm, key) for key in (*ARM_COLUMNS, "seed")},
        **{key: list(getattr(cases, key)) for key in ("real_ids", "others_ids", "synthetic_ids", "val_ids")},
        "modalities": plan.modalities,
        "regions": plan.regions,
        # every arm makes the same number of steps: with more cases, each is seen less often
        "patches_seen": trained.patches,
        "copies_of_real_cases": arm.copies,
        "mean_patches_per_real_case": real_patches / n_real if n_real else 0.0,
        "mean_patches_per_synthetic_case": (trained.patches - real_patches) / max(1, len(cases.synthetic_ids)),
        **trained.description,
        "code_digest": [code_digest(MODULE), code_digest(code)],
    }
    write_json(args.out / "arm.json", described)


if __name__ == "__main__":
    run_program(main)
