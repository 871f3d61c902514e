"""The arms of a study: what each is, its folder and back, and how many synthetic cases it holds.

An arm is of one of `KINDS`. Controls are kinds without a generator's cases that say what a gain is worth:

- ``no_augmentation`` or ``with_augmentation``: real only, with the segmenter's own data augmentation the other way.
- ``oversampled``: real only, every case listed 1 + ratio times, so that the list is as long as that of the mix. A
  segmenter draws each patch's case uniformly from the list, with replacement, and every arm makes the same number of
  steps; so the batches have the very distribution of real only, and only the draws differ. Its difference to real only
  is chance, of the size that the difference of every arm contains.
- ``ceiling``: real and ratio x other real patients, the next of the nested order: what no generator can pass.
- ``reconstructions``: real and those other patients, encoded and decoded by an autoencoder: what a perfect generator of
  its latents would reach. These two and a mix of the same ratio are the ladder: their differences price autoencoder and
  generator.

A mix is drawn from in one of the ways of `MIXING`.
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
CEILING, RECONSTRUCTIONS = "ceiling", "reconstructions"
AUGMENTATION_OF = {"no_augmentation": False, "with_augmentation": True}
CONTROLS = (NO_CONTROL, *AUGMENTATION_OF, OVERSAMPLED, CEILING, RECONSTRUCTIONS)

REPLACE, REAL_SHARE, SYNTHETIC_FIRST = "replace", "real_share", "synthetic_first"
MIXING = {
    REPLACE: "uniformly from the list of all cases, so that synthetic patches replace real ones",
    REAL_SHARE: "a fixed share of each batch from the real cases",
    SYNTHETIC_FIRST: "from the synthetic cases alone in the first steps, from the real ones alone in the others",
}
"""Way -> where the patches of a mix come from."""


# Kind of an arm -> its folder. What people call it is in `arm_labels`.
KINDS = {
    "real": "real",
    "no_augmentation": "real_no_augmentation",
    "with_augmentation": "real_with_augmentation",
    OVERSAMPLED: "real_oversampled~{ratio}",
    CEILING: "ceiling~{ratio}",
    RECONSTRUCTIONS: "{system}/reconstructions~{ratio}",
    "mix": "{system}/ratio~{ratio}",
    REAL_SHARE: "{system}/ratio~{ratio}_real_share",
    SYNTHETIC_FIRST: "{system}/ratio~{ratio}_synthetic_first",
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

    n_real : size of the train subset, patients
    system : who made the synthetic cases; `REAL_ONLY` for none; of reconstructions the autoencoder
    ratio : synthetic cases for each real one; of an oversampled arm further copies of each real case, of a ceiling and of
        reconstructions other real patients for each
    synthetic_only : trains on no real case
    control : one of `CONTROLS`
    mixing : of a mix, one of `MIXING`
    segmenter : one of `SEGMENTERS`
    seed : of weights, batches and augmentation; None: all seeds

    Raises UserError for an arm that makes no sense.
    """

    n_real: int
    system: str = REAL_ONLY
    ratio: float = 0.0
    synthetic_only: bool = False
    control: str = NO_CONTROL
    mixing: str = REPLACE
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
        if self.control == RECONSTRUCTIONS and self.system == REAL_ONLY:
            raise UserError(f"{what} needs an autoencoder: name it in place of the system")
        if self.is_control and ((self.system != REAL_ONLY) > (self.control == RECONSTRUCTIONS) or self.synthetic_only):
            raise UserError(f"{what} is an arm of real cases alone: give it no system and no synthetic_only")
        if self.of_ladder and not self.ratio:
            raise UserError(f"{what} has a ratio above 0: it counts other patients for each real one")
        if self.mixing not in MIXING:
            raise UserError(f"mixing {self.mixing!r} is none of {', '.join(MIXING)}")
        if self.mixing != REPLACE and (self.is_control or self.synthetic_only or self.system == REAL_ONLY):
            raise UserError(f"mixing {self.mixing} is a way of real + synthetic cases: give it a system and its ratio")
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
        return cls(*numbers, str(row["control"]), str(row["mixing"]), str(row["segmenter"]), seed)

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
                mixing = name if name in MIXING else REPLACE
                number = None if seed is None else int(seed)
                return cls(int(n_real), system, ratio, name == "synthetic_only", control, mixing, segmenter, number)
        raise UserError(_NO_ARM.format(folder))

    @property
    def what(self) -> tuple[str, float, bool, str, str]:
        """What it trains on, whatever n_real, segmenter and seed."""
        return self.system, self.ratio, self.synthetic_only, self.control, self.mixing

    @property
    def kind(self) -> str:
        """The name of its kind in `KINDS`."""
        if self.is_control:
            return self.control
        if self.system == REAL_ONLY or self.synthetic_only:
            return "real" if self.system == REAL_ONLY else "synthetic_only"
        return "mix" if self.mixing == REPLACE else self.mixing

    @property
    def is_control(self) -> bool:
        return self.control != NO_CONTROL

    @property
    def is_mix(self) -> bool:
        """Whether it trains on real cases and on those of a generator."""
        return self.system != REAL_ONLY and not self.is_control and not self.synthetic_only

    @property
    def of_ladder(self) -> bool:
        """Whether it trains on other real patients, or on their reconstructions."""
        return self.control in (CEILING, RECONSTRUCTIONS)

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
        kind += "" if self.mixing == REPLACE else f", mixing {self.mixing}"
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
        mix += "" if self.mixing == REPLACE else f", {self.mixing.replace('_', ' ')}"
        return f"training {SEGMENTERS[self.segmenter]} on {self.n_real} ({mix}, seed {self.seed})"

    @property
    def reading_order(self) -> tuple:
        """n_real, segmenter, real only and its controls, then by system: mixes by ratio, synthetic only."""
        known = list(SEGMENTERS)
        segmenter = known.index(self.segmenter) if self.segmenter in known else len(known)
        with_synthetic = self.system != REAL_ONLY and not self.is_control
        order = (self.n_real, segmenter, with_synthetic, self.is_control, self.of_ladder, self.system)
        return (*order, self.synthetic_only, self.control, list(MIXING).index(self.mixing), self.ratio)


ARM_COLUMNS = ["n_real", "system", "ratio", "synthetic_only", "control", "mixing", "segmenter"]


def train_sizes(segmentation: Mapping[str, Any], n_real: Sequence[int]) -> list[int]:
    """Patients of each train subset, rising: those of the study, and those of its learning curve, for real only alone."""
    return sorted({*n_real, *segmentation["learning_curve"]})


def ladder_ratio(segmentation: Mapping[str, Any]) -> float | None:
    """Other patients for each real one, in ceiling and reconstructions; None: there is no ladder."""
    if segmentation["ladder"] is None:
        return None
    mixes = sorted(ratio for ratio in segmentation["ratios"] if ratio > 0)
    asked = segmentation["ladder"]["ratio"]
    return float(asked if asked is not None else 1 if 1 in mixes or not mixes else mixes[0])


def others_of(segmentation: Mapping[str, Any], n_real: Sequence[int]) -> dict[int, int]:
    """n_real -> other real patients of its ladder. Where they lie beyond the largest train subset, it has none."""
    ratio, largest = ladder_ratio(segmentation), train_sizes(segmentation, n_real)[-1]
    counts = {} if ratio is None else {size: synthetic_count(size, ratio) for size in n_real}
    return {size: count for size, count in counts.items() if count and size + count <= largest}


def arms_of_study(
    segmentation: Mapping[str, Any], systems: Sequence[str], n_real: Sequence[int], autoencoders: Sequence[str] = ()
) -> list[Arm]:
    """All arms that the config block `segmentation` asks for, each with its seeds."""
    controls, ladder = segmentation["controls"], segmentation["ladder"]
    mixes: list[dict] = [{}]
    if controls["switch_augmentation"]:
        mixes.append({"control": "no_augmentation" if segmentation["augmentation"] else "with_augmentation"})
    mixes += [{"control": OVERSAMPLED, "ratio": float(ratio)} for ratio in controls["oversampled_ratios"]]
    for system in systems:
        made = {"system": system}
        ratios = [float(ratio) for ratio in segmentation["ratios"] if ratio > 0]
        mixes += [made | {"ratio": ratio, "mixing": way} for way in segmentation["mixing"] for ratio in ratios]
        only = segmentation["synthetic_only_ratios"]
        mixes += [made | {"ratio": float(ratio), "synthetic_only": True} for ratio in only]
    others, ratio, rungs = others_of(segmentation, n_real), ladder_ratio(segmentation), []
    if ladder:
        rungs = [{"control": CEILING, "ratio": ratio}]
        names = autoencoders if ladder["reconstructions"] else []
        rungs += [{"control": RECONSTRUCTIONS, "system": name, "ratio": ratio} for name in names]
    return [
        Arm(size, **mix, segmenter=segmenter, seed=seed)
        for size in train_sizes(segmentation, n_real)
        for segmenter in segmentation["segmenters"]
        for mix in (mixes + rungs * (size in others) if size in n_real else [{}])
        for seed in segmentation["seeds"]
    ]


def synthetic_count(n_real: int, ratio: float) -> int:
    """Synthetic cases of an arm: `ratio` for each of `n_real` real training patients, halves rounded up."""
    return int(ratio * n_real + 0.5)


def blocks_for(count: int, block_size: int) -> range:
    """Numbers of the blocks that hold the synthetic cases 0 ... `count` - 1."""
    return range(-(-count // block_size))
