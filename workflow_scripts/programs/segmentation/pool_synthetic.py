"""Preprocess a block of synthetic cases for a segmenter into its pool.

Writes the pool's files into --pool, as <system>_<case id>, and a table to --out: case_id (in the pool),
synthetic_case_id, number, digest.
"""

from functools import partial

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.study.segmenters import SEGMENTERS


def main(argv: list[str] | None = None) -> None:
    paths = {"synthetic": "folder of the synthetic cases", "table": "table of the block, from synthesize"}
    paths |= {"pool": "the pool's folder", "out": "table of the cases in the pool"}
    args = program_parser(__doc__, "plan", "system", **paths).parse_args(argv)

    from workflow_scripts.cohort.nifti import read_synthetic_case
    from workflow_scripts.segmentation.cases import check_arrays, fill_pool
    from workflow_scripts.segmentation.segmenter import load_plan

    plan, table = load_plan(args.plan), read_tsv(args.table)
    if missing := {"case_id", "number"} - set(table.columns):
        raise UserError(f"{args.table} has no column {', '.join(sorted(missing))}: give a table that synthesize wrote")
    spacing_mm = plan.grid_spacing_mm

    def read(case_id: str) -> tuple:
        image, levels = read_synthetic_case(args.synthetic / case_id, case_id, plan.modalities)
        check_arrays(case_id, str(args.synthetic / case_id), image, levels, plan.modalities)
        return image, levels, spacing_mm

    pool_ids = {f"{args.system}_{case_id}": case_id for case_id in table["case_id"]}
    readers = {pool_id: partial(read, case_id) for pool_id, case_id in pool_ids.items()}
    title = f"preprocessing synthetic cases for {SEGMENTERS[plan.segmenter]}"
    pooled = fill_pool(plan, args.pool, readers, args.threads, title)
    pooled.insert(1, "synthetic_case_id", list(pool_ids.values()))
    pooled.insert(2, "number", list(table["number"]))
    write_tsv(args.out, pooled)


if __name__ == "__main__":
    run_program(main)
