"""Write the real training and validation cases of a train subset as nnU-Net reads them, for the mixes to take.

On the study's grid and with its intensities, as the arms have them, beside --out; the table --out: case_id (of the
export), source_case_id, patient_id, split. Test cases never enter it. Config: regions.
"""

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import write_tsv
from workflow_scripts.study.settings.cohort import Measured


def main(argv: list[str] | None = None) -> None:
    args = program_parser(__doc__, "train", "val", out="table of the cases").parse_args(argv)

    import numpy as np
    import pandas as pd

    from workflow_scripts.cohort.subset import Subset, check_apart
    from workflow_scripts.segmentation.raw_dataset import OF_REAL, cleared, write_image, write_label

    regions = Measured.read(args.config).regions
    subsets = [Subset.open(getattr(args, name), name) for name in ("train", "val")]
    check_apart(*subsets)
    folder, rows = cleared(args.out.parent), []
    for subset in subsets:
        for case_id in subset.case_ids:
            affine = np.asarray(subset.store.meta(case_id)["affine"])
            write_image(folder, OF_REAL + case_id, np.asarray(subset.store.image(case_id), np.float32), affine)
            levels = np.minimum(subset.store.levels(case_id), len(regions))
            write_label(folder, OF_REAL + case_id, levels, affine)
            row = {"case_id": OF_REAL + case_id, "source_case_id": case_id}
            rows.append(row | {"patient_id": subset.rows[case_id]["patient_id"], "split": subset.name})
    write_tsv(args.out, pd.DataFrame(rows))


if __name__ == "__main__":
    run_program(main)
