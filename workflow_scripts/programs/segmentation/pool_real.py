"""Preprocess the real training and validation cases for a segmenter into its pool, or the other patients of the ladder
into one of their own. Test cases never enter it.

Writes the pool's files into --pool and a table to --out: case_id, split (train, val or others), digest.
"""

from functools import partial

from workflow_scripts.base.cli import SHARED, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.study.segmenters import SEGMENTERS


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "plan", pool="the pool's folder", out="table of the cases in the pool")
    for name in ("train", "val", "others"):
        parser.add_argument(f"--{name}", **SHARED[name])
    args = parser.parse_args(argv)
    given = {name: path for name in ("train", "val", "others") if (path := getattr(args, name))}
    if set(given) not in ({"train", "val"}, {"others"}):
        raise UserError("give --train and --val, or --others alone")

    from workflow_scripts.cohort.subset import Subset, check_apart
    from workflow_scripts.segmentation.cases import checked_volume, fill_pool
    from workflow_scripts.segmentation.segmenter import load_plan

    plan, subsets = load_plan(args.plan), [Subset.open(path, name) for name, path in given.items()]
    check_apart(*subsets)
    if args.others and (shared := sorted(set(subsets[0].case_ids) & set(plan.training_case_ids))):
        raise UserError(f"case {shared[0]} of {args.others} is a training case: run `snakemake -R split_cohort`")
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
