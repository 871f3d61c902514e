"""What a segmenter sees of a case: z-scores over its foreground, at its rim and by region."""

import numpy as np
import pytest

from workflow_scripts.evaluation.normalised import normalised_columns, normalised_means

SIZE = (12, 16, 16)
FOREGROUND = np.zeros(SIZE, dtype=bool)
FOREGROUND[2:10, 3:13, 3:13] = True
RIM = FOREGROUND.copy()
RIM[3:9, 4:12, 4:12] = False
LEVELS = np.zeros(SIZE, dtype=np.uint8)
LEVELS[4:8, 5:9, 5:9] = 1
LEVELS[5:7, 6:8, 6:8] = 2
REGIONS = ["whole", "core"]


def image() -> np.ndarray:
    values = np.random.default_rng(0).normal(0, 0.1, (2, *SIZE))
    values[0][LEVELS == 1] += 0.3
    values[1][LEVELS == 2] += 0.4
    return np.where(FOREGROUND, np.clip(values, -0.9, 0.9), -1.0).astype(np.float32)


def test_means_are_those_of_the_z_scores_of_the_foreground():
    x = image()
    found = normalised_means(x, FOREGROUND, LEVELS, REGIONS)
    assert list(found) == ["rim", "whole", "core"]
    for place, mask in {"rim": RIM, "whole": LEVELS == 1, "core": LEVELS == 2}.items():
        inside = x[:, FOREGROUND].astype(float)
        z = (x - inside.mean(axis=1)[:, None, None, None]) / inside.std(axis=1)[:, None, None, None]
        np.testing.assert_allclose(found[place], z[:, mask].mean(axis=1), rtol=1e-5)
    assert found["whole"][0] > 1 and found["core"][1] > 1


def test_a_dark_rim_dims_every_tumour():
    x = image()
    dark = np.where(RIM, np.float32(-0.8), x)
    before, after = (normalised_means(values, FOREGROUND, LEVELS, REGIONS) for values in (x, dark))
    assert (after["rim"] < before["rim"] - 0.5).all()
    assert after["whole"][0] < before["whole"][0] and after["core"][1] < before["core"][1]


def test_edges_of_the_grid_are_no_rim_and_what_is_not_there_has_no_mean():
    meta = {"modalities": ["a", "b"], "regions": REGIONS, "written": {"background": False}, "spacing_mm": [2, 5, 10]}
    whole = normalised_columns(image(), np.zeros(SIZE, dtype=np.uint8), meta)
    assert whole["foreground_volume_ml"] == pytest.approx(np.prod(SIZE) * 0.1)
    assert all(np.isnan(value) for name, value in whole.items() if name.startswith("z_of_"))
    own = normalised_columns(image(), LEVELS, meta | {"written": {"background": True}})
    assert own["foreground_volume_ml"] == pytest.approx(FOREGROUND.sum() * 0.1)
    assert own["z_of_whole:a"] == pytest.approx(normalised_means(image(), FOREGROUND, LEVELS, REGIONS)["whole"][0])
