"""A trained generator, and the cases that it makes, as arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workflow_scripts.base.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from workflow_scripts.diffusion.synthesis import Case, Refusal
    from workflow_scripts.memorisation.released import Released

PASSED, NOT_CHECKED = "passed", "not checked"


@dataclass(frozen=True)
class SyntheticCase:
    """A case that passed the gates.

    Attributes
    ----------
    case_id, number : its name, and the number that it depends on, with the seed alone
    image : float32 (modality, z, y, x) in [-1, 1], background exactly -1; modalities as `Generator.modalities`, axes to
        superior, anterior and right
    levels : uint8 (z, y, x), nested: 0 outside the tumour, k in the k-th region of `Generator.regions` and in none within it
    spacing_mm : voxel edges along z, y, x
    affine : (4, 4), from voxel (x, y, z) to RAS mm
    requested, measured : conditions of the tumour by name, in the units that the names end in; of what was asked for, and of
        `levels`
    attempts : draws that it took
    refused_by_gate, refused_as_copy : why the draws before this one were refused: by the quality gate, as copies of training cases
    copy_check : "passed", or "not checked" where the generator's folder has no training set to compare with, or copies are allowed
    origins : of a case that is made in training patients, their ids and what it is for; else empty
    """

    case_id: str
    number: int
    image: npt.NDArray[np.float32]
    levels: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    requested: dict[str, float]
    measured: dict[str, float]
    attempts: int
    refused_by_gate: tuple[str, ...]
    refused_as_copy: tuple[str, ...]
    copy_check: str
    origins: dict[str, str]


class Generator:
    """A trained generator as its study released its cases: with its sampler, its quality gate, and its refusal of copies.

    Attributes
    ----------
    modalities, regions : names of the images' channels, and of the masks' nested regions from the outside in
    conditions : names of the tumour conditions that a request may hold, which end in their units
    ranges : condition -> (lowest, highest) of the training tumours
    size, spacing_mm : of the grid, along z, y, x
    """

    def __init__(self, folder: Path, released: Released):
        self._folder, self._released = folder, released
        contract, table = released.generator.contract, released.generator.conditions
        self.name: str = contract["name"]
        self.modalities, self.regions = tuple(contract["modalities"]), tuple(contract["regions"])
        self.size, self.spacing_mm = tuple(contract["grid"]["size"]), tuple(contract["grid"]["spacing_mm"])
        self.conditions = tuple(table.names)
        limits = zip(table.lowest.tolist(), table.highest.tolist(), strict=True)
        self.ranges = dict(zip(table.names, limits, strict=True))

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        train: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        allow_copies: bool = False,
        device: str | None = None,
    ) -> Generator:
        """The generator in `folder`, such as results/demo/n_real~3/generator/slice_ldm.

        Parameters
        ----------
        train : manifest.json of its train subset, for a kind that puts tumours into training patients
        settings : keys of the block `synthesis` and of the system's `sampler`, over those that its study released cases by, such
            as {"seed": 1, "sampler": {"steps": 50}}
        allow_copies : copies of training cases are not refused
        device : "cpu", "cuda", ...; None: a GPU where there is one

        Raises UserError where the folder holds no generator, is damaged, or needs `train`.
        """
        import torch

        from workflow_scripts.memorisation.released import Copies, Released

        place = torch.device(device) if device is not None else None
        copies = Copies(allowed=allow_copies)
        return cls(Path(folder), Released.load(folder, settings or {}, train, copies, place))

    def sample(
        self,
        requests: int | pd.DataFrame | Iterable[Mapping[str, Any]],
        *,
        first: int = 0,
        out: str | os.PathLike[str] | None = None,
        allow_extrapolation: bool = False,
        progress: bool = True,
    ) -> list[SyntheticCase]:
        """Make cases: see `stream`, whose cases this keeps all in memory.

        Raises UserError too, once all others are made, where every draw of a case was refused.
        """
        return list(
            self.stream(requests, first=first, out=out, allow_extrapolation=allow_extrapolation, progress=progress)
        )

    def stream(
        self,
        requests: int | pd.DataFrame | Iterable[Mapping[str, Any]],
        *,
        first: int = 0,
        out: str | os.PathLike[str] | None = None,
        allow_extrapolation: bool = False,
        progress: bool = True,
    ) -> Iterator[SyntheticCase]:
        """Make cases one after the other, in the order of their numbers but for those that are drawn again together.

        Parameters
        ----------
        requests : how many; or a row a case, with any of `conditions`, and `host` for a kind that puts tumours into patients.
            What a row leaves out, or holds as None or NaN, is drawn to fit
        first : number of the first case. Case i depends on the seed and i alone: `first` goes on where an earlier call ended
        out : folder to write them into as well, as NIfTI files with a true affine, and the tables of `sliceaug synthesize`
        allow_extrapolation : requests may lie outside of `ranges`, and the gate does not look at those
        progress : a bar on a terminal, lines in a log

        Raises UserError that names row and condition of a request that cannot be met, and, at the end, the cases of which every
        draw was refused.
        """
        from contextlib import nullcontext

        from workflow_scripts.base.progress import track
        from workflow_scripts.diffusion.requests import requests_of
        from workflow_scripts.diffusion.synthesis import Refusal
        from workflow_scripts.memorisation.made_cases import MadeCases

        released = self._released
        rows: Sequence[Mapping[str, Any]] = [{}] * requests if isinstance(requests, int) else _rows(requests)
        wanted = requests_of(rows, released.generator.conditions, allow_extrapolation, released.hosts)
        if not wanted:
            raise UserError("no case is asked for: give their number, or a row for each")
        numbers = dict(enumerate(wanted, first))
        folder = None if out is None else Path(out)
        made = MadeCases(released, len(numbers), folder)
        refused: dict[int, list[Refusal]] = {}
        with track(len(numbers), f"{self.name}: synthesizing", "case") if progress else nullcontext() as bar:
            for draw in released.draws(numbers, numbers, allow_extrapolation):
                ended = made.add(draw)
                if bar is not None:
                    bar.update(ended, refused=len(made.refusals))
                if isinstance(draw, Refusal):
                    refused.setdefault(draw.number, []).append(draw)
                else:
                    yield self._case(draw, refused.pop(draw.number, []))
        if folder is not None:
            made.write(folder / "cases.tsv", folder / "rejected.tsv")
            made.write_how(folder / "cases.made.json", self._folder)
        made.check()

    def _case(self, case: Case, refused: Sequence[Refusal]) -> SyntheticCase:
        from workflow_scripts.memorisation.copy_gate import is_copy_reason

        reasons = [reason for refusal in refused for reason in refusal.reasons]
        depth, height, width = self.spacing_mm
        return SyntheticCase(
            self._released.case_id(case.number),
            case.number,
            case.image,
            case.levels,
            (depth, height, width),
            case.affine,
            case.requested,
            case.measured,
            case.attempts,
            tuple(reason for reason in reasons if not is_copy_reason(reason)),
            tuple(reason for reason in reasons if is_copy_reason(reason)),
            PASSED if self._released.gate else NOT_CHECKED,
            self._released.origins(case),
        )


def _rows(requests: pd.DataFrame | Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of a data frame, None where it holds nothing; or those of a list."""
    import pandas as pd

    if isinstance(requests, pd.DataFrame):
        filled = requests.astype(object).where(requests.notna(), None)
        return [{str(name): value for name, value in row.items()} for row in filled.to_dict("records")]
    return list(requests)
