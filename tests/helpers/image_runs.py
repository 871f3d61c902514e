"""Image metrics of a small cohort: synthetic cases made of its own, and the programs that compare them."""

import json

import numpy as np
import pandas as pd
from brats import WRITTEN
from subsets import subset_options

from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.cohort.nifti import write_case
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.programs.evaluation import evaluate_images, extract_image_features


def write_synthetic(cohort, name, case_ids, change=lambda image: image):
    """`case_ids` of the cohort as synthetic cases, their images changed; the table's path."""
    store, rows = VolumeStore(cohort / "volumes"), []
    for number, source in enumerate(case_ids):
        case_id, meta = f"SliceAug-{number:05d}-000", store.meta(source)
        image = np.array(store.image(source), dtype=np.float32)
        changed = np.where(image > -1, np.clip(change(image), -0.999, 1), -1)
        levels = np.array(store.levels(source))
        folder = cohort / name / case_id
        write_case(folder, case_id, changed, levels, np.array(meta["affine"]), meta["modalities"], WRITTEN)
        rows.append({"case_id": case_id, "number": number, "attempts": 1})
    write_tsv(cohort / name / "blocks/0.tsv", pd.DataFrame(rows[::-1]))
    return cohort / name


def extract(cohort, out, name=None, **config):
    """Features of the real cases, or of a synthetic set; options of evaluate_images that name them."""
    kind = "synthetic" if name else "real"
    made = ["--synthetic", str(cohort / name), "--tables", str(cohort / name / "blocks/0.tsv")] if name else []
    extract_image_features.main(
        [
            *("--threads", "1", *(made or subset_options(cohort, "test", "train")), *subset_options(cohort, "val")),
            *("--system", "slice_ldm", "--features", str(out / "features"), "--config", json.dumps(config)),
            *("--out", str(out / f"{kind}.tsv"), "--pairs", str(out / f"{kind}_pairs.tsv")),
        ]
    )


def compare(cohort, out, n_real=2, **config):
    evaluate_images.main(comparison(cohort, out, n_real, **config))
    return read_tsv(out / "images.tsv")


def comparison(cohort, out, n_real=2, **config):
    """Options of evaluate_images."""
    small = {"intervals": {"bootstrap_samples": 200, "confidence": 0.9, "seed": 0}}
    return [
        *(*subset_options(cohort, "train", "val", "test", n_real=n_real), "--features", str(out / "features")),
        *("--real", str(out / "real.tsv"), "--real-pairs", str(out / "real_pairs.tsv")),
        *("--synthetic", str(out / "synthetic.tsv"), "--synthetic-pairs", str(out / "synthetic_pairs.tsv")),
        *("--system", "slice_ldm", "--threads", "1"),
        *("--out", str(out / "images.tsv"), "--config", json.dumps(small | config)),
    ]


def evaluate(cohort, out, name, n_real=2, **config):
    extract(cohort, out, **config)
    extract(cohort, out, name, **config)
    return compare(cohort, out, n_real)


def fid(table):
    return table[(table.metric == "fid") & (table.modality == "all")].set_index(["plane", "comparison"])
