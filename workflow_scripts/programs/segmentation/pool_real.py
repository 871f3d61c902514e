"""Preprocess the real training and validation cases for a segmenter into its pool. Test cases never enter it.

Writes the pool's files into --pool and a table to --out: case_id, split (train or val), digest.
"""

from functools import partial

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import write_tsv
from workflow_scripts.study.segmenters import SEGMENTERS


def main(argv: list[str] | None = None) -> None:
    args = program_parser(
        __doc__, "plan", "train", "val", pool="the pool's folder", out="table of the cases in the pool"
    ).parse_args(argv)

    from workflow_scripts.cohort.subset import Subset, check_apart
    from workflow_scripts.segmentation.cases import checked_volume, fill_pool
    from workflow_scripts.segmentation.segmenter import load_plan

    plan, subsets = load_plan(args.plan), (Subset.open(args.train, "train"), Subset.open(args.val, "val"))
    check_apart(*subsets)
    subset_of = {case_id: subset for subset in subsets for case_id in subset.case_ids}

    def read(case_id: str) -> tuple:
        image, levels, meta = checked_volume(subset_of[case_id].store, case_id, plan.modalities)
        return image, levels, meta["spacing_mm"]

    readers = {case_id: partial(read, case_id) for case_id in subset_of}
    title = f"preprocessing real cases for {SEGMENTERS[plan.segmenter]}"
    table = fill_pool(plan, args.pool, readers, args.threads, title)
    table.insert(1, "split", [subset_of[case_id].name for case_id in table["case_id"]])
    write_tsv(args.out, table)


if __name__ == "__main__":
    run_program(main)
