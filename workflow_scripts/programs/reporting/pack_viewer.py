"""Gather the volumes that the report's viewer shows: real and synthetic cases with their masks.

Config: {"cases": 4, "modalities": [...], "regions": [...], "seed": 0, "viewer_megabytes": 25, "real_volumes": false}.
The cases are those of the case figures: a seeded draw from the training patients, and the first synthetic ones by
number. Volumes of real patients, and of cases that are made in one, are only taken in with `real_volumes`; a simulated
patient is nobody.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import read_tsv, write_json
from workflow_scripts.cohort.nifti import read_synthetic_case, read_volume, synthetic_file
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.reporting.figures.slices import pick_real
from workflow_scripts.reporting.report.viewer_volumes import pack, viewed_case
from workflow_scripts.study.generators import USE
from workflow_scripts.study.settings.evaluation import ViewerSettings
from workflow_scripts.study.voxels import MASK

SEED = 0  # of the choice of training cases


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "train", out="JSON with the volumes")
    parser.add_argument("--tables", nargs="+", type=Path, required=True, help="cases.tsv beside the synthetic cases")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation")
    args = parser.parse_args(argv)
    settings = ViewerSettings.read(args.config, "evaluation.report")
    modalities, count = settings.modalities, settings.cases
    top = len(settings.regions)
    limit_bytes = int(settings.viewer_megabytes * 1e6)
    found, train = [], Subset.open(args.train, "train")
    if limit_bytes and (args.simulated or settings.real_volumes):
        store = train.store
        for case_id in pick_real(train.case_ids, count, SEED):
            meta = store.meta(case_id)
            image = store.image(case_id)
            images = {name: image[meta["modalities"].index(name)] for name in modalities}
            levels = np.minimum(store.levels(case_id), top)
            kind = "simulated" if args.simulated else "real"
            found.append(viewed_case(case_id, kind, "", images, levels, np.array(meta["affine"])))
    for table in args.tables if limit_bytes else []:
        made: pd.DataFrame = read_tsv(table).sort_values("number")
        if USE in made and not (args.simulated or settings.real_volumes):
            continue  # a case that is made in a patient shows the patient
        for case_id in made.case_id.iloc[:count]:
            folder = table.parent / case_id
            image, levels = read_synthetic_case(folder, case_id, modalities)
            _, affine = read_volume(synthetic_file(folder, case_id, MASK))
            images = dict(zip(modalities, image, strict=True))
            found.append(viewed_case(case_id, "synthetic", table.parent.name, images, levels, affine))
    packed = pack(found, limit_bytes)
    about = {"n_real": train.n_patients, "modalities": modalities, "regions": settings.regions}
    write_json(args.out, about | {"viewer_megabytes": settings.viewer_megabytes} | packed)


if __name__ == "__main__":
    run_program(main)
