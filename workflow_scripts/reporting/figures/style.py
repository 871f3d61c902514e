"""How figures look, and how they are written: the same bytes for the same numbers."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ...base.files import atomic

# Okabe & Ito 2008: told apart with any colour vision
SYSTEM_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
INK, FAINT = "#222222", "#BBBBBB"

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "sliceaug",
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class About:
    """Whose figure it is: the system and the n_real, "" for one of the whole study; whether the cohort is simulated."""

    system: str = ""
    n_real: str = ""
    simulated: bool = False

    def titled(self, title: str) -> str:
        """The title, which says so of a simulated cohort."""
        return f"SIMULATED COHORT: no patient is real.\n{title}" if self.simulated else title


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write `figure` (PNG or SVG by suffix), atomically, without date or software version in it, and close it."""
    with atomic(path) as temporary, matplotlib.rc_context(STYLE):
        kind = Path(path).suffix.lstrip(".").lower()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(temporary, format=kind, metadata=metadata, facecolor="white")
    plt.close(figure)
