"""Train nnU-Net on one arm of the study: real cases, or real and synthetic ones, or synthetic ones alone.

Writes model.safetensors (the last epoch's weights: nothing is chosen on validation), arm.json and progress.csv into
--out. An arm killed at any moment and run again ends in the same bytes on a CPU with the same number of threads.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.files import atomic, read_tsv, write_json
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.study.arms import ARM_COLUMNS, AUGMENTATION_OF, Arm

MODULE = "workflow_scripts.train_segmentation"
NOT_TRAINING = ("mirroring", "workers")  # settings that leave the weights as they are


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="folder of plan_segmentation")
    parser.add_argument("--pool", type=Path, required=True, help="folder of preprocessed cases")
    parser.add_argument("--real", type=Path, required=True, help="table of pool_real")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="tables of pool_synthetic")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the arm's folder, which says what it is: .../n_real~20/segmentation/nnunet/slice_ldm/ratio~1/seed~0",
    )
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints to resume from")
    args = parser.parse_args(argv)

    from workflow_scripts.segmentation.arms import choose_cases
    from workflow_scripts.segmentation.nnunet import load_plan
    from workflow_scripts.segmentation.settings import SegmentationSettings
    from workflow_scripts.training.state import StateFolder, run_digest

    settings, plan = SegmentationSettings.from_config(args.config), load_plan(args.plan)
    tables = [read_tsv(table) for table in args.synthetic]
    arm = Arm.of_folder(args.out)
    cases = choose_cases(arm, plan, read_tsv(args.real), tables)
    settings = replace(settings, augmentation=AUGMENTATION_OF.get(arm.control, settings.augmentation))
    what = {"settings": {key: value for key, value in asdict(settings).items() if key not in NOT_TRAINING}}
    what |= {"cases": asdict(cases), "plans": plan.plans, "labels": plan.dataset["labels"]}
    with StateFolder(args.state, "train_segmentation", run_digest(what, MODULE)) as state:
        _train(args, plan, cases, settings, state.folder)


def _train(args, plan, cases, settings, folder: Path) -> None:
    import pandas as pd
    from safetensors.torch import save_file

    from workflow_scripts.segmentation.arms import link_view
    from workflow_scripts.segmentation.fit import Fit
    from workflow_scripts.segmentation.nnunet import nnunet_home, quiet
    from workflow_scripts.segmentation.trainer import build_trainer
    from workflow_scripts.training.devices import default_device, describe, use_threads

    use_threads(args.threads)
    arm, train_ids, val_ids = cases.arm, cases.train_ids, list(cases.val_ids)
    with nnunet_home() as home, quiet():
        link_view(cases, args.pool, home / "view")
        trainer = build_trainer(plan, home / "view", train_ids, val_ids, settings, arm.seed, default_device())
        fit = Fit(trainer, settings, arm.seed, folder, arm.title)
        log.info("%s: %d cases, on %s", arm.title, len(train_ids), describe(trainer.device, fit.precision))
        fit.run()
    with atomic(args.out / "model.safetensors") as temporary:
        save_file(fit.weights(), temporary)
    with atomic(args.out / "progress.csv") as temporary:
        pd.DataFrame(fit.history).to_csv(temporary, index=False, lineterminator="\n")
    write_json(args.out / "arm.json", _describe(plan, cases, settings, fit))


def _describe(plan, cases, settings, fit) -> dict:
    from importlib.metadata import version

    arm, trainer, chosen = cases.arm, fit.trainer, plan.configuration
    patches = trainer.num_epochs * trainer.num_iterations_per_epoch * trainer.batch_size
    mirror_axes = trainer.inference_allowed_mirroring_axes
    return {
        **{key: getattr(arm, key) for key in (*ARM_COLUMNS, "seed")},
        **{key: list(getattr(cases, key)) for key in ("real_ids", "synthetic_ids", "val_ids")},
        "modalities": plan.modalities,
        "regions": plan.regions,
        # every arm makes the same number of steps: with more cases, each is seen less often
        "patches_seen": patches,
        "copies_of_real_cases": arm.copies,
        "mean_patches_per_real_case": arm.copies * patches / len(cases.train_ids) if cases.real_ids else 0.0,
        "mean_patches_per_synthetic_case": patches / len(cases.train_ids) if cases.synthetic_ids else 0.0,
        "plan": {
            **{key: chosen[key] for key in ("patch_size", "batch_size", "spacing", "batch_dice")},
            "features_per_stage": chosen["architecture"]["arch_kwargs"]["features_per_stage"],
        },
        "training": {
            "epochs": trainer.num_epochs,
            "iterations_per_epoch": trainer.num_iterations_per_epoch,
            "initial_learning_rate": trainer.initial_lr,
            "augmentation": settings.augmentation,
            "precision": fit.precision,
            "parameters": sum(weights.numel() for weights in trainer.network.parameters()),
        },
        "prediction": {
            "mirroring": settings.mirroring,
            "mirror_axes": None if mirror_axes is None else list(mirror_axes),
            "precision": settings.precision,
        },
        "nnunetv2": version("nnunetv2"),
        "code_digest": code_digest(MODULE),
    }


if __name__ == "__main__":
    run_program(main)
