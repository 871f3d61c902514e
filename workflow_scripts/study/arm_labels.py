"""How tables and figures call an arm. Apart from `arms`, so that another word trains nothing again."""

from typing import NamedTuple

from .arms import CEILING, OVERSAMPLED, REAL_SHARE, RECONSTRUCTIONS, SYNTHETIC_FIRST, Arm
from .segmenters import SEGMENTERS


class Label(NamedTuple):
    """Texts may hold ``{ratio}``, ``{times}`` (1 + ratio) and ``{segmenter}``."""

    label: str  # beside n_real, system and segmenter
    tick: str  # at a figure's axis
    group: int  # of the figure: real only, mixes, synthetic only, controls


LABELS = {  # of `arms.KINDS`
    "real": Label("real only", "0\nreal\nonly", 0),
    "no_augmentation": Label("real only, without {segmenter}'s augmentation", "real\nno\naugm.", 3),
    "with_augmentation": Label("real only, with {segmenter}'s augmentation", "real\nwith\naugm.", 3),
    OVERSAMPLED: Label("real only, each case listed {times}x", "real\nlisted\n{times}x", 3),
    CEILING: Label("real + {ratio}x other real patients", "{ratio}\nother\nreal", 3),
    RECONSTRUCTIONS: Label("real + {ratio}x other patients' reconstructions", "{ratio}\nother\nreconstr.", 3),
    "mix": Label("real + {ratio}x synthetic", "{ratio}", 1),
    REAL_SHARE: Label("real + {ratio}x synthetic, fixed real share", "{ratio}\nreal\nshare", 1),
    SYNTHETIC_FIRST: Label("real + {ratio}x synthetic, synthetic first", "{ratio}\nsynth.\nfirst", 1),
    "synthetic_only": Label("{ratio}x synthetic only", "{ratio}\nsynth.\nonly", 2),
}


def label_of(arm: Arm) -> Label:
    """The arm's own label."""
    label, tick, group = LABELS[arm.kind]
    numbers = {"ratio": f"{arm.ratio:g}", "times": f"{1 + arm.ratio:g}", "segmenter": SEGMENTERS[arm.segmenter]}
    return Label(label.format(**numbers), tick.format(**numbers), group)
