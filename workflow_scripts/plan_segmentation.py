"""Plan the segmentation: nnU-Net's fingerprint and 3d_fullres plan, from the real training cases alone.

Writes plans.json, dataset.json and dataset_fingerprint.json into --out. Config: modalities, regions, and in place of
nnU-Net's own choice (null) patch_size [depth, height, width] in voxels, batch_size, features_per_stage.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import add_subsets, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_json


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    add_subsets(parser, "train")
    parser.add_argument("--out", type=Path, required=True, help="the plan's folder")
    args = parser.parse_args(argv)

    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.segmentation import plan as planning

    for key in ("modalities", "regions"):
        if not args.config.get(key):
            raise UserError(f"plan_segmentation needs {key} in its --config: the list that preprocessing was given")
    settings = planning.read_plan_settings(args.config)
    train = Subset.open(args.train, "train")
    case_ids = train.case_ids
    modalities, regions = args.config["modalities"], args.config["regions"]
    dataset = planning.dataset_description(modalities, regions, case_ids, train.n_patients)
    measured = planning.fingerprint(train.store, case_ids, modalities, args.threads)
    plan = planning.override_plan(planning.make_plan(measured, dataset, args.threads), **settings)

    plans_file, dataset_file, fingerprint_file = planning.plan_files(args.out)
    write_json(fingerprint_file, measured)
    write_json(dataset_file, plan.dataset)
    write_json(plans_file, plan.plans)
    chosen = plan.configuration
    log.info(
        "planned on %d cases: patch %s, batch %d, features %s",
        *(len(case_ids), chosen["patch_size"], chosen["batch_size"]),
        chosen["architecture"]["arch_kwargs"]["features_per_stage"],
    )


if __name__ == "__main__":
    run_program(main)
