"""Draw real and synthetic cases side by side: three planes through the tumour, contours of its regions.

Config: {"cases": 4, "modality": "t2f", "regions": [...], "seed": 0}. The synthetic cases are the first ones by
number, the real ones a seeded draw from the training patients of the generator: none is picked for its looks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.base.cli import add_subsets, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.cohort.regions import check_regions
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.reporting.figures.cases import PicturedCase, pick_real, real_and_synthetic
from workflow_scripts.reporting.figures.style import save_figure
from workflow_scripts.study.settings.evaluation import CaseFigureSettings

SEED = 0  # of the choice of training cases


def _modality(modalities: list[str], wanted: str) -> int:
    if wanted not in modalities:
        raise UserError(f"evaluation: figures: modality {wanted!r} is not in the volumes: {', '.join(modalities)}")
    return modalities.index(wanted)


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__)
    add_subsets(parser, "train")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic cases")
    parser.add_argument("--tables", nargs="+", required=True, help="tables of the synthetic cases (blocks)")
    parser.add_argument("--system", required=True, help="name of the generative system")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out", type=Path, required=True, help="figure, .png or .svg")
    args = parser.parse_args(argv)
    settings = CaseFigureSettings.read(args.config, "evaluation.figures")
    regions, wanted = check_regions(settings.regions), settings.modality

    train = Subset.open(args.train, "train")
    made = pd.concat([read_tsv(file) for file in args.tables], ignore_index=True).sort_values("number")
    store, real, synthetic = train.store, [], []
    for case_id in pick_real(train.case_ids, settings.cases, SEED):
        meta = store.meta(case_id)
        image = store.image(case_id)[_modality(meta["modalities"], wanted)]
        real.append(PicturedCase(case_id, np.asarray(image), np.asarray(store.levels(case_id)), meta["spacing_mm"]))
    for case_id in made.case_id.iloc[: settings.cases]:
        image, levels = read_synthetic_case(args.synthetic / case_id, case_id, [wanted])
        synthetic.append(PicturedCase(case_id, image[0], levels, real[0].spacing_mm if real else (1, 1, 1)))
    title = (
        f"{wanted}, slices with the most tumour. Right: system {args.system}, trained on n_real = {train.n_patients} "
        f"patients; its first {len(synthetic)} cases by number, not picked. Left: a seeded draw from those patients."
    )
    if args.simulated:
        title = f"SIMULATED COHORT: no patient is real.\n{title}"
    save_figure(real_and_synthetic(real, synthetic, regions, title, args.simulated), args.out)


if __name__ == "__main__":
    run_program(main)
