"""Arms against real only: differences, tests and their correction in every metric, what could be seen, and what is said."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from study_files import CONTROLS, MIXES, make_table, row_of, study

from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.evaluation.statistics.comparison import detectable
from workflow_scripts.evaluation.statistics.significance import detectable_difference
from workflow_scripts.reporting.report.answer import answer
from workflow_scripts.reporting.tables.cells import read_ratio_table

METRICS = {"dice": "", "hd95": "_mm", "lesion_dice": "", "lesion_hd95": "_mm"}


def with_own_noise(files):
    """The files, with distances and lesion-wise scores that do not follow from Dice."""
    for file in files:
        table = read_tsv(file)
        for name in ("hd95_mm", "lesion_dice", "lesion_hd95_mm"):
            noise = [
                numpy_rng(name, file.split("n_real~")[1], case, region).normal()
                for case, region in zip(table.case_id, table.region, strict=True)
            ]
            table[name] = (table[name] * (1 + 0.02 * np.array(noise))).clip(0)
        write_tsv(file, table)
    return files


def paired(files, column, region="whole_tumor"):
    """Differences of `column` to real only (cases), averaged over seeds, by arm: (system, ratio, synthetic only)."""
    scores = pd.concat([read_tsv(file) for file in files])
    means = scores[scores.region == region].groupby(["system", "ratio", "synthetic_only", "case_id"])[column].mean()
    real = means["none", 0.0, False]
    arms = [key for key in means.index.droplevel("case_id").unique() if key[0] != "none"]
    return {key: means[key] - real for key in arms}


def arm_row(table, key, region="whole_tumor"):
    system, ratio, only = key
    found = table[(table.region == region) & (table.system == system) & (table.ratio == ratio)]
    return found[found.synthetic_only == only].iloc[0]


@pytest.mark.parametrize(("name", "unit"), METRICS.items())
def test_every_metric_has_its_differences_and_the_tests_of_scipy(tmp_path, name, unit):
    files = with_own_noise(study(tmp_path, gain=0.004, cases=10))
    table = make_table(tmp_path, files)
    differences = paired(files, f"{name}{unit}")
    raw = {key: stats.wilcoxon(values).pvalue for key, values in differences.items()}
    first, second, third = sorted(raw.values())
    adjusted = dict(
        zip((first, second, third), np.maximum.accumulate([3 * first, 2 * second, third]).clip(max=1), strict=True)
    )
    for key, p_value in raw.items():
        found = arm_row(table, key)
        assert float(found[f"{name}_difference{unit}"]) == pytest.approx(differences[key].mean(), abs=1e-6)
        low, high = (float(found[f"{name}_difference_{end}{unit}"]) for end in ("low", "high"))
        assert low < differences[key].mean() < high
        assert float(found[f"{name}_wilcoxon_p"]) == pytest.approx(p_value, rel=1e-3)
        assert float(found[f"{name}_wilcoxon_p_holm"]) == pytest.approx(adjusted[p_value], rel=1e-3)
        assert found.holm_tests == "3"
    real = row_of(table, "whole_tumor", "real only")
    assert real[f"{name}_difference{unit}"] == real[f"{name}_wilcoxon_p_holm"] == "reference"


def test_all_metrics_have_the_same_resamples(tmp_path):
    """The study's HD95 is 20 x (1 - Dice), its lesion-wise Dice half of Dice: so are the ends of the intervals."""
    found = row_of(make_table(tmp_path, study(tmp_path)), "tumor_core", "real + 1x synthetic")
    low, high = float(found.dice_difference_low), float(found.dice_difference_high)
    assert float(found.hd95_difference_low_mm) == pytest.approx(-20 * high, abs=1e-4)
    assert float(found.hd95_difference_high_mm) == pytest.approx(-20 * low, abs=1e-4)
    assert float(found.lesion_dice_difference_low) == pytest.approx(low / 2, abs=1e-5)
    assert found.lesion_hd95_difference_mm == "0.0" and found.lesion_hd95_wilcoxon_p == "1.0"


def test_readers_see_the_differences_of_the_other_metrics_in_a_table_of_their_own(tmp_path):
    found = row_of(make_table(tmp_path, study(tmp_path)), "whole_tumor", "real + 2x synthetic")
    text = (tmp_path / "ratio.md").read_text().split("### Surface distance and lesions minus real only")[1]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    names = [
        "HD95 mm",
        "HD95: p, Holm",
        "lesion Dice",
        "lesion Dice: p, Holm",
        "lesion HD95 mm",
        "lesion HD95: p, Holm",
    ]
    assert lines[0] == ["region", "system", "training cases", *names]
    shown = dict(zip(lines[0], lines[2], strict=True))
    assert shown["training cases"] == "real + 2x synthetic"
    ends = [float(found[f"hd95_difference{end}_mm"]) for end in ("", "_low", "_high")]
    assert shown["HD95 mm"] == "{:+.1f} [{:+.1f}, {:+.1f}]".format(*ends)
    assert len(lines) == 1 + 9, "real only itself is left out"
    make_table(tmp_path, study(tmp_path / "alone", mixes=MIXES[:1]))
    assert "lesions minus real only" not in (tmp_path / "ratio.md").read_text()


def test_detectable_is_what_the_corrected_test_could_have_shown(tmp_path):
    files = study(tmp_path, cases=12)
    table = make_table(tmp_path, files)
    for key, differences in paired(files, "dice").items():
        expected = detectable_difference(differences.to_numpy(), 0.05 / 3, 0.8)
        assert float(arm_row(table, key).dice_detectable) == pytest.approx(expected, rel=1e-4)
        assert expected > detectable_difference(differences.to_numpy(), 0.05, 0.8)


def test_a_family_so_large_that_no_p_can_be_small_enough_detects_none(tmp_path):
    """Six patients give p >= 1/32: enough for one comparison, too few for the correction over three."""
    table = make_table(tmp_path, study(tmp_path, cases=6, mixes=(*MIXES, CONTROLS[0])))
    synthetic = table[table.system == "slice_ldm"]
    assert (synthetic.dice_detectable == "none").all()
    control = row_of(table, "whole_tumor", "real only, without nnU-Net's augmentation")
    assert float(control.dice_detectable) > 0, "the one control is a family of its own"
    text = (tmp_path / "ratio.md").read_text()
    assert "no gain, however large, could be significant at 0.05 (detectable: none)" in text
    ((_, sentences),) = answer(read_ratio_table(tmp_path / "ratio.csv"))
    assert "So few test patients allow no verdict. No gain, however large, could have been shown." in sentences[0]
    assert detectable(np.array([0.1, 0.2]), 0.05, 1, 0.8) == "none"
    assert detectable(np.array([0.1]), 0.05, 1, 0.8) is None


def test_too_few_cases_for_an_interval_are_said_to_be_too_few(tmp_path):
    make_table(tmp_path, study(tmp_path, cases=3))
    text = (tmp_path / "ratio.md").read_text()
    assert "cover more than 75%" in text
    assert "With 3 patients the Wilcoxon test cannot give less than p = 0.25, 0.75 after the correction" in text
    assert "no gain, however large, could be significant at 0.05" in text
    (_, sentences), *_ = answer(read_ratio_table(tmp_path / "ratio.csv"))
    assert "So few test patients allow no verdict" in " ".join(sentences)


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [(0.05, "synthetic cases helped"), (-0.05, "worse than real cases alone"), (0.0, "neither gain nor loss")],
)
def test_the_answer_says_what_the_interval_says(tmp_path, gain, verdict):
    make_table(tmp_path, study(tmp_path, gain=gain, cases=12))
    (lead, sentences), *_ = answer(read_ratio_table(tmp_path / "ratio.csv"))
    assert verdict in " ".join(sentences)
    assert "whole tumour" in lead
    assert any("synthetic cases alone" in sentence for sentence in sentences)


def test_an_interval_above_zero_that_the_test_does_not_confirm_is_no_help(tmp_path):
    make_table(tmp_path, study(tmp_path, gain=0.0, cases=12))
    table = read_ratio_table(tmp_path / "ratio.csv")
    table["dice_difference_low"], table["dice_difference_high"] = 0.01, 0.03
    table["dice_wilcoxon_p_holm"] = 0.09
    (_, sentences), *_ = answer(table)
    assert "the Wilcoxon test, corrected for the number of arms, does not confirm it" in sentences[0]
    table["dice_wilcoxon_p_holm"] = 0.04
    assert "synthetic cases helped" in answer(table)[0][1][0]
    table["dice_difference_low"], table["dice_detectable"] = -0.01, 0.043
    assert (
        "This test set shows a gain of 0.043 with 80% power, at the level that the correction asks for"
        in answer(table)[0][1][0]
    )
    table["n_patients"] = 6  # three comparisons of six patients cannot fall below 3 / 32
    assert "So few test patients allow no verdict" in answer(table)[0][1][0]
