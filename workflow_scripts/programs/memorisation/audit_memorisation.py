"""Find the nearest training case of every synthetic case, and say which are nearer than real cases come.

Writes --out, a row a synthetic, control, held-out and training case, and --summary, a row a measure and origin of the
threshold. Controls are training cases decoded from their latents (--model, --latents; none for a system in voxel
space): what a generator that copies them would make, and so what the audit can catch at best.
Config (--config): action (audit, warn: warn of each copy, refuse: the gate has refused them before), the
false_positive_rate of the thresholds, images: as of calibrate_memorisation, and slices_per_batch: as of
the synthesis.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.nifti import read_synthetic_case
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.evaluation.audit import audit_row, judged, limits_from, read_features, summary_rows
from workflow_scripts.evaluation.memorisation_control import decoded_training_cases
from workflow_scripts.evaluation.volume_features import FeatureReader
from workflow_scripts.memorisation.copy_gate import is_copy_reason
from workflow_scripts.memorisation.reference import load_reference
from workflow_scripts.study.settings.evaluation import AuditSettings
from workflow_scripts.study.settings.synthesis import SynthesisSettings
from workflow_scripts.training.devices import use_threads


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(
        __doc__, "reference", "train", "system", out="memorisation.tsv", summary="memorisation_summary.tsv"
    )
    parser.add_argument("--model", action=Folder, help="folder of the trained generator, for the control")
    parser.add_argument("--latents", action=Folder, help="folder of the training cases' latents, for the control")
    parser.add_argument("--real", type=Path, required=True, help="real.tsv of calibrate_memorisation")
    parser.add_argument("--features", type=Path, required=True, help="features of the training cases, beside it")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic cases")
    parser.add_argument("--table", type=Path, required=True, help="cases.tsv of the synthetic cases")
    parser.add_argument("--rejected", type=Path, required=True, help="rejected.tsv of the synthetic cases")
    args = parser.parse_args(argv)
    if (args.model is None) != (args.latents is None):
        raise UserError("give both --model and --latents, or neither")
    use_threads(args.threads)
    settings = AuditSettings.read(args.config, "memorisation")
    n_real = Subset.open(args.train, "train").n_patients
    reference, real = load_reference(args.reference), read_tsv(args.real)
    compared = reference.description["compared"]
    made = read_tsv(args.table).sort_values("number")
    if made.empty:
        raise UserError(f"{args.table} lists no synthetic case: there is nothing to audit")
    train_features = read_features(args.features)
    read = FeatureReader(settings.images, reference.description)
    rows = []

    def look(group: str, case_id: str, image: np.ndarray, levels: np.ndarray) -> None:
        reference.check_shape(case_id, image, levels)
        image, levels = reference.view(image, levels)
        found = audit_row(reference, train_features, case_id, image, levels, read(image))
        rows.append({"group": group, "patient_id": ""} | found)

    with track(len(made), f"memorisation audit, {args.system}", "case") as bar:
        for case_id in made.case_id:
            modalities = reference.description["modalities"]
            look("synthetic", case_id, *read_synthetic_case(args.synthetic / case_id, case_id, modalities))
            bar.update()
    if args.model is not None:
        decoding = SynthesisSettings(slices_per_batch=settings.slices_per_batch)
        for case_id, image, levels in decoded_training_cases(args.model, args.latents, decoding):
            look("control", case_id, image, levels)
    limits = limits_from(real, settings.false_positive_rate)
    table = judged(pd.concat([pd.DataFrame(rows), real], ignore_index=True), limits).assign(compared=compared)
    refused = sum(map(is_copy_reason, read_tsv(args.rejected).reason))
    front = {"n_real": n_real, "system": args.system, "action": settings.action, "compared": compared}
    summary = pd.DataFrame([front | row | {"draws_refused": refused} for row in summary_rows(table, limits)])
    write_tsv(args.out, table)
    write_tsv(args.summary, summary)
    copies = table[(table.group == "synthetic") & table.is_copy]
    if settings.action == "warn":
        for row in copies.itertuples():
            log.warning(
                "%s is a copy of training case %s: similarity %.3f, margin %.3f",
                *(row.case_id, row.nearest_train_id, row.similarity, row.margin),
            )
    log.info(
        "%s, n_real=%d: %d of %d synthetic cases are copies of a training case (%s compared) by the thresholds of %d held-out patients",
        *(args.system, n_real, len(copies), len(made), compared, limits["held_out", "image"].similarity.n),
    )


if __name__ == "__main__":
    run_program(main)
