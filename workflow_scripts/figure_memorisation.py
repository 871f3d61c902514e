"""Draw the synthetic cases that come nearest to a training case, each beside it, and the real case that does.

The nearest by similarity of aligned images; copies first. The training case is drawn mirrored and shifted as it is
most alike. Last comes the real held-out case with the largest similarity: how alike two patients can be.
Config (--config): {"cases": 4, "modality": "t2f"}.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workflow_scripts.base.cli import add_subsets, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.memorisation.likeness import Pose, moved
from workflow_scripts.reporting.figures.cases import PicturedCase
from workflow_scripts.reporting.figures.pairs import Pair, nearest_pairs
from workflow_scripts.reporting.figures.style import save_figure
from workflow_scripts.study.settings.evaluation import FigureSettings


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="memorisation.tsv of the system")
    add_subsets(parser, "train", "val", "test")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic cases")
    parser.add_argument("--system", required=True, help="name of the generative system")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out", type=Path, required=True, help="figure, .png or .svg")
    args = parser.parse_args(argv)
    settings = FigureSettings.read(args.config, "evaluation.figures")
    table, modality = read_tsv(args.table), settings.modality
    subsets = [Subset.open(getattr(args, name), name) for name in ("train", "val", "test")]
    stores = {case_id: subset.store for subset in subsets for case_id in subset.case_ids}
    order = table.sort_values(["is_copy", "similarity", "case_id"], ascending=[False, False, True], kind="stable")
    synthetic = order[order.group == "synthetic"]
    held_out = table[table.group == "held_out"].sort_values(["similarity", "case_id"], ascending=[False, True])

    def training_case(row) -> PicturedCase:
        case = stored_case(row.nearest_train_id)
        shift = [-row[f"shift_{axis}_mm"] for axis in "zyx"]
        steps = tuple(round(mm / edge) for mm, edge in zip(shift, case.spacing_mm, strict=True))
        image, levels = (moved(array, Pose(False, steps)) for array in (case.image + 1, case.levels))
        if row.flipped:
            image, levels = image[..., ::-1], levels[..., ::-1]
        return PicturedCase(case.case_id, image - 1, levels, case.spacing_mm)

    def stored_case(case_id: str) -> PicturedCase:
        store = stores[case_id]
        meta = store.meta(case_id)
        if modality not in meta["modalities"]:
            raise UserError(f"evaluation: figures: modality {modality!r} is not in the volumes: {meta['modalities']}")
        image = np.asarray(store.image(case_id)[meta["modalities"].index(modality)], dtype=np.float32)
        return PicturedCase(case_id, image, np.asarray(store.levels(case_id)), meta["spacing_mm"])

    pairs = []
    for _, row in synthetic.iloc[: settings.cases].iterrows():
        training = training_case(row)
        image, levels = read_synthetic_case(args.synthetic / row.case_id, row.case_id, [modality])
        case = PicturedCase(row.case_id, image[0], levels, training.spacing_mm)
        pairs.append(Pair(case, training, _words(row, "COPY" if row.is_copy else "no copy")))
    for _, row in held_out.iloc[:1].iterrows():
        kind = "simulated held-out case" if args.simulated else "real held-out case"
        pairs.append(Pair(stored_case(row.case_id), training_case(row), _words(row, f"{kind}, for comparison")))
    title = (
        f"{modality}: case, nearest training case (mirrored and shifted as noted), difference; axial and coronal.\n"
        f"System {args.system}, n_real = {subsets[0].n_patients}: the {min(settings.cases, len(synthetic))} of "
        f"{len(synthetic)} synthetic cases nearest to a training case."
    )
    if args.simulated:
        title = f"SIMULATED COHORT: no patient is real.\n{title}"
    save_figure(nearest_pairs(pairs, title), args.out)


def _words(row, verdict: str) -> str:
    shift = ", ".join(f"{row[f'shift_{axis}_mm']:g}" for axis in "zyx")
    return (
        f"{row.case_id} and {row.nearest_train_id}{' mirrored' if row.flipped else ''}, shift ({shift}) mm: "
        f"similarity {row.similarity:.2f}, margin {row.margin:.2f}: {verdict}"
    )


if __name__ == "__main__":
    run_program(main)
