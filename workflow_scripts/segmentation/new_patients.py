"""A trained arm for patients that no study has seen: their images are read, checked and gridded as the study did its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..base.cli import log
from ..base.errors import UserError
from ..base.files import read_json, write_tsv
from ..base.progress import track
from ..cohort.case_table import cases_in
from ..cohort.checks import load_case
from ..cohort.layouts import CaseFiles
from ..cohort.nifti import write_nifti
from ..cohort.preprocess import preprocess_case
from ..cohort.tables import refusals, rejected_table
from ..study import blocks
from ..study.files import STUDY
from ..study.settings.cases import FindSettings, GridSettings
from .prediction import ARM, load_predictor, predicted_levels
from .segmenter import Plan, Predictor, load_plan

PLAN = "plan.json"
TRAINED_ON = "this arm was trained, or its training watched, on a case of this id"


@dataclass(frozen=True)
class TrainedArm:
    """An arm with all that new patients need of its study.

    seen : ids of the cases that it was trained on, and of those that its training was watched by
    """

    plan: Plan
    predictor: Predictor
    finding: FindSettings
    grid: GridSettings
    seen: frozenset[str]

    @classmethod
    def load(cls, folder: str | os.PathLike, settings: Mapping[str, Any], device: torch.device) -> TrainedArm:
        """The arm in `folder`, .../segmentation/<segmenter>/<arm>/seed~<k>, within its study; or in a folder of its own, with
        the plan.json of its segmenter and the study.json of its run copied into it.

        settings : mirroring, precision, layout and on_bad_case in place of the study's

        Raises UserError that names what is missing.
        """
        folder = Path(folder)
        arm, plan = read_json(_file(folder, ARM)), load_plan(_above(folder, PLAN))
        file = _above(folder, STUDY)
        known = read_json(file)
        if not isinstance(known, dict) or not isinstance(known.get("settings"), dict):
            raise UserError(f"{file} does not hold the settings of a study: copy it again")
        ours = {name: settings[name] for name in ("layout", "on_bad_case") if name in settings}
        config = known["settings"] | ours
        others = blocks.segmentation_prediction(config)  # arm.json has what its training was told, which these are not
        others |= {name: value for name, value in settings.items() if name not in ours}
        grid = GridSettings.read(blocks.preprocess(config))
        if grid.modalities != plan.modalities:
            raise UserError(
                f"{file} is of another study than {folder}: it has the modalities {', '.join(grid.modalities)}"
            )
        finding = FindSettings.read(blocks.find_cases(config))
        seen = frozenset((*arm["real_ids"], *arm["others_ids"], *arm["val_ids"]))
        return cls(plan, load_predictor(plan, folder, arm, others, device), finding, grid, seen)

    def labels(self, files: CaseFiles) -> tuple[np.ndarray, np.ndarray, list[str], dict[str, float]]:
        """Labels (X, Y, Z) uint8 of one patient on their own grid, its affine, notes, and the volume of each region in ml.

        Raises BadCase, naming the file.
        """
        dataset = self.grid.dataset
        case = load_case(files, dataset, self.grid.modalities)
        image, _, meta = preprocess_case(case, dataset, self.grid.spacing_mm, self.grid.size)
        levels = predicted_levels(self.predictor, self.plan, image, meta)
        volumes = {
            f"{name}_ml": round(float(np.count_nonzero(levels >= level)) * case.voxel_ml, 3)
            for level, name in enumerate(self.plan.regions, 1)
        }
        notes = [*case.notes, *[TRAINED_ON] * (files.case_id in self.seen)]
        return np.asarray(meta["written"]["labels"], np.uint8)[levels], case.source_affine, notes, volumes


def predict_patients(arm: TrainedArm, cases: str | os.PathLike, out: Path) -> pd.DataFrame:
    """Segment all patients below the folder `cases`, or of a table of files, and write one mask each into `out`.

    Masks are <case_id>.nii.gz on the patient's own grid, in the labels that the study's data set is written in, with
    predictions.tsv (a row a mask: case_id, patient_id, file, note, volumes in ml) and rejected.tsv (a row a refused patient: file and
    reason). Masks that lie beside the images are not read.

    Raises UserError where there is no patient that could be read; BadCase at the first one that could not, where the study's
    `on_bad_case` is "fail".
    """
    how = arm.finding
    root = Path.cwd() / cases
    found, refused, _ = cases_in(root, how.dataset, how.modalities, how.layout, annotated=False)
    if refused and how.on_bad_case == "fail":
        raise refused[0]
    rows: list[dict[str, object]] = []
    with track(len(found), "predicting patients", "patient") as bar:
        for files in found:
            with refusals(refused, how.on_bad_case):
                labels, affine, notes, volumes = arm.labels(files)
                name = f"{files.case_id}.nii.gz"
                write_nifti(out / name, labels, affine)
                if TRAINED_ON in notes:
                    log.warning("case %s: %s", files.case_id, TRAINED_ON)
                rows.append({"case_id": files.case_id, "patient_id": files.patient_id, "file": name})
                rows[-1] |= {"note": "; ".join(notes), **volumes}
            bar.update(1)
    write_tsv(out / "rejected.tsv", rejected_table(sorted(refused, key=lambda bad: bad.case_id)))
    if not rows:
        raise UserError(
            f"{root} holds no patient that could be read. The first of {len(refused)} refused: {refused[0]}"
        )
    table = pd.DataFrame(rows)
    write_tsv(out / "predictions.tsv", table)
    return table


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise UserError(f"{folder} holds no trained arm: {name} is not in it. Give a folder .../<arm>/seed~<number>")
    return folder / name


def _above(folder: Path, name: str) -> Path:
    """The file of that name in the folder, or in the nearest one above it."""
    here = folder.resolve()
    for place in (here, *here.parents):
        if (place / name).is_file():
            return place / name
    what = f"{folder} lies in no study, and {name} is not in it"
    raise UserError(f"{what}: give the arm's folder within results/<run>, or copy that file of its study into it")
