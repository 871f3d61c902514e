"""Who is who in a cohort: cases of one patient under several names share a set; what is only suspected is said.

Four things tell: the table or pattern of patients, equal masks, images that are nearly the same, and ids with a common stem.
"""

import base64
import hashlib
import os
import re
from itertools import combinations, product

import numpy as np
import pandas as pd

from ..base.errors import UserError
from ..base.given_tables import read_given
from .planes import bounding_box

CELLS = 12  # along each axis of the foreground's box, whose mean intensities are compared with their neighbours'
COVERED = 0.3  # least share of foreground in such a cell
# Measured on 42 real patients at 1 and 2 mm: of two patients at least 0.22 of the signs differ, of one that was
# scaled, cropped, smoothed, turned by 3 degrees or halved in resolution at most 0.14; of 40 simulated ones at least 0.20.
SAME_IMAGE, LIKE_IMAGE = 0.05, 0.15
MOST_OF_A_STEM = 8  # cases: a stem of more is that of a cohort, not of a patient
_TIME = "timepoint|time|tp|t|visit|scan|session|ses|s|week|day|month|fu|followup|exam|study|copy|v|w|d|m"
_ENDS = rf"[_.-](?:{_TIME})?[_.-]?\d{{1,3}}[a-z]?|(?:{_TIME})[_.-]?\d{{1,3}}|[_.-]?[a-z]|[_.-](?:pre|post|baseline|copy|new|old|follow.?up)"
_STEM = re.compile(rf"(.*\d)(?:{_ENDS})", re.IGNORECASE)
FLIPS = list(product((False, True), repeat=3))


def levels_digest(levels: np.ndarray) -> str:
    """Digest of a level map uint8 (D, H, W) as it is: a mask that was mirrored or moved since is another one."""
    return hashlib.sha256(repr(levels.shape).encode() + np.ascontiguousarray(levels).tobytes()).hexdigest()[:32]


def mask_digest(levels: np.ndarray) -> str:
    """Digest of a level map uint8 (D, H, W), the same for every amount of background around it and however it is mirrored."""
    box = bounding_box(levels)
    part = levels[box] if box else levels[:0]
    found = []
    for flip in FLIPS:
        turned = np.ascontiguousarray(np.flip(part, np.flatnonzero(flip)))
        found.append(hashlib.sha256(repr(turned.shape).encode() + turned.tobytes()).hexdigest())
    return min(found)[:32]


def image_digest(image: np.ndarray) -> str:
    """A perceptual digest of the box around a foreground, whose outside is 0: where the mean of each of its CELLS^3 parts is
    above that of the part before it, along each axis (a difference hash, in 3D).

    image : (D, H, W), larger than CELLS along no axis in particular

    Returns base64 of two bits a pair of parts: whether it rises, and whether both parts lie in the foreground.
    """
    covered = _means((image != 0).astype(np.float32))
    means = _means(image) / np.maximum(covered, COVERED)
    inside = covered > COVERED
    rises = np.concatenate([(np.diff(means, axis=axis) > 0).ravel() for axis in range(3)])
    valid = np.concatenate(
        [(inside.take(range(1, CELLS), axis) & inside.take(range(CELLS - 1), axis)).ravel() for axis in range(3)]
    )
    return base64.b64encode(np.packbits(rises).tobytes() + np.packbits(valid).tobytes()).decode()


def _means(volume: np.ndarray) -> np.ndarray:
    """Means over CELLS equal parts along each axis; a voxel between two parts counts in both by its share."""
    for axis, length in enumerate(volume.shape):
        edges = np.linspace(0, length, CELLS + 1)
        below = np.minimum(edges.astype(int), length - 1)
        sums = np.concatenate([np.zeros_like(volume.take([0], axis)), volume.cumsum(axis, dtype=np.float64)], axis)
        share = (edges - below).reshape([-1 if other == axis else 1 for other in range(3)])
        at_edges = sums.take(below, axis) * (1 - share) + sums.take(below + 1, axis) * share
        volume = np.diff(at_edges, axis=axis) * (CELLS / length)
    return volume


def _signs(digests: list[str]) -> np.ndarray:
    """int8 (N, 3, ...): 1 where it rises, -1 where it falls, 0 outside; each axis as (CELLS, CELLS, CELLS), padded with 0."""
    pairs = 3 * CELLS**2 * (CELLS - 1)
    bits = [np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8)) for text in digests]
    rises, valid = (
        np.array([row[start : start + pairs] for row in bits], dtype=np.int8) for start in (0, len(bits[0]) // 2)
    )
    flat = (2 * rises - 1) * valid
    signs = np.zeros((len(digests), 3, CELLS, CELLS, CELLS), dtype=np.int8)
    for axis, part in enumerate(np.split(flat, 3, axis=1)):
        shape = [CELLS - (axis == other) for other in range(3)]
        signs[:, axis, : shape[0], : shape[1], : shape[2]] = part.reshape(-1, *shape)
    return signs


def like_images(digests: list[str], limit: float = LIKE_IMAGE) -> list[tuple[int, int, float]]:
    """Pairs of `image_digest`s of which at most a share `limit` of the signs differ, however the images are mirrored."""
    if len(digests) < 2:
        return []
    signs = _signs(digests)
    one = signs.reshape(len(digests), -1).astype(np.float32)
    differ = np.ones((len(digests), len(digests)), dtype=np.float32)
    for flip in FLIPS:
        turned = np.zeros_like(signs)
        for axis in range(3):
            length = [CELLS - (axis == other) for other in range(3)]
            part = signs[:, axis, : length[0], : length[1], : length[2]]
            mirrored = np.flip(part, [1 + other for other in range(3) if flip[other]])
            turned[:, axis, : length[0], : length[1], : length[2]] = -mirrored if flip[axis] else mirrored
        other = turned.reshape(len(digests), -1).astype(np.float32)
        both = np.abs(one) @ np.abs(other).T
        share = (both - one @ other.T) / 2 / np.maximum(both, 1)
        differ = np.where(both > 0, np.minimum(differ, share), differ)
    found = np.argwhere(np.triu(differ <= limit, 1))
    return [(int(i), int(j), float(differ[i, j])) for i, j in found]


def stem_of(case_id: str) -> str | None:
    """What an id is without an ending that may be a time point, a copy or a scan; None where it has no such ending."""
    match = _STEM.fullmatch(case_id)
    return match[1] if match else None


def read_patients(path: str | os.PathLike) -> dict[str, str]:
    """case id -> patient id, of a CSV or tab-separated table with the columns case_id and patient_id.

    Raises UserError if it lacks one of them, an entry is empty, or a case has two patients.
    """
    found: dict[str, str] = {}
    for row in read_given(path, "patients", ("case_id", "patient_id")):
        if found.setdefault(row["case_id"], row["patient_id"]) != row["patient_id"]:
            known = found[row["case_id"]]
            raise UserError(f"patients: {path}: case {row['case_id']} is of patient {known} and of {row['patient_id']}")
    return found


def join_patients(cases: pd.DataFrame, decided: bool) -> tuple[pd.DataFrame, list[str]]:
    """Give cases of one patient one patient_id, and say what is only suspected, in their notes and in the sentences returned.

    cases : rows with case_id, patient_id, note, mask_digest and image_digest
    decided : the user's own table says who the patients are: nothing is joined, and what speaks against it is said
    """
    cases = cases.reset_index(drop=True).copy()
    ids, patients, remarks = list(cases.case_id), list(cases.patient_id), []
    joined = _Groups(patients)
    said: set[tuple[int, int]] = set()

    def say(i: int, j: int, what: str, certain: bool) -> None:
        if (i, j) in said or joined.same(patients[i], patients[j]):
            return
        said.add((i, j))
        end = "if they are of one patient, write it in a table that `patients` names"
        if decided:
            end = "the table of patients keeps them apart: check it"
        elif certain:
            joined.join(patients[i], patients[j])
            end = "they are taken for one patient"
        remarks.append(f"{what.format(ids[i], ids[j])}: {end}")
        for one, other in ((i, j), (j, i)):
            note = f"{what.format('this case', ids[other])}: {end}"
            cases.loc[one, "note"] = "; ".join(filter(None, (cases.loc[one, "note"], note)))

    for group in cases.groupby("mask_digest").groups.values():
        for other in group[1:]:
            say(group[0], other, "the masks of {} and {} are the same, or mirrored", True)
    for i, j, differ in like_images(list(cases.image_digest)):
        what = f"the images of {{}} and {{}} are nearly the same ({differ:.0%} of their gradients differ)"
        say(i, j, what, differ <= SAME_IMAGE)
    stems: dict[str, list[int]] = {}
    for place, case_id in enumerate([] if decided else ids):
        if patients[place] == case_id and (stem := stem_of(case_id)):
            stems.setdefault(stem, []).append(place)
    for stem, places in stems.items():
        places += [place for place, case_id in enumerate(ids) if case_id == stem]
        if 2 <= len(places) <= MOST_OF_A_STEM:
            for i, j in combinations(sorted(places), 2):
                say(i, j, f"the ids {{}} and {{}} share the stem {stem}", False)
    cases["patient_id"] = [joined.name(patient) for patient in patients]
    return cases, remarks


class _Groups:
    """Patients that turned out to be one; a group is called after the first of its names."""

    def __init__(self, names: list[str]):
        self._above = {name: name for name in names}

    def name(self, one: str) -> str:
        while self._above[one] != one:
            one = self._above[one]
        return one

    def same(self, one: str, other: str) -> bool:
        return self.name(one) == self.name(other)

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.name(one), self.name(other)))
        self._above[second] = first
