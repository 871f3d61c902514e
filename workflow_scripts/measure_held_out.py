"""Measure the tumours of the validation and test patients: requests to test the control with, and a reference for masks.

For evaluation alone: no stage that trains or that makes cases to train on reads this table. One case a patient, the
first time point.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import add_cohort, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.cohort.dataset import read_splits, test_ids, val_ids
from workflow_scripts.cohort.layouts import first_of_each_patient
from workflow_scripts.cohort.regions import check_regions
from workflow_scripts.cohort.volumes import VolumeStore


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    add_cohort(parser, "cases", "splits", "volumes")
    parser.add_argument("--out", type=Path, required=True, help="held_out_tumours.tsv")
    args = parser.parse_args(argv)

    import numpy as np
    import pandas as pd

    from workflow_scripts.cohort.tumour_table import measure_case
    from workflow_scripts.cohort.tumours import condition_names
    from workflow_scripts.evaluation.mask_shapes import validity

    if set(args.config) != {"regions"}:
        raise UserError(f"--config must hold regions and nothing else, not {', '.join(args.config) or 'nothing'}")
    names = condition_names(check_regions(args.config["regions"]))
    store, splits, rows = VolumeStore(args.volumes), read_splits(args.splits), []
    known = set(read_tsv(args.cases).case_id)
    for split, ids in (("val", val_ids(splits)), ("test", test_ids(splits))):
        for case_id in first_of_each_patient(case_id for case_id in ids if case_id in known):
            foreground = (np.asarray(store.image(case_id)) > -1).any(axis=0)
            found = measure_case(store, case_id, names) | validity(np.asarray(store.levels(case_id)), foreground)
            rows.append({"case_id": case_id, "split": split, **found})
    if not rows:
        raise UserError(f"{args.splits} names no validation or test case of {args.cases}: nothing to measure")
    write_tsv(args.out, pd.DataFrame(rows))
    log.info("the tumours of %d held-out patients are in %s", len(rows), args.out)


if __name__ == "__main__":
    run_program(main)
