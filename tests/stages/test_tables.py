"""The augmentation-ratio table from the scores of all arms: values, order, stable bytes, and gaps that are named."""

import re

import numpy as np
import pandas as pd
import pytest
from study_files import CONTROLS, MIXES, REGIONS, make_table, row_of, study

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.reporting.report.answer import answer
from workflow_scripts.reporting.tables.cells import read_ratio_table


def test_means_and_spreads_are_those_of_the_score_files(tmp_path):
    files = study(tmp_path)
    table = make_table(tmp_path, files)
    scores = pd.concat([read_tsv(file) for file in files])
    mixed = scores[(scores.ratio == 2) & (scores.region == "tumor_core")]
    real = scores[(scores.system == "none") & (scores.region == "tumor_core")]
    got = row_of(table, "tumor_core", "real + 2x synthetic")
    assert float(got.dice_mean) == pytest.approx(mixed.dice.mean(), abs=1e-6)
    assert float(got.dice_sd_cases) == pytest.approx(mixed.groupby("case_id").dice.mean().std(), abs=1e-6)
    assert float(got.dice_sd_seeds) == pytest.approx(mixed.groupby("seed").dice.mean().std(), abs=1e-6)
    assert float(got.hd95_mean_mm) == pytest.approx(mixed.hd95_mm.mean(), abs=1e-6)
    assert float(got.dice_difference) == pytest.approx(mixed.dice.mean() - real.dice.mean(), abs=1e-6)
    assert float(got.dice_difference_low) < float(got.dice_difference) < float(got.dice_difference_high)
    assert (got.n_cases, got.n_patients, got.n_seeds) == (8, 8, 2)


def test_rows_are_regions_by_arms_in_reading_order(tmp_path):
    mixes = [*MIXES, ("gan", 1.0, False), ("gan", 2.0, False), ("gan", 1.0, True)]
    table = make_table(tmp_path, study(tmp_path, n_real=(50, 20), mixes=mixes, regions=REGIONS[::-1]))
    assert table.n_real.tolist() == [20] * 21 + [50] * 21
    assert table.region[:21].tolist() == [name for name in REGIONS[::-1] for _ in range(7)], "as the scores have them"
    assert table.arm[:7].tolist() == [
        "real only",
        *("real + 1x synthetic", "real + 2x synthetic", "1x synthetic only"),
        *("real + 1x synthetic", "real + 2x synthetic", "1x synthetic only"),
    ]
    assert table.system[:7].tolist() == ["none", "gan", "gan", "gan", "slice_ldm", "slice_ldm", "slice_ldm"]


def test_each_number_of_real_patients_has_its_own_baseline(tmp_path):
    small, large = study(tmp_path / "a", n_real=(20,), gain=0.03), study(tmp_path / "b", n_real=(100,), gain=0.0)
    for file in large:
        scores = read_tsv(file)
        write_tsv(file, scores.assign(dice=(scores.dice + 0.05).clip(upper=1)))
    table = make_table(tmp_path, small + large)
    differences = table[(table.region == "tumor_core") & (table.arm == "real + 2x synthetic")].dice_difference
    assert differences.astype(float).tolist() == pytest.approx([0.06, 0.0], abs=0.02)


def test_the_same_scores_make_the_same_bytes_in_any_order(tmp_path):
    files = study(tmp_path)
    make_table(tmp_path, files)
    first = [(tmp_path / f"ratio{suffix}").read_bytes() for suffix in (".csv", ".md", ".tex")]
    make_table(tmp_path, files[::-1])
    assert first == [(tmp_path / f"ratio{suffix}").read_bytes() for suffix in (".csv", ".md", ".tex")]
    make_table(tmp_path, files, seed=1)
    assert first[0] != (tmp_path / "ratio.csv").read_bytes()


@pytest.mark.parametrize("gone", ["slice_ldm/ratio~2/seed~1", "none/ratio~0/seed~0", "slice_ldm/synthetic_only/seed~0"])
def test_a_missing_arm_is_named(tmp_path, gone):
    files = [file for file in study(tmp_path) if gone not in file]
    system, kind, seed = gone.split("/")
    words = ["n_real=20", f"system={system}", seed.replace("~", "=")]
    words.append("synthetic only" if kind == "synthetic_only" else kind.replace("~", "="))
    with pytest.raises(UserError) as error:
        make_table(tmp_path, files)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not (tmp_path / "ratio.csv").exists()


def test_no_real_only_arm_at_all_is_named(tmp_path):
    with pytest.raises(UserError, match="n_real=20, system=none, ratio=0, seed=0"):
        make_table(tmp_path, study(tmp_path, mixes=MIXES[1:]))


def damage(file, change):
    write_tsv(file, change(read_tsv(file)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.iloc[:-1], "ratio=1.*seed=0 has no score of case BraTS-GLI-00007-000, region enhancing_tumor"),
        (lambda t: t.drop(columns="dice"), "lacks the columns dice"),
        (lambda t: t.iloc[:0], "holds no scores"),
        (lambda t: t.assign(dice=t.dice.where(t.index > 0)), "a score of case BraTS-GLI-00000-000 is no number"),
        (lambda t: t.rename(columns={"hd95_mm": "hd90_mm"}), "lacks the column lesion_hd90_mm"),
        (lambda t: t.rename(columns=lambda name: name.replace("hd95", "hd90")), "found .*hd"),
        (lambda t: t.assign(small_lesion_ml=2.0), "count different things as lesions"),
        (lambda t: t.assign(patient_id="A"), "case BraTS-GLI-00000-000 belongs to two patients"),
        (lambda t: pd.concat([t, t]), "ratio=1, seed=0 is given twice|given twice"),
        (lambda t: t.assign(system="none"), "ratio 1 of n_real=20 rounds to no synthetic case"),
    ],
)
def test_a_damaged_score_file_is_refused_in_words(tmp_path, change, words):
    files = study(tmp_path)
    damage(next(file for file in files if "ratio~1/seed~0" in file), change)
    with pytest.raises(UserError, match=words):
        make_table(tmp_path, files)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.tsv"):
        make_table(tmp_path, [str(tmp_path / "nowhere.tsv")])


def test_what_was_not_measured_is_said_and_never_nan(tmp_path):
    make_table(tmp_path, study(tmp_path, seeds=(0,), cases=1))
    for suffix in (".csv", ".md", ".tex"):
        text = (tmp_path / f"ratio{suffix}").read_text()
        assert "not measured" in text
        assert not re.search(r"\bnan\b", text, flags=re.IGNORECASE)
    table = pd.read_csv(tmp_path / "ratio.csv")
    assert (table.dice_sd_seeds == "not measured").all()
    assert set(table.dice_difference_low) == {"reference", "not measured"}


def test_the_caption_states_what_the_numbers_are(tmp_path):
    files = study(tmp_path)
    make_table(tmp_path, files)
    text = (tmp_path / "ratio.md").read_text()
    for words in (
        "original grid",
        "8 real cases",
        "2 training seeds",
        "95% bootstrap interval",
        "500 resamples of patients, each with all their cases, and of seeds",
        "8 real cases of 8 patients",
        "Wilcoxon signed-rank test",
        "Holm-corrected over the 3 comparisons with real only of a region and n_real, all ratios, mixes and systems",
        "80% power at a two-sided level of 0.05 / 3 = 0.0167",
        "better is a positive one of Dice and lesion-wise Dice, a negative one of HD95 and lesion-wise HD95",
        "a dilation by 3 voxels joins",
        "lesions up to 50 mm3 are left out",
        "a false one, count with Dice 0 and HD 374 mm",
        "below 1 ml",
        "empty in both masks: Dice 1 and HD 0 mm",
        "Every arm trains the same number of iterations; at higher ratios each real case is seen less",
    ):
        assert words in text
    assert "SIMULATED" not in text
    make_table(tmp_path, files, "--simulated")
    for suffix in (".md", ".tex"):
        assert "SIMULATED COHORT" in (tmp_path / f"ratio{suffix}").read_text()
    assert "8 simulated cases" in (tmp_path / "ratio.md").read_text()


def test_time_points_of_one_patient_are_one_patient(tmp_path):
    single = make_table(tmp_path / "a", study(tmp_path / "a", cases=8))
    grouped = make_table(tmp_path / "b", study(tmp_path / "b", cases=8, time_points=4))
    one, other = (row_of(table, "whole_tumor", "real + 1x synthetic") for table in (single, grouped))
    assert (other.n_cases, other.n_patients) == (8, 2)
    assert one.dice_difference == other.dice_difference
    assert float(one.dice_wilcoxon_p) < 0.05 and float(other.dice_wilcoxon_p) == 0.5
    text = (tmp_path / "b/ratio.md").read_text()
    assert "8 real cases of 2 patients" in text
    assert "With 2 patients the Wilcoxon test cannot give less than p = 0.5" in text


def test_lesions_are_summed_over_cases_and_seeds(tmp_path):
    files = study(tmp_path)
    got = row_of(make_table(tmp_path, files), "tumor_core", "real + 2x synthetic")
    scores = pd.concat([read_tsv(file) for file in files])
    mixed = scores[(scores.ratio == 2) & (scores.region == "tumor_core")]
    assert float(got.lesion_dice_mean) == pytest.approx(mixed.lesion_dice.mean(), abs=1e-6)
    assert float(got.lesion_hd95_mean_mm) == 187.0
    assert (got.lesions, got.lesions_missed, got.lesions_false) == (32, 8, 16)
    assert (got.small_lesions, got.small_lesions_hit, float(got.small_lesion_sensitivity)) == (16, 8, 0.5)
    text = (tmp_path / "ratio.md").read_text()
    assert "0.50 (8 of 16)" in text and "8 of 32" in text


def test_without_small_lesions_there_is_no_sensitivity_to_them(tmp_path):
    files = study(tmp_path)
    for file in files:
        damage(file, lambda t: t.assign(small_lesions=0, small_lesions_hit=0))
    assert (make_table(tmp_path, files).small_lesion_sensitivity == "not measured").all()
    assert "there are none" in (tmp_path / "ratio.md").read_text()


def test_controls_stand_beside_real_only_and_are_corrected_among_themselves(tmp_path):
    table = make_table(tmp_path, study(tmp_path, mixes=(*MIXES, *CONTROLS)))
    own = table[table.region == "whole_tumor"]
    names = ["real only", "real only, without nnU-Net's augmentation", "real only, each case listed 2x"]
    assert own.arm.tolist()[:3] == names
    assert own.system.tolist() == ["none"] * 3 + ["slice_ldm"] * 3
    assert own.holm_tests.tolist() == ["reference", "2", "2", "3", "3", "3"]
    plain, twice = own.iloc[1], own.iloc[2]
    assert float(plain.dice_difference) == pytest.approx(-0.1, abs=0.02)
    assert float(plain.dice_wilcoxon_p_holm) == pytest.approx(2 * float(plain.dice_wilcoxon_p), rel=1e-3)
    assert abs(float(twice.dice_difference)) < 0.02
    text = (tmp_path / "ratio.md").read_text()
    assert "the 2 controls among themselves" in text
    assert "Control without nnU-Net's augmentation" in text
    assert "real only with other draws: its difference is chance" in text
    sentences = " ".join(answer(read_ratio_table(tmp_path / "ratio.csv"))[0][1])
    assert "Control, real only, each case listed 2x: mean Dice was" in sentences
    assert "the best of 2 ratios was 2 synthetic cases" in sentences
    make_table(tmp_path, study(tmp_path))
    assert "ontrol" not in (tmp_path / "ratio.md").read_text()


def test_a_missing_control_is_named(tmp_path):
    files = [file for file in study(tmp_path, mixes=(*MIXES, *CONTROLS)) if "oversampled/seed~1" not in file]
    with pytest.raises(UserError, match="n_real=20, system=none, ratio=1, control oversampled, seed=1"):
        make_table(tmp_path, files)


def test_one_seed_is_said_not_to_be_resampled(tmp_path):
    make_table(tmp_path, study(tmp_path, seeds=(0,)))
    assert "the one seed stays: the spread over trainings is not in it" in (tmp_path / "ratio.md").read_text()


def test_regions_empty_on_one_side_are_counted(tmp_path):
    files = study(tmp_path)
    damage(
        next(file for file in files if "ratio~2/seed~0" in file),
        lambda t: t.assign(predicted_ml=np.where(t.region == "enhancing_tumor", 0.0, t.predicted_ml)),
    )
    table = make_table(tmp_path, files)
    assert row_of(table, "enhancing_tumor", "real + 2x synthetic").empty_in_one == 8
    assert row_of(table, "enhancing_tumor", "real + 1x synthetic").empty_in_one == 0
    assert "8 of 16" in (tmp_path / "ratio.md").read_text()


def test_latex_has_balanced_tables_and_no_bare_specials(tmp_path):
    make_table(tmp_path, study(tmp_path, n_real=(20, 50)))
    text = (tmp_path / "ratio.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 6
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)_", body.replace("tab:augmentation-ratio", ""))
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {8, 9, 10}


def test_each_segmenter_is_compared_with_its_own_real_only(tmp_path):
    first = study(tmp_path / "a", n_real=(20, 50), gain=0.03)
    alone = make_table(tmp_path, first)
    text = (tmp_path / "ratio.md").read_text()
    files = first + study(tmp_path / "b", n_real=(20, 50), gain=-0.03, segmenter="monai_dynunet")
    table = make_table(tmp_path, files)
    own, other = (table[table.segmenter == name].reset_index(drop=True) for name in ("nnunet", "monai_dynunet"))
    pd.testing.assert_frame_equal(own, alone)
    mixes = other[(other.system != "none") & ~other.synthetic_only]
    assert (mixes.dice_difference.astype(float) < 0).all() and (own.holm_tests == other.holm_tests).all()
    together = (tmp_path / "ratio.md").read_text()
    assert [re.search(r"\| segmenter +\|", words) is None for words in (text, together)] == [True, False]
    assert "of nnU-Net and MONAI DynUNet's predictions" in together
    with pytest.raises(UserError, match=r"no scores of the arm n_real=50.*segmenter monai_dynunet"):
        make_table(tmp_path, [file for file in files if "/b/n_real~50/slice_ldm" not in file])
