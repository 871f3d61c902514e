"""The subsets of a small cohort that a test has written: folders of links with manifests, and the options that name them."""

from pathlib import Path

import pandas as pd
from brats import DATASET

from workflow_scripts.base.files import read_json, read_tsv, write_json
from workflow_scripts.cohort.subset import write_subset
from workflow_scripts.cohort.volumes import SUFFIXES

OF_N_REAL = ("train", "others")


def subset_paths(cohort, *names: str, n_real=None, splits: dict | None = None, volumes=None) -> dict[str, Path]:
    """Manifests of these subsets of a folder with volumes/, splits.json and perhaps cases.tsv, written anew.

    `n_real`: the first train subset, if none is named. `splits`, `volumes`: in place of the folder's own.
    """
    cohort = Path(cohort)
    splits = splits or read_json(cohort / "splits.json")
    n_real = n_real or next(iter(splits["train"]))
    paths = {}
    for name in names:
        case_ids = splits[name][str(n_real)] if name in OF_N_REAL else splits[name]
        cases = pd.DataFrame({"case_id": case_ids, "patient_id": [DATASET.patient_of(case_id) for case_id in case_ids]})
        if (cohort / "cases.tsv").is_file():
            known = read_tsv(cohort / "cases.tsv")
            cases = cases.merge(known[[column for column in known if column != "patient_id"]], on="case_id")
        folder = cohort / "subsets" / (f"{n_real}_{name}" if name in OF_N_REAL else name)
        paths[name] = write_subset(folder, name, cases, volumes or cohort / "volumes")
    return paths


def subset_options(cohort, *names: str, **places) -> list[str]:
    """The manifests of `subset_paths` as options, such as --train a/manifest.json."""
    return [text for name, path in subset_paths(cohort, *names, **places).items() for text in (f"--{name}", str(path))]


def manifest_alone(folder: Path, case_ids: list[str], name: str = "train") -> Path:
    """A manifest whose volumes are not there, for a program that reads no volume."""
    rows = [{"case_id": case_id, "patient_id": DATASET.patient_of(case_id)} for case_id in case_ids]
    digests = {case_id: dict.fromkeys(SUFFIXES, "0" * 64) for case_id in case_ids}
    write_json(folder / "manifest.json", {"subset": name, "cases": rows, "sha256": digests})
    return folder / "manifest.json"
