"""Measure the tumours of the train subset (the conditions under which a generator makes others) and the foreground."""

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.files import write_tsv
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.study.settings.cohort import Measured


def main(argv: list[str] | None = None) -> None:
    args = program_parser(__doc__, "train", out="conditions.tsv").parse_args(argv)

    import pandas as pd

    from workflow_scripts.cohort.tumour_table import measure_case

    regions = Measured.read(args.config).regions
    train = Subset.open(args.train, "train")
    rows = [measure_case(train.store, case_id, regions) for case_id in train.case_ids]
    write_tsv(args.out, pd.DataFrame(rows))
    log.info("tumour conditions of %d cases are in %s", len(rows), args.out)


if __name__ == "__main__":
    run_program(main)
