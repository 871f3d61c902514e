"""Measure the tumours of the validation and test patients: requests to test the control with, and a reference for masks.

For evaluation alone: no stage that trains or that makes cases to train on reads this table. One case a patient, the
first time point.
"""

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.files import write_tsv
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.study.settings.cohort import Measured


def main(argv: list[str] | None = None) -> None:
    args = program_parser(__doc__, "val", "test", out="held_out_tumours.tsv").parse_args(argv)

    import numpy as np
    import pandas as pd

    from workflow_scripts.cohort.tumour_table import measure_case
    from workflow_scripts.evaluation.mask_validity import validity

    regions = Measured.read(args.config).regions
    rows = []
    for split in (Subset.open(args.val, "val"), Subset.open(args.test, "test")):
        for case_id in split.first_of_each_patient:
            foreground = (np.asarray(split.store.image(case_id)) > -1).any(axis=0)
            found = measure_case(split.store, case_id, regions)
            found |= validity(np.asarray(split.store.levels(case_id)), foreground)
            rows.append({"case_id": case_id, "split": split.name, **found})
    write_tsv(args.out, pd.DataFrame(rows))
    log.info("the tumours of %d held-out patients are in %s", len(rows), args.out)


if __name__ == "__main__":
    run_program(main)
