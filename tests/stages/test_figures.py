"""Figures: made through their programs, not blank, the same bytes for the same numbers, and right about left and right."""

import json

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from report_files import add_synthetic
from study_files import CONTROLS, MIXES, REGIONS, make_table, study
from subsets import subset_options

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.cohort.planes import largest_slices
from workflow_scripts.evaluation.scores import read_scores
from workflow_scripts.programs.evaluation import gather_scores
from workflow_scripts.programs.reporting import make_figure
from workflow_scripts.reporting.figures.dice_vs_ratio import dice_limits, dice_vs_ratio
from workflow_scripts.reporting.figures.slices import view
from workflow_scripts.reporting.tables.cells import read_ratio_table


def pixels(path):
    return matplotlib.image.imread(path)[..., :3]


def ratio_figure(folder, files, *options, suffix=".png"):
    out = folder / f"figure{suffix}"
    make_figure.main(
        [
            "--figure",
            "dice_vs_ratio",
            *options,
            "--scores",
            *files,
            "--ratios",
            str(folder / "ratio.csv"),
            "--out",
            str(out),
        ]
    )
    return out


@pytest.fixture
def scores(tmp_path):
    files = study(tmp_path, n_real=(20, 50))
    make_table(tmp_path, files)
    return files


def test_dice_against_ratio_is_drawn(tmp_path, scores):
    picture = pixels(ratio_figure(tmp_path, scores))
    assert picture.shape[0] > 500
    assert picture.shape[1] > 700
    blue = np.abs(picture - np.array([0x00, 0x72, 0xB2]) / 255).max(axis=-1) < 0.02
    assert blue.sum() > 500, "the system's line and markers"
    assert (picture.min(axis=-1) < 0.9).mean() > 0.01


def test_the_table_of_all_scores_makes_the_same_figure_as_its_parts(tmp_path, scores):
    together = tmp_path / "scores.tsv"
    gather_scores.main(["--dice", *scores, "--scores", str(together)])
    of_parts = ratio_figure(tmp_path, scores).read_bytes()
    assert ratio_figure(tmp_path, [str(together)]).read_bytes() == of_parts
    pd.testing.assert_frame_equal(read_scores([together]), read_scores(scores))


def test_each_segmenter_has_its_row_of_panels(tmp_path):
    files = study(tmp_path / "a") + study(tmp_path / "b", gain=-0.02, segmenter="monai_dynunet")
    make_table(tmp_path, files)
    figure = dice_vs_ratio(read_scores(files), read_ratio_table(tmp_path / "ratio.csv"))
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == [f"mean test Dice of {name}, n_real = 20" for name in ("nnU-Net", "MONAI DynUNet")]


def test_the_same_scores_make_the_same_bytes(tmp_path, scores):
    for suffix in (".png", ".svg"):
        first = ratio_figure(tmp_path, scores, suffix=suffix).read_bytes()
        assert first == ratio_figure(tmp_path, scores[::-1], suffix=suffix).read_bytes()


def test_a_simulated_cohort_is_written_on_the_figure(tmp_path, scores):
    text = ratio_figure(tmp_path, scores, "--simulated", suffix=".svg").read_text()
    assert "SIMULATED COHORT" in text
    assert "SIMULATED COHORT" not in ratio_figure(tmp_path, scores, suffix=".svg").read_text()


def test_one_case_one_seed_and_one_region_still_make_a_figure(tmp_path):
    files = study(tmp_path, seeds=(0,), cases=1, regions=("whole_tumor",), mixes=MIXES[:2])
    make_table(tmp_path, files)
    assert pixels(ratio_figure(tmp_path, files)).std() > 0.01


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [
        (0.0, 0.0, (0.0, 0.105)),
        (1.0, 1.0, (0.895, 1.0)),
        (0.5, 0.5, (0.445, 0.555)),
        (0.02, 0.03, (0.0, 0.105)),
        (0.2, 0.8, (0.17, 0.83)),
        (-0.1, 0.5, (0.0, 0.525)),  # an interval may reach beyond
        (0.7, 1.2, (0.685, 1.0)),
    ],
)
def test_the_dice_axis_has_a_length_and_stays_within_0_to_1(low, high, ends):
    assert dice_limits(low, high) == pytest.approx(ends)


def test_where_every_score_is_zero_the_axis_still_shows_dice(tmp_path):
    files = study(tmp_path, mixes=(*MIXES, *CONTROLS))
    for file in files:
        scores = read_tsv(file)
        write_tsv(file, scores.assign(dice=scores.dice.where(scores.region != "enhancing_tumor", 0.0)))
    make_table(tmp_path, files)
    figure = dice_vs_ratio(read_scores(files), read_ratio_table(tmp_path / "ratio.csv"))
    limits = [axes.get_ylim() for axes in figure.axes]
    assert limits[2] == pytest.approx((0.0, 0.105))
    assert limits[0][0] > 0.3 and limits[0][1] <= 1, "the other regions keep their own scale"


def test_controls_have_their_places_and_names(tmp_path):
    files = study(tmp_path, mixes=(*MIXES, *CONTROLS))
    make_table(tmp_path, files)
    figure = dice_vs_ratio(read_scores(files), read_ratio_table(tmp_path / "ratio.csv"))
    axis = figure.axes[0].xaxis
    labels = {
        x: label.get_text().replace("\n", " ")
        for x, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    }
    assert [labels[x] for x in sorted(labels)] == [
        "0 real only",
        "1",
        "2",
        "1 synth. only",
        "real no augm.",
        "real listed 2x",
    ]
    assert "control, no synthetic case: mean over seeds" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "control" not in ratio_figure(tmp_path, study(tmp_path), suffix=".svg").read_text()


def test_six_systems_stand_side_by_side_and_none_is_cut_off(tmp_path):
    names = [f"system_{number}" for number in range(6)]
    mixes = [("none", 0.0, False), *((name, ratio, False) for name in names for ratio in (1.0, 2.0))]
    files = study(tmp_path, seeds=(0,), mixes=mixes)
    make_table(tmp_path, files)
    for axes in dice_vs_ratio(read_scores(files), read_ratio_table(tmp_path / "ratio.csv")).axes:
        low, high = axes.get_xlim()
        squares = np.sort([line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s"])
        assert len(squares) == 12 and np.diff(squares).min() > 0.1
        assert low < squares[0] - 0.05 and squares[-1] + 0.05 < high
        assert squares[5] < 1.5 < squares[6], "each beside its own ratio"


def test_a_table_of_other_arms_is_refused(tmp_path, scores):
    table = pd.read_csv(tmp_path / "ratio.csv", dtype=str, keep_default_na=False)
    table[table.arm != "real + 2x synthetic"].to_csv(tmp_path / "ratio.csv", index=False)
    with pytest.raises(UserError, match="no row of the arm n_real=20, system=slice_ldm, ratio=2"):
        ratio_figure(tmp_path, scores)
    (tmp_path / "ratio.csv").unlink()
    with pytest.raises(UserError, match="missing table"):
        ratio_figure(tmp_path, scores)


def test_views_are_as_radiologists_look(tmp_path):
    volume = np.zeros((4, 5, 6))  # depth up, height to anterior, width to the patient's right side
    volume[3, 4, 5] = 1.0  # the superior, anterior, rightmost voxel
    for plane, index in (("axial", 3), ("coronal", 4), ("sagittal", 5)):
        assert view(volume, plane, index)[0, 0] == 1.0, "shown at the top left"
    assert view(volume, "axial", 3).shape == (5, 6)
    assert view(volume, "coronal", 4).shape == (4, 6)
    assert view(volume, "sagittal", 5).shape == (4, 5)


def test_the_slices_shown_are_those_with_the_most_tumour():
    levels = np.zeros((10, 12, 14), np.uint8)
    levels[2:8, 3, 5] = 1
    levels[4, 3:9, 5:7] = 2
    assert largest_slices(levels) == {"axial": 4, "coronal": 3, "sagittal": 5}
    assert largest_slices(np.zeros((10, 12, 14))) == {"axial": 5, "coronal": 6, "sagittal": 7}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, preprocessed_cohort):
    """A cohort of small cases with splits, and "synthetic" cases made of two of them."""
    return add_synthetic(preprocessed_cohort(tmp_path_factory.mktemp("figures"), cases=5))


def case_figure(cohort, out, *options, regions=REGIONS, **figures):
    config = {"figures": {"cases": 4, "modality": "t2f"} | figures, "regions": regions}
    make_figure.main(
        [
            *("--figure", "real_and_synthetic", "--config", json.dumps(config), *subset_options(cohort, "train")),
            *("--blocks", str(cohort / "synthetic/blocks/0.tsv")),
            *("--system", "slice_ldm", "--n-real", "3", "--out", str(out), *options),
        ]
    )
    return out


def test_real_and_synthetic_cases_stand_side_by_side(tmp_path, cohort):
    picture = pixels(case_figure(cohort, tmp_path / "cases.png", cases=2, modality="t1c"))
    assert picture.shape[1] == 1800
    left, right = picture[:, :900], picture[:, 900:]
    for half in (left, right):
        assert (half.max(axis=-1) < 0.02).mean() > 0.1, "background of the slices"
        red = np.abs(half - np.array([0xFF, 0x3B, 0x30]) / 255).max(axis=-1) < 0.05
        assert red.sum() > 50, "contour of the enhancing tumour"


def test_the_figure_is_the_same_again_and_says_what_it_shows(tmp_path, cohort):
    first = case_figure(cohort, tmp_path / "a.png", "--simulated", cases=2).read_bytes()
    assert first == case_figure(cohort, tmp_path / "b.png", "--simulated", cases=2).read_bytes()
    text = case_figure(cohort, tmp_path / "c.svg", "--simulated", cases=2).read_text()  # ids in an SVG may differ
    for words in ("SIMULATED COHORT", "t2f", "system slice_ldm", "n_real = 3", "SliceAug-00001-000"):
        assert words in text


def test_fewer_regions_and_more_cases_asked_for_than_there_are(tmp_path, cohort):
    out = case_figure(cohort, tmp_path / "cases.png", cases=9, regions=["whole_tumor"])
    assert pixels(out).std() > 0.05


def test_what_cannot_be_drawn_is_refused_in_words(tmp_path, cohort):
    with pytest.raises(UserError, match="modality 'flair' is not in the volumes"):
        case_figure(cohort, tmp_path / "x.png", modality="flair")
    assert not (tmp_path / "x.png").exists()
