"""The arms of a study, their folders, and how many synthetic cases they hold: known to the rules and to the programs.

Controls are arms without synthetic cases that say what a gain is worth:

- ``no_augmentation`` or ``with_augmentation``: real only, with nnU-Net's own data augmentation the other way.
- ``oversampled``: real only, every case listed 1 + ratio times, so that the list is as long as that of the mix. nnU-Net
  draws each patch's case uniformly from the list, with replacement, and every arm makes the same number of steps; so
  the batches have the very distribution of real only, and only the draws differ. Its difference to real only is chance,
  of the size that the difference of every arm contains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

REAL_ONLY = "none"  # the `system` of an arm without synthetic cases
NO_CONTROL = "none"
OVERSAMPLED = "oversampled"
AUGMENTATION_OF = {"no_augmentation": False, "with_augmentation": True}
CONTROLS = (NO_CONTROL, *AUGMENTATION_OF, OVERSAMPLED)


class ArmSpec(NamedTuple):
    """What an arm is, but for n_real and seed. `ratio` of an oversampled arm counts further copies of each real case."""

    system: str = REAL_ONLY
    ratio: float = 0.0
    synthetic_only: bool = False
    control: str = NO_CONTROL


def arm_folders(segmentation: dict, systems: Sequence[str]) -> list[str]:
    """Names of the folders of all arms that the config block `segmentation` asks for."""
    controls = segmentation["controls"]
    folders = ["real"]
    if controls["switch_augmentation"]:
        folders.append("real_no_augmentation" if segmentation["augmentation"] else "real_with_augmentation")
    folders += [f"real_{OVERSAMPLED}~{ratio:g}" for ratio in controls["oversampled_ratios"]]
    for system in systems:
        folders += [f"{system}/ratio~{ratio:g}" for ratio in segmentation["ratios"] if ratio > 0]
        folders += [f"{system}/synthetic_only~{ratio:g}" for ratio in segmentation["synthetic_only_ratios"]]
    return folders


def arm_of_folder(folder: str) -> ArmSpec:
    """The arm of a name of `arm_folders`."""
    if "/" not in folder:
        kind, _, ratio = folder.partition("~")
        return ArmSpec(ratio=float(ratio or 0), control=kind.removeprefix("real").removeprefix("_") or NO_CONTROL)
    system, mix = folder.split("/")
    kind, ratio = mix.split("~")
    return ArmSpec(system, float(ratio), kind == "synthetic_only")


def synthetic_count(n_real: int, ratio: float) -> int:
    """Synthetic cases of an arm: `ratio` for each of `n_real` real training patients, halves rounded up."""
    return int(ratio * n_real + 0.5)


def blocks_for(count: int, block_size: int) -> range:
    """Numbers of the blocks that hold the synthetic cases 0 ... `count` - 1."""
    return range(-(-count // block_size))
