"""Measure how near real cases come to the training cases: those that no stage has trained on, and the training cases
themselves, each to the other patients. This is what synthetic cases are judged by; it judges no real case.

Writes --out, a row a real case, and --features, the training cases' features, as they are and mirrored.
Config (--config): as evaluation.images: batch_size, planes, min_foreground_fraction.
"""

import numpy as np
import pandas as pd

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import atomic, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.evaluation.audit import audit_row
from workflow_scripts.evaluation.volume_features import FeatureReader
from workflow_scripts.memorisation.reference import load_reference
from workflow_scripts.study.settings.evaluation import ImageFeatures
from workflow_scripts.training.devices import use_threads


def main(argv: list[str] | None = None) -> None:
    paths = {"out": "real.tsv", "features": "features of the training cases, .safetensors"}
    args = program_parser(__doc__, "train", "val", "test", "reference", **paths).parse_args(argv)
    use_threads(args.threads)
    reference = load_reference(args.reference)
    subset, *others = (Subset.open(getattr(args, name), name) for name in ("train", "val", "test"))
    train = subset.case_ids
    if train != reference.case_ids:
        raise UserError(f"{args.reference} is not of this train subset: run `snakemake -R memorisation_reference`")
    rows_of = {case_id: row for other in (subset, *others) for case_id, row in other.rows.items()}
    stores = {case_id: other.store for other in (subset, *others) for case_id in other.case_ids}
    held_out = [case_id for other in others for case_id in other.case_ids]
    if not held_out:
        raise UserError("there is no validation or test case to hold synthetic cases against")
    read = FeatureReader(ImageFeatures.read(args.config, "evaluation.images"), reference.description)
    features, rows = [], []
    with track(len(train) + len(held_out), "nearness of real cases", "case") as bar:
        for case_id in train:
            image, _ = reference.view(subset.store.image(case_id), subset.store.levels(case_id))
            features.append(np.stack([read(image), read(image, mirrored=True)]))
            bar.update()
        features = np.stack(features)  # (n, 2, F)
        for group, case_ids in (("held_out", held_out), ("train", train)):
            for case_id in case_ids:
                store = stores[case_id]
                own = rows_of[case_id]["patient_id"]
                image, levels = reference.view(np.asarray(store.image(case_id)), np.asarray(store.levels(case_id)))
                known_features = features[train.index(case_id), 0] if group == "train" else read(image)
                row = audit_row(reference, features, case_id, image, levels, known_features, left_out=own)
                rows.append({"group": group, "patient_id": own} | row)
                if group == "held_out":
                    bar.update()
    from safetensors.numpy import save_file

    with atomic(args.features) as temporary:
        save_file({"features": features}, temporary, metadata={"network": read.network.name})
    write_tsv(args.out, pd.DataFrame(rows))
    for group in ("held_out", "train"):
        found = [row["similarity"] for row in rows if row["group"] == group]
        log.info(
            "%s: %d cases, similarity to the nearest training case %.3f to %.3f",
            group,
            len(found),
            min(found),
            max(found),
        )


if __name__ == "__main__":
    run_program(main)
