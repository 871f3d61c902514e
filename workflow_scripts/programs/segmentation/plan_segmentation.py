"""Plan the segmentation: what a segmenter wants to know before it sees the cases of an arm, from the real training cases alone.

Config: modalities, regions, and in place of the segmenter's own choice (null) patch_size [depth, height, width] in voxels,
batch_size, features_per_stage.
"""

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.study.segmenters import SEGMENTERS


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "train", out="the plan, plan.json")
    parser.add_argument("--segmenter", choices=SEGMENTERS, required=True)
    args = parser.parse_args(argv)

    import dataclasses

    import numpy as np

    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.segmentation.segmenter import Plan, stage
    from workflow_scripts.study.settings.segmentation import PlanSettings

    settings, train = PlanSettings.read(args.config, "segmentation"), Subset.open(args.train, "train")
    spacing_mm = np.median([train.store.meta(case_id)["spacing_mm"] for case_id in train.case_ids], axis=0).tolist()
    head = Plan(args.segmenter, train.n_patients, settings.modalities, settings.regions, spacing_mm, train.case_ids)
    own = stage(args.segmenter, "plan")(train.store, train.case_ids, head, settings, args.threads)
    dataclasses.replace(head, own=own).save(args.out)


if __name__ == "__main__":
    run_program(main)
