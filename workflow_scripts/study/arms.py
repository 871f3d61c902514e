"""The arms of a study: what each is, its folder and back, and how many synthetic cases it holds.

An arm is of one of `KINDS`. Controls are kinds without synthetic cases that say what a gain is worth:

- ``no_augmentation`` or ``with_augmentation``: real only, with the segmenter's own data augmentation the other way.
- ``oversampled``: real only, every case listed 1 + ratio times, so that the list is as long as that of the mix. A
  segmenter draws each patch's case uniformly from the list, with replacement, and every arm makes the same number of
  steps; so the batches have the very distribution of real only, and only the draws differ. Its difference to real only
  is chance, of the size that the difference of every arm contains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import UserError
from .segmenters import SEGMENTERS

REAL_ONLY = "none"  # the `system` of an arm without synthetic cases
NO_CONTROL = "none"
OVERSAMPLED = "oversampled"
AUGMENTATION_OF = {"no_augmentation": False, "with_augmentation": True}
CONTROLS = (NO_CONTROL, *AUGMENTATION_OF, OVERSAMPLED)


# Kind of an arm -> its folder. What people call it is in `arm_labels`.
KINDS = {
    "real": "real",
    "no_augmentation": "real_no_augmentation",
    "with_augmentation": "real_with_augmentation",
    OVERSAMPLED: "real_oversampled~{ratio}",
    "mix": "{system}/ratio~{ratio}",
    "synthetic_only": "{system}/synthetic_only~{ratio}",
}


def _pattern(folder: str, named: bool) -> str:
    fields = {"system": r"[^/]+", "ratio": r"\d+(?:\.\d+)?(?:e-?\d+)?"}
    return folder.format(**{key: f"(?P<{key}>{value})" if named else value for key, value in fields.items()})


_NO_ARM = (
    "{} names no arm: write n_real~20/segmentation/nnunet/real/seed~0, or a mix such as slice_ldm/ratio~1 for `real`"
)
# What the wildcard {arm} of the rules may be.
ARM_PATTERN = "|".join(f"(?:{_pattern(folder, named=False)})" for folder in KINDS.values())


@dataclass(frozen=True)
class Arm:
    """One training of the study, or, without a seed, the same one over all its seeds: a column of the tables.

    Attributes
    ----------
    n_real : size of the train subset, patients
    system : who made the synthetic cases; `REAL_ONLY` for none
    ratio : synthetic cases for each real one; of an oversampled arm further copies of each real case
    synthetic_only : trains on no real case
    control : one of `CONTROLS`
    segmenter : one of `SEGMENTERS`
    seed : of weights, batches and augmentation; None: all seeds

    Raises UserError for an arm that makes no sense.
    """

    n_real: int
    system: str = REAL_ONLY
    ratio: float = 0.0
    synthetic_only: bool = False
    control: str = NO_CONTROL
    segmenter: str = next(iter(SEGMENTERS))
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.ratio < 0:
            raise UserError(f"ratio {self.ratio:g} is below 0: it counts synthetic cases for each real one")
        if self.control not in CONTROLS:
            raise UserError(f"control {self.control!r} is none of {', '.join(CONTROLS)}")
        if self.segmenter not in SEGMENTERS:
            raise UserError(f"segmenter {self.segmenter!r} is none of {', '.join(SEGMENTERS)}")
        what = f"the control {self.control}"
        if self.is_control and (self.system != REAL_ONLY or self.synthetic_only):
            raise UserError(f"{what} is an arm of real cases alone: give it no system and no synthetic_only")
        if self.control == OVERSAMPLED and (self.ratio < 1 or self.ratio != round(self.ratio)):
            raise UserError(
                f"ratio {self.ratio:g} of {what.removeprefix('the ')} is no whole number from 1: it counts copies"
            )
        if self.control in AUGMENTATION_OF and self.ratio:
            raise UserError(f"{what} has no synthetic case: its ratio is 0, not {self.ratio:g}")

    @classmethod
    def of_row(cls, row: Mapping[str, Any], seed: int | None = None) -> Arm:
        """The arm that a row of a table describes (the columns `ARM_COLUMNS`), whatever number types it holds."""
        numbers = int(row["n_real"]), str(row["system"]), float(row["ratio"]), bool(row["synthetic_only"])
        return cls(*numbers, str(row["control"]), str(row["segmenter"]), seed)

    @classmethod
    def of_folder(cls, folder: str | Path) -> Arm:
        """The arm of a `folder`, wherever that lies. Raises UserError if it names none."""
        found = re.search(r"n_real~(\d+)/segmentation/([^/]+)/(.+?)(?:/seed~(\d+))?/?$", str(folder))
        if found is None:
            raise UserError(_NO_ARM.format(folder))
        n_real, segmenter, written, seed = found.groups()
        for name, template in KINDS.items():
            if mix := re.fullmatch(_pattern(template, named=True), written):
                values = mix.groupdict()
                system, ratio = values.get("system", REAL_ONLY), float(values.get("ratio", 0))
                control = name if name in CONTROLS else NO_CONTROL
                number = None if seed is None else int(seed)
                return cls(int(n_real), system, ratio, name == "synthetic_only", control, segmenter, number)
        raise UserError(_NO_ARM.format(folder))

    @property
    def what(self) -> tuple[str, float, bool, str]:
        """What it trains on, whatever n_real, segmenter and seed."""
        return self.system, self.ratio, self.synthetic_only, self.control

    @property
    def kind(self) -> str:
        """The name of its kind in `KINDS`."""
        if self.is_control:
            return self.control
        return "real" if self.system == REAL_ONLY else "synthetic_only" if self.synthetic_only else "mix"

    @property
    def is_control(self) -> bool:
        return self.control != NO_CONTROL

    @property
    def is_real_only(self) -> bool:
        """Whether this is the arm that all others are compared with."""
        return self.kind == "real"

    @property
    def reference(self) -> Arm:
        """Real only, of the same n_real, segmenter and seed."""
        return Arm(self.n_real, segmenter=self.segmenter, seed=self.seed)

    @property
    def copies(self) -> int:
        """How often each real case is listed."""
        return 1 + round(self.ratio) if self.control == OVERSAMPLED else 1

    @property
    def mix(self) -> str:
        """The part of its folder that says what it trains on, such as ``slice_ldm/ratio~1``."""
        return KINDS[self.kind].format(system=self.system, ratio=f"{self.ratio:g}")

    @property
    def folder(self) -> str:
        """Its folder below that of the run."""
        seed = "" if self.seed is None else f"/seed~{self.seed}"
        return f"n_real~{self.n_real}/segmentation/{self.segmenter}/{self.mix}{seed}"

    @property
    def name(self) -> str:
        """The arm in the words of the config, for error messages."""
        kind = ", synthetic only" if self.synthetic_only else f", control {self.control}" if self.is_control else ""
        kind += "" if self.segmenter == next(iter(SEGMENTERS)) else f", segmenter {self.segmenter}"
        kind += "" if self.seed is None else f", seed={self.seed}"
        return f"n_real={self.n_real}, system={self.system}, ratio={self.ratio:g}{kind}"

    @property
    def title(self) -> str:
        """The arm in a few words, for progress lines."""
        mix = "real only" if self.system == REAL_ONLY else f"{self.system}, ratio {self.ratio:g}"
        if self.is_control:
            mix += f", {self.control.replace('_', ' ')}" + f" {self.copies} times" * (self.copies > 1)
        mix += ", synthetic only" * self.synthetic_only
        return f"training {SEGMENTERS[self.segmenter]} on {self.n_real} ({mix}, seed {self.seed})"

    @property
    def reading_order(self) -> tuple:
        """n_real, segmenter, real only and its controls, then by system: mixes by ratio, synthetic only."""
        known = list(SEGMENTERS)
        segmenter = known.index(self.segmenter) if self.segmenter in known else len(known)
        with_synthetic = self.system != REAL_ONLY
        order = (self.n_real, segmenter, with_synthetic, self.is_control, self.system, self.synthetic_only)
        return (*order, self.control, self.ratio)


ARM_COLUMNS = ["n_real", "system", "ratio", "synthetic_only", "control", "segmenter"]


def arms_of_study(segmentation: Mapping[str, Any], systems: Sequence[str], n_real: Sequence[int]) -> list[Arm]:
    """All arms that the config block `segmentation` asks for, each with its seeds."""
    controls = segmentation["controls"]
    mixes: list[dict] = [{}]
    if controls["switch_augmentation"]:
        mixes.append({"control": "no_augmentation" if segmentation["augmentation"] else "with_augmentation"})
    mixes += [{"control": OVERSAMPLED, "ratio": float(ratio)} for ratio in controls["oversampled_ratios"]]
    for system in systems:
        made = {"system": system}
        mixes += [made | {"ratio": float(ratio)} for ratio in segmentation["ratios"] if ratio > 0]
        only = segmentation["synthetic_only_ratios"]
        mixes += [made | {"ratio": float(ratio), "synthetic_only": True} for ratio in only]
    return [
        Arm(size, **mix, segmenter=segmenter, seed=seed)
        for size in n_real
        for segmenter in segmentation["segmenters"]
        for mix in mixes
        for seed in segmentation["seeds"]
    ]


def synthetic_count(n_real: int, ratio: float) -> int:
    """Synthetic cases of an arm: `ratio` for each of `n_real` real training patients, halves rounded up."""
    return int(ratio * n_real + 0.5)


def blocks_for(count: int, block_size: int) -> range:
    """Numbers of the blocks that hold the synthetic cases 0 ... `count` - 1."""
    return range(-(-count // block_size))
