"""Measure a folder of real masks without images: a larger reference for the shapes of synthetic masks.

One mask a patient; patients that any generator of this run is trained on are left out. The centre of a tumour is not
measured: it is given relative to the foreground, which a mask without images does not show.
"""

from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.study.settings.cases import ReferenceMaskSettings


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, out="reference_masks.tsv", rejected="table of the refused masks: file and reason")
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="manifest.json of each train subset")
    parser.add_argument("--root", type=Path, required=True, help="folder of the masks, named as in the cohort")
    args = parser.parse_args(argv)

    import pandas as pd

    from workflow_scripts.cohort.tables import refusals, rejected_table
    from workflow_scripts.evaluation.reference_masks import find_masks, measure_mask, reference_features

    settings = ReferenceMaskSettings.read(args.config)
    dataset, regions = settings.dataset, settings.regions
    trained = set().union(*(Subset.open(manifest, "train").patients for manifest in args.train))
    masks, excluded = find_masks(args.root, dataset, trained)
    rows, refused = [], []
    with track(len(masks), "reference masks", unit="mask") as bar:
        for case in masks:
            with refusals(refused, settings.on_bad_case):
                rows.append({"case_id": case.case_id, **measure_mask(case, dataset, settings.spacing_mm, regions)})
            bar.update(1)
    if not rows:
        raise UserError(f"no mask in {args.root} can be used. The first of {len(refused)} refused: {refused[0]}")
    write_tsv(args.rejected, rejected_table(refused))
    write_tsv(args.out, pd.DataFrame(rows, columns=["case_id", *reference_features(regions)]))
    log.info(
        "%d reference masks, %d refused, %d of training patients left out: %s",
        *(len(rows), len(refused), excluded, args.out),
    )


if __name__ == "__main__":
    run_program(main)
