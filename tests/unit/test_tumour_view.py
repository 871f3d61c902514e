"""What of a case is compared where brains are shared on purpose."""

import numpy as np

from workflow_scripts.memorisation.tumour_view import MARGIN_MM, tumour_alone

SPACING_MM = (5.0, 4.0, 4.0)


def case(centre, brain):
    image = np.random.default_rng(brain).uniform(-0.5, 0.5, (2, 12, 20, 20)).astype(np.float32)
    levels = np.zeros(image.shape[1:], dtype=np.uint8)
    z, y, x = centre
    levels[z - 1 : z + 2, y - 2 : y + 3, x - 2 : x + 3] = 1
    texture = np.random.default_rng(9).uniform(0.5, 1, (2, 3, 5, 5))
    image[:, levels > 0] = texture.reshape(2, -1)
    return image, levels


def test_a_tumour_is_the_same_wherever_it_lies_in_whatever_brain():
    one, other = (tumour_alone(*case(*arguments), SPACING_MM) for arguments in (((3, 5, 6), 0), ((7, 13, 12), 1)))
    assert np.array_equal(one[1], other[1])
    assert np.array_equal(one[0][:, one[1] > 0], other[0][:, other[1] > 0])
    middle = (np.array(one[1].shape) - 1) / 2
    assert (np.abs(np.argwhere(one[1] > 0).mean(axis=0) - middle) <= 0.5).all()


def test_beyond_the_margin_there_is_background():
    image, levels = tumour_alone(*case((5, 9, 9), 0), SPACING_MM)
    shown = np.argwhere((image > -1).all(axis=0)) * SPACING_MM
    tumour = np.argwhere(levels > 0) * SPACING_MM
    reach = np.sqrt(((shown[:, None] - tumour[None]) ** 2).sum(axis=2)).min(axis=1)
    assert reach.max() <= MARGIN_MM
    assert len(shown) > len(tumour)


def test_a_tumour_at_the_edge_is_cut_off_there_and_a_case_without_one_is_background():
    image, levels = case((1, 2, 2), 0)
    assert tumour_alone(image, levels, SPACING_MM)[1].sum() == levels.sum()
    assert (tumour_alone(image, np.zeros_like(levels), SPACING_MM)[0] == -1).all()
