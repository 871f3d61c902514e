"""Split a cohort by patient into test, validation and nested train subsets, stratified by tumour volume.

Each subset's folder is filled with links to its cases' volumes and a manifest: all that later stages are handed.
Config: {"region": "...", "n_real": [20, 50, 100], "train": [20, 30, 50, 100], "others": {"20": 20}, "val": 10, "test": 50,
"seed": 0}, in patients; region: the outermost. A patient's time points share a set.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_json
from workflow_scripts.cohort.splits import split_patients
from workflow_scripts.cohort.subset import patient_digest, write_subset
from workflow_scripts.study.given_splits import read_splits
from workflow_scripts.study.settings.cohort import SplitSettings
from workflow_scripts.training.contract import check_contract, seen_by


def main(argv: Sequence[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--cases", required=True, help="cohort/cases.tsv")
    parser.add_argument("--volumes", required=True, help="folder of the preprocessed volumes")
    parser.add_argument("--out", required=True, help="splits.json to write")
    parser.add_argument("--val", type=Path, required=True, help="manifest.json to write for the validation cases")
    parser.add_argument("--test", type=Path, required=True, help="manifest.json to write for the test cases")
    parser.add_argument(
        "--train", type=Path, nargs="*", required=True, help="one for each size of train, in that order"
    )
    parser.add_argument(
        "--others", type=Path, nargs="*", default=[], help="one for each entry of others, in that order"
    )
    parser.add_argument("--file", type=Path, help="table of the user: case_id or patient_id, and set")
    starts = "model.json of models that trainings start from, which must not have been trained on any of the cases"
    parser.add_argument("--starts", type=Path, nargs="*", default=[], help=starts)
    args = parser.parse_args(argv)
    settings = SplitSettings.read(args.config, "splits")
    cases = read_tsv(args.cases)
    if cases.empty:
        raise UserError(f"{args.cases} lists no usable case: see rejected.tsv beside it for the reasons")
    for file in args.starts:
        contract = read_json(file)
        check_contract(contract, file)
        known_by = cases.assign(patient_digest=cases["patient_id"].map(patient_digest))
        told = [known_by[column].isin(seen) for column, seen in seen_by(contract).items() if column in known_by]
        if known := sorted(cases.loc[np.any(told, axis=0), "case_id"]):
            more = f" and {len(known) - 1} more" if len(known) > 1 else ""
            raise UserError(
                f"{file}: this model has seen {known[0]}{more} of this very cohort, or their patients, and no training may start from what "
                "has seen cases that are held out later: start from a model of other patients, or set start_from to null"
            )
    splits = split_patients(cases, settings, read_splits(args.file) if args.file else None)
    subsets = [("val", args.val, splits["val"]), ("test", args.test, splits["test"])]
    for name, manifests in (("train", args.train), ("others", args.others)):
        subsets += [(name, *pair) for pair in zip(manifests, splits[name].values(), strict=True)]
    for name, manifest, case_ids in subsets:
        rows = cases[cases["case_id"].isin(case_ids)]
        write_subset(manifest.parent, name, rows, args.volumes, args.threads)
    write_json(args.out, splits)
    counts = splits["n_patients"]
    log.info(
        "patients: %d test, %d validation, %s train, %d unused; %d cases in all",
        *(counts["test"], counts["val"], "/".join(map(str, counts["train"])), counts["unused"], len(cases)),
    )


if __name__ == "__main__":
    run_program(main)
