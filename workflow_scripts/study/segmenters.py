"""The segmenters there are: name -> how people call it. The segmenter itself is the module of that name in `segmentation/`."""

from __future__ import annotations

SEGMENTERS = {"nnunet": "nnU-Net"}
