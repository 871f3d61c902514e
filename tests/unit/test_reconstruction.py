"""How well a volume is given back, in cases that can be worked out by hand."""

import pytest
import torch

from workflow_scripts.evaluation.reconstruction import through_plane_scores


def test_through_plane_scores_in_closed_form():
    """A ramp along depth of slope s, given back with slope t: every difference is off by |s - t|, the ratio is t / s."""
    depth = torch.arange(8.0).view(1, -1, 1, 1)
    reference, image = (-0.9 + slope * depth.expand(2, 8, 5, 5).clone() for slope in (0.1, 0.15))
    reference[:, :, 0], image[:, :, 0] = -1.0, 0.7  # background does not count
    for scores in through_plane_scores(image, reference):
        assert scores["through_plane_error"] == pytest.approx(0.05, rel=1e-4)
        assert scores["through_plane_ratio"] == pytest.approx(1.5, rel=1e-4)
