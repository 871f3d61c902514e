"""Is a case a copy of a training case? The training set to compare with, and what near means.

A case is a copy where its nearest training case stands out from the other training patients by more than a real case's
does (margin). How near it is (similarity) cannot tell: a blurred average case correlates with every case better than
two cases do with each other, and a copy that a generator has blurred is less like its original than two patients may
be alike; yet the first points to nobody and the second to one patient. The threshold comes from real cases (as in Dar
et al. 2023, arXiv 2307.01148, who hold the similarity to it); the margin is in the spirit of Yoon et al. 2023, who
compare the nearest with the second nearest training case.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ..base.errors import UserError
from ..base.files import atomic, read_json, sha256_file, write_json
from ..study.dataset import Names
from ..study.settings.base import Block, Digest, Fault, Number, Unique, read_block
from .conformal import Threshold, conformal_threshold
from .likeness import Pose, coarse_image, image_likeness, mask_likeness, poses_within
from .release import ARRAYS, DESCRIPTION
from .tumour_view import CASES, tumour_alone

Three = Annotated[list[Annotated[Number, Field(gt=0, le=1e4)]], Field(min_length=3, max_length=3)]
Counts = Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=3, max_length=3)]


MOST_SHIFTS = 100  # coarse voxels to each side


class Real(Block):
    nearest_train_id: str
    similarity: Number
    margin: Number


class Description(Block):
    """reference.json."""

    case_ids: Annotated[list[str], Field(min_length=1), Unique]
    patient_ids: Annotated[list[str], Field(min_length=1)]
    compared: Literal["cases", "tumours"]
    modalities: Names
    size: Counts
    spacing_mm: Three
    blocks: Counts
    sigma: Three
    max_shift_mm: Annotated[Number, Field(ge=0, le=100)]
    real: Annotated[list[Real], Field(min_length=1)]
    arrays_sha256: Digest

    @model_validator(mode="after")
    def _a_row_a_case(self) -> Self:
        if not len(self.case_ids) == len(self.patient_ids) == len(self.real):
            raise Fault(["real"], [], "and patient_ids must have an entry for each of case_ids")
        edges = [edge * count for edge, count in zip(self.spacing_mm, self.blocks, strict=True)]
        if self.max_shift_mm > MOST_SHIFTS * min(edges):
            raise Fault(["max_shift_mm"], min(edges), "is more shifts than can be compared")
        return self


LARGEST = 1.0 - 1e-6  # similarity beyond which Fisher's z is no longer told apart


@dataclass(frozen=True)
class Nearest:
    """index: of the nearest training case; similarity: to it; margin: its Fisher z less the median of the others'."""

    index: int
    similarity: float
    margin: float


def nearest(similarities: np.ndarray, patients: Sequence[str], left_out: str | None = None) -> Nearest:
    """The nearest of n training cases. A patient counts with the nearest of its time points.

    similarities : (n,), -1 to 1
    patients : of the training cases
    left_out : a patient who does not count: the case's own, where it is a training case itself

    Raises UserError where no other patient is left.
    """
    best: dict[str, int] = {}
    for index, patient in enumerate(patients):
        if patient != left_out and (patient not in best or similarities[index] > similarities[best[patient]]):
            best[patient] = index
    if not best:
        raise UserError("one training patient has no other to be compared with: give n_real at least two patients")
    order = sorted(best.values(), key=lambda index: (-similarities[index], index))
    z = np.arctanh(np.clip(similarities[order], -LARGEST, LARGEST))
    others = float(np.median(z[1:])) if len(z) > 1 else 0.0
    return Nearest(order[0], float(similarities[order[0]]), float(z[0]) - others)


@dataclass(frozen=True)
class Limits:
    """Thresholds of similarity and margin, both from the same real cases."""

    similarity: Threshold
    margin: Threshold

    def exceeded(self, margin: float) -> bool:
        """Whether a case is a copy."""
        return bool(margin > self.margin.value)


def limits_of(
    patients: Sequence[str], similarities: Sequence[float], margins: Sequence[float], false_positive_rate: float
) -> Limits:
    """The thresholds that real cases set. A patient counts once, with the largest of its time points.

    A real case is called a copy with at most the chance of `conformal_threshold`.
    """
    of_patient: dict[str, list[tuple[float, float]]] = {}
    for patient, *scores in zip(patients, similarities, margins, strict=True):
        of_patient.setdefault(patient, []).append(tuple(scores))
    largest = np.array([np.max(scores, axis=0) for scores in of_patient.values()])  # (patients, 2)
    return Limits(*(conformal_threshold(column, false_positive_rate) for column in largest.T))


@dataclass(frozen=True)
class Reference:
    """A training set to compare with.

    case_ids, patient_ids : of the n training cases
    images : float32 (n, M, d, h, w), masks : float32 (n, 1, d, h, w)
        See `likeness.coarse_image` and `coarse_mask`.
    description : dict
        compared ("cases" or "tumours", see `view`), modalities, size [D, H, W] and spacing_mm of the volumes, blocks and sigma of the coarse grid, max_shift_mm, and ``real``: a row a training
        case, {nearest_train_id, similarity, margin} to the training cases of the other patients.
    """

    case_ids: list[str]
    patient_ids: list[str]
    images: np.ndarray
    masks: np.ndarray
    description: dict

    def view(self, image: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What of a case, image (M, D, H, W) and levels (D, H, W), is compared: all of it, or its tumour alone."""
        return view(self.description, image, levels)

    @property
    def coarse_spacing_mm(self) -> list[float]:
        """Edges of a coarse voxel along (D, H, W)."""
        return [
            edge * count for edge, count in zip(self.description["spacing_mm"], self.description["blocks"], strict=True)
        ]

    def coarse_image(self, image: np.ndarray) -> np.ndarray:
        """A case's image (M, D, H, W) in [-1, 1] as it is compared: (M, d, h, w)."""
        return coarse_image(image, self.description["blocks"], self.description["sigma"])

    @property
    def poses(self) -> list[Pose]:
        return poses_within(self.description["max_shift_mm"], self.coarse_spacing_mm)

    def check_shape(self, case_id: str, image: np.ndarray, levels: np.ndarray) -> None:
        """Raise UserError if a case (M, D, H, W) and (D, H, W) lies on another grid than the training cases."""
        shape = (len(self.description["modalities"]), *self.description["size"])
        if image.shape != shape or levels.shape != shape[1:]:
            raise UserError(
                f"case {case_id} has shape {image.shape}, the training cases {shape}: they come from other settings. "
                "Run `snakemake -R memorisation_reference synthesize`"
            )

    def nearest_image(self, image: np.ndarray, left_out: str | None = None) -> tuple[Nearest, Pose]:
        """The training case nearest to a coarse image, and the pose in which the image is nearest to it."""
        similarities, poses = image_likeness(image, self.images, self.poses)
        found = nearest(similarities, self.patient_ids, left_out)
        return found, poses[found.index]

    def nearest_mask(self, mask: np.ndarray, left_out: str | None = None) -> Nearest:
        """The training case whose tumour is nearest to a coarse mask: its Dice."""
        return nearest(mask_likeness(mask, self.masks, self.poses)[0], self.patient_ids, left_out)

    def own_limits(self, false_positive_rate: float) -> Limits:
        """Thresholds from the training cases alone: how near each comes to those of the other patients."""
        rows = self.description["real"]
        columns = ([row[name] for row in rows] for name in ("similarity", "margin"))
        return limits_of(self.patient_ids, *columns, false_positive_rate)


def view(description: dict, image: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `Reference.view`; for one that is being made."""
    if description["compared"] == CASES:
        return image, levels
    return tumour_alone(image, levels, description["spacing_mm"])


def compare_within(reference: Reference) -> list[dict]:
    """How near each training case comes to those of the other patients: the rows of ``real``."""
    rows = []
    for patient, image in zip(reference.patient_ids, reference.images, strict=True):
        found, _ = reference.nearest_image(image, left_out=patient)
        row = {"nearest_train_id": reference.case_ids[found.index]}
        rows.append(row | {"similarity": round(found.similarity, 6), "margin": round(found.margin, 6)})
    return rows


def save_reference(folder: str | os.PathLike, reference: Reference) -> None:
    """Write ``reference.safetensors`` (float16), then ``reference.json`` with its digest."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    arrays = {"images": reference.images.astype(np.float16), "masks": reference.masks.astype(np.float16)}
    with atomic(folder / ARRAYS) as temporary:
        save_file(arrays, temporary)
    ids = {"case_ids": reference.case_ids, "patient_ids": reference.patient_ids}
    write_json(folder / DESCRIPTION, ids | reference.description | {"arrays_sha256": sha256_file(folder / ARRAYS)})


def load_reference(folder: str | os.PathLike) -> Reference:
    """Read what `save_reference` wrote. Raises UserError if a file is missing or the two do not belong together."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    if not (folder / ARRAYS).is_file():
        raise UserError(f"{folder} holds no training set to compare with: run `snakemake -R memorisation_reference`")
    description = read_json(folder / DESCRIPTION)
    read_block(Description, description, title=str(folder / DESCRIPTION))
    if description.pop("arrays_sha256") != sha256_file(folder / ARRAYS):
        raise UserError(f"{folder / ARRAYS} is not the file that {DESCRIPTION} describes: make both again")
    try:
        arrays = {name: array.astype(np.float32) for name, array in load_file(folder / ARRAYS).items()}
    except SafetensorError as error:
        raise UserError(f"{folder / ARRAYS} is damaged ({error}): make it again") from None
    count, modalities = len(description["case_ids"]), len(description["modalities"])
    shapes = {name: array.shape for name, array in arrays.items()}
    coarse = shapes.get("masks", ())[2:]
    if shapes != {"images": (count, modalities, *coarse), "masks": (count, 1, *coarse)} or len(coarse) != 3:
        raise UserError(
            f"{folder / ARRAYS} does not hold images and masks of the cases of {DESCRIPTION}: make both again"
        )
    return Reference(description.pop("case_ids"), description.pop("patient_ids"), **arrays, description=description)
