"""The mixes of a study as nnU-Net raw data sets: which there are, and what each is called."""

import zlib
from collections.abc import Iterable, Sequence

from ..base.errors import UserError
from .arms import REAL_ONLY, Arm

FIRST_ID, LAST_ID = 500, 999  # nnU-Net has three digits, and others' data sets the small ones


def exported(arms: Sequence[Arm], n_real: Sequence[int], run: str) -> dict[str, Arm]:
    """Folder of the data set -> the mix, for real only, mixes and synthetic only, whatever the way of mixing, segmenter and
    seed: these have one list of cases. Controls have none of their own, or other patients."""
    mixes = dict.fromkeys(Arm(arm.n_real, *arm.what[:3]) for arm in arms if not arm.is_control and arm.n_real in n_real)
    named = {f"{run}_n{arm.n_real}_{_name(arm)}": arm for arm in mixes}
    return {folder: named[name] for name, folder in numbered(named).items()}


def _name(arm: Arm) -> str:
    ratio = f"{arm.ratio:g}".replace(".", "p")
    return "real" if arm.system == REAL_ONLY else f"{arm.system}_{ratio}x{'_only' * arm.synthetic_only}"


def numbered(names: Iterable[str]) -> dict[str, str]:
    """Name -> folder ``Dataset<id>_<name>``; the id follows from the name, so that another mix moves no other's.

    Raises UserError where there are more names than ids.
    """
    taken: dict[int, str] = {}
    size = LAST_ID - FIRST_ID + 1
    for name in sorted(names):
        if len(taken) == size:
            raise UserError(f"more than {size} mixes are more than nnU-Net has ids for: export a smaller study")
        number = zlib.crc32(name.encode()) % size
        while number in taken:
            number = (number + 1) % size
        taken[number] = name
    return {name: f"Dataset{FIRST_ID + number:03d}_{name}" for number, name in taken.items()}
