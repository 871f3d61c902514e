"""Compare synthetic tumour masks with real ones: shapes by two-sample tests, and what is wrong with the ungated ones.

Shapes: the first n_real synthetic cases by number, as they train the segmentation, against held-out patients, and as
a floor the real training patients against the same. With --reference both are compared with those masks as well.
Validity: the ungated draws of evaluate_control, as decoded, or of an external system all cases that could be read, against
the held-out patients. A row a feature and
comparison.
"""

from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.study.settings.evaluation import Masks

SEED = 0  # of the permutations

COLUMNS = (
    *("n_real", "system", "comparison", "reference", "feature", "method", "statistic", "p", "p_holm"),
    *("n", "n_reference", "mean", "sd", "reference_mean", "reference_sd", "permutations"),
)


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "train", "system", held_out="held_out_tumours.tsv", out="masks.tsv")
    parser.add_argument("--tables", nargs="+", required=True, help="tables of the synthetic cases (blocks)")
    parser.add_argument("--reference", type=Path, help="reference_masks.tsv, if there is a folder of masks")
    parser.add_argument("--conditions", type=Path, required=True, help="conditions.tsv of the train subset")
    parser.add_argument(
        "--control", type=Path, required=True, help="control.tsv of the system, or table of all external cases"
    )
    args = parser.parse_args(argv)

    import pandas as pd

    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.evaluation.mask_shapes import shape_rows, validity_rows
    from workflow_scripts.evaluation.mask_validity import VALIDITY
    from workflow_scripts.study.conditions import FRACTION, SHAPE_CONDITIONS

    permutations = Masks.read(args.config, "evaluation.masks").permutations
    held_out, train = read_tsv(args.held_out), read_tsv(args.conditions)
    if shared := sorted(set(held_out.case_id) & set(train.case_id)):
        raise UserError(f"case {shared[0]} is both held out and trained on: run `snakemake -R measure_held_out`")
    subset = Subset.open(args.train, "train")
    train, n_real = train.set_index("case_id").loc[subset.first_of_each_patient], subset.n_patients
    made = pd.concat([read_tsv(file) for file in args.tables], ignore_index=True).sort_values("number")
    made = made.iloc[:n_real].filter(regex="^measured_").rename(columns=lambda name: name[len("measured_") :])
    shares = [name for name in train if name.endswith(FRACTION) and name not in VALIDITY]
    conditions = [name for name in train if name in SHAPE_CONDITIONS or name in shares]
    rows = []
    references = {"held-out": (held_out, conditions)}
    if args.reference is not None:
        masks = read_tsv(args.reference)
        references["mask folder"] = (masks, [name for name in conditions if name in masks.columns])
    for reference, (real, names) in references.items():
        for comparison, own in (("synthetic", made), ("floor", train)):
            if missing := [name for name in names if name not in own.columns]:
                raise UserError(f"the {comparison} tumours have no {', '.join(missing)}: they are of another model")
            keys = (SEED, "permutations", n_real, args.system, comparison, reference)
            found = shape_rows(own, real, names, permutations, keys)
            rows += [{"comparison": comparison, "reference": reference, **row} for row in found]
    ungated = validity_rows(read_tsv(args.control), held_out)
    rows += [{"comparison": "ungated", "reference": "held-out", **row} for row in ungated]
    front = {"n_real": n_real, "system": args.system, "permutations": permutations}
    write_tsv(args.out, pd.DataFrame([front | row for row in rows], columns=list(COLUMNS)))
    log.info(
        "%s: masks of %d synthetic cases against %d held-out patients: %s",
        *(args.system, len(made), len(held_out), args.out),
    )


if __name__ == "__main__":
    run_program(main)
