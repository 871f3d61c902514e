"""The segmenters there are, and where their code is: all that the rules and the settings must know of them.

To add one: a module of that name in `segmentation/` with the four functions that `segmentation/segmenter.py` describes,
and a line here.
"""

from pathlib import Path

SEGMENTERS = {"nnunet": "nnU-Net", "monai_dynunet": "MONAI DynUNet"}  # name -> how people call it

ROOM = Path(__file__).parents[1] / "segmentation"


def module_of(segmenter: str, stage: str) -> str:
    """The module below `workflow_scripts` that holds a segmenter's function of a stage: plan, pool, train or predict.

    A segmenter of one file has all four in it; one of several, in a folder, has a module for each, so that an edit to
    its prediction trains nothing again.
    """
    return f"segmentation.{segmenter}.{stage}" if (ROOM / segmenter).is_dir() else f"segmentation.{segmenter}"
