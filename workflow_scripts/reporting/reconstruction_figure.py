"""Figure: a case and what the autoencoder makes of it, every modality, in two planes through the tumour."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..cohort.regions import channels_to_levels
from .case_figure import largest_slices, view
from .style import REGION_COLOURS, STYLE


def reconstruction_figure(
    reference: np.ndarray,
    masks: np.ndarray,
    image: np.ndarray,
    probabilities: np.ndarray,
    modalities: Sequence[str],
    regions: Sequence[str],
    spacing_mm: Sequence[float],
    title: str,
) -> Figure:
    """Rows: axial and coronal, input above reconstruction; columns: modalities, contours of the regions on top.

    reference, image (M, D, H, W) in [-1, 1]; masks, probabilities (R, D, H, W) in [0, 1]; spacing_mm of (D, H, W)
    """
    slices = largest_slices(channels_to_levels(masks, regions))
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            4, len(modalities), figsize=(2.2 * len(modalities) + 0.6, 8.2), squeeze=False, layout="constrained"
        )
        for row in range(4):
            plane, made = ("axial", "coronal")[row // 2], row % 2
            values, outlines = ((reference, masks), (image, probabilities))[made]
            aspect = 1.0 if plane == "axial" else spacing_mm[0] / spacing_mm[2]
            for axes, volume in zip(grid[row], values, strict=True):
                axes.imshow(view(volume, plane, slices[plane]), cmap="gray", vmin=-1, vmax=1, aspect=aspect)
                for name, outline in zip(regions, outlines, strict=True):
                    shown = view(outline, plane, slices[plane]) > 0.5
                    if shown.any():
                        axes.contour(shown, [0.5], colors=REGION_COLOURS[name], linewidths=0.8)
                axes.set(xticks=[], yticks=[])
            grid[row, 0].set_ylabel(f"{plane}, {'reconstructed' if made else 'input'}")
        for axes, name in zip(grid[0], modalities, strict=True):
            axes.set_title(name)
        figure.suptitle(title, fontsize=9)
    return figure
