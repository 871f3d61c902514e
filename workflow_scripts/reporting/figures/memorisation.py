"""Figure: synthetic cases beside their nearest training cases, and the difference of the two.

The nearest by similarity of aligned images; copies first. The training case is drawn mirrored and shifted as it is
most alike. Last comes the real held-out case with the largest similarity: how alike two patients can be.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ...base.errors import UserError
from ...base.files import read_tsv
from ...cohort.planes import extent_mm, largest_slices
from ...cohort.subset import Subset
from ...memorisation.likeness import Pose, moved
from ...memorisation.tumour_view import CASES, tumour_alone
from ...study.settings.evaluation import Figures
from .slices import PicturedCase, draw_plane, stored_case, synthetic_case, view
from .style import STYLE, About

PLANES = ("axial", "coronal")
PARTS = ("case", "nearest training case", "difference")


class Pair(NamedTuple):
    """A case, its nearest training case in the case's own pose, and a line that says how near they are."""

    case: PicturedCase
    training: PicturedCase
    words: str


def nearest_pairs(pairs: Sequence[Pair], outermost: str, title: str) -> Figure:
    """A row a pair: in two planes, through most of the case's tumour, the case, the training case, their difference.

    The difference is the case minus the training case, from -1 (blue) to 1 (red). Contours are those of the region
    `outermost`. Raises UserError without a pair.
    """
    if not pairs:
        raise UserError("there is no pair of a synthetic and a training case to draw")
    shape, spacing_mm = pairs[0].case.levels.shape, pairs[0].case.spacing_mm
    widths = [extent_mm(plane, shape, spacing_mm)[1] for plane in PLANES for _ in PARTS]
    tallest = max(extent_mm(plane, shape, spacing_mm)[3] for plane in PLANES)
    height = tallest * 10.0 / sum(widths) + 0.28
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            *(len(pairs), len(widths)),
            figsize=(10.4, 0.9 + len(pairs) * height),
            width_ratios=widths,
            squeeze=False,
            layout="constrained",
        )
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.11, wspace=0.0, hspace=0.0)
        for axes in grid.flat:
            axes.axis("off")
        for row, pair in zip(grid, pairs, strict=True):
            _draw_pair(row, pair, outermost)
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def _draw_pair(row: np.ndarray, pair: Pair, outermost: str) -> None:
    slices = largest_slices(pair.case.levels)
    words = row[0].text(0, 1.03, pair.words, fontsize=7.5, transform=row[0].transAxes, va="bottom")
    words.set_in_layout(False)  # it runs over the whole row and must not widen its first picture
    for first, plane in zip((0, len(PARTS)), PLANES, strict=True):
        for axes, case in zip(row[first : first + 2], (pair.case, pair.training), strict=True):
            draw_plane(axes, case, [outermost], plane, slices[plane])
        difference = np.asarray(pair.case.image, dtype=np.float32) - np.asarray(pair.training.image, dtype=np.float32)
        extent = extent_mm(plane, difference.shape, pair.case.spacing_mm)
        shown = view(difference, plane, slices[plane])
        row[first + 2].imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, extent=extent, interpolation="nearest")


def draw(files: dict, settings: dict, about: About) -> Figure:
    """The figure of a system and n_real; settings: figures {cases, modality} and regions."""
    shown = Figures.read(settings["figures"], "evaluation.figures")
    count, modality = shown.cases, shown.modality
    table, folder = read_tsv(files["audit"][0]), files["synthetic"][0].parent
    subsets = [Subset.open(files[name][0], name) for name in ("train", "val", "test")]
    stores = {case_id: subset.store for subset in subsets for case_id in subset.case_ids}
    order = table.sort_values(["is_copy", "similarity", "case_id"], ascending=[False, False, True], kind="stable")
    synthetic = order[order.group == "synthetic"]
    held_out = table[table.group == "held_out"].sort_values(["similarity", "case_id"], ascending=[False, True])

    def compared(case: PicturedCase) -> PicturedCase:
        """What the audit sees of a case."""
        if table.compared.iloc[0] == CASES:
            return case
        image, levels = tumour_alone(case.image[None], case.levels, case.spacing_mm)
        return PicturedCase(case.case_id, image[0], levels, case.spacing_mm)

    def training_case(row) -> PicturedCase:
        case = compared(stored_case(stores[row.nearest_train_id], row.nearest_train_id, modality))
        shift = [-row[f"shift_{axis}_mm"] for axis in "zyx"]
        steps = tuple(round(mm / edge) for mm, edge in zip(shift, case.spacing_mm, strict=True))
        image, levels = (moved(array, Pose(False, steps)) for array in (case.image + 1, case.levels))
        if row.flipped:
            image, levels = image[..., ::-1], levels[..., ::-1]
        return PicturedCase(case.case_id, image - 1, levels, case.spacing_mm)

    pairs = []
    for _, row in synthetic.iloc[:count].iterrows():
        training = training_case(row)
        case = compared(synthetic_case(folder, row.case_id, modality, training.spacing_mm))
        pairs.append(Pair(case, training, _words(row, "COPY" if row.is_copy else "no copy")))
    for _, row in held_out.iloc[:1].iterrows():
        kind = "simulated held-out case" if about.simulated else "real held-out case"
        case = compared(stored_case(stores[row.case_id], row.case_id, modality))
        pairs.append(Pair(case, training_case(row), _words(row, f"{kind}, for comparison")))
    title = (
        f"{modality}: case, nearest training case (mirrored and shifted as noted), difference; axial and coronal.\n"
        f"System {about.system}, n_real = {subsets[0].n_patients}: the {min(count, len(synthetic))} of "
        f"{len(synthetic)} synthetic cases nearest to a training case."
    )
    return nearest_pairs(pairs, settings["regions"][0], about.titled(title))


def _words(row, verdict: str) -> str:
    shift = ", ".join(f"{row[f'shift_{axis}_mm']:g}" for axis in "zyx")
    return (
        f"{row.case_id} and {row.nearest_train_id}{' mirrored' if row.flipped else ''}, shift ({shift}) mm: "
        f"similarity {row.similarity:.2f}, margin {row.margin:.2f}: {verdict}"
    )
