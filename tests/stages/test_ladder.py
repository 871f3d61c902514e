"""Ladder and exchange rate: what a study can show, from hand-made scores through the programs to tables, figures and answer."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from brats import LOOKS
from study_files import INTERVALS, make_table, study, write_table

from workflow_scripts.base.files import write_tsv
from workflow_scripts.evaluation.statistics.exchange import rising, worth
from workflow_scripts.programs.reporting import make_figure
from workflow_scripts.reporting.report.answer import answer, headline
from workflow_scripts.reporting.tables.cells import read_mixed_csv, read_ratio_table

REAL = ("none", 0.0, False)
CEILING, VAE = ("none", 1.0, False, "ceiling"), ("slice_vae", 1.0, False, "reconstructions")
LDM, CARVED, SHARED = (
    ("slice_ldm", 1.0, False),
    ("carvemix", 1.0, False),
    ("slice_ldm", 1.0, False, "none", "real_share"),
)
SYSTEMS = {"slice_ldm": {"autoencoder": {"name": "slice_vae"}}, "carvemix": {"autoencoder": None}}
BEST = {3: 0.70, 4: 0.72, 6: 0.76, 12: 0.80}  # real only
GAIN = {CEILING: 0.06, VAE: 0.04, LDM: 0.01, CARVED: 0.02, SHARED: 0.03}


def scores(
    folder, sizes, mixes, gain=GAIN, cases=24, seeds=(0, 1, 2), region="whole_tumor", onset="past", spread=0.002
):
    """dice.tsv of real only at `sizes`, and of `mixes` too where there are any: means are exact, patients differ."""
    files = study(folder, sizes, (REAL, *mixes), seeds, cases, regions=(region,), onset=onset)
    for file in files:
        table = pd.read_csv(file, sep="\t", keep_default_na=False)
        first = table.iloc[0]
        mix = next(
            mix
            for mix in (REAL, *GAIN)
            if (first.system, first.ratio, False, first.control, first.mixing) == _whole(mix)
        )
        patients = np.random.default_rng(0).normal(0, 0.05, cases)
        own = np.random.default_rng([first.n_real, first.seed, *map(ord, f"{mix}")]).normal(0, spread, cases)
        table["dice"] = BEST[first.n_real] + gain.get(mix, 0) + (patients - patients.mean()) + (own - own.mean())
        table.to_csv(file, sep="\t", index=False)
    return files


def _whole(mix):
    return (*mix, *("none", "replace")[len(mix) - 3 :])


def ladder(folder, files, *options, block=(("ratio", None),), ratios=(0, 1)):
    tables = INTERVALS | {"bootstrap_samples": 500}
    settings = {"tables": tables, "system": SYSTEMS, "ladder": dict(block) or None, "ratios": list(ratios)}
    write_table("ladder", folder / "ladder.csv", *options, settings=settings, scores=files)
    return pd.read_csv(folder / "ladder.csv"), (folder / "ladder.md").read_text()


def exchange(folder, files):
    write_table(
        "exchange", folder / "exchange.csv", settings={"tables": INTERVALS | {"bootstrap_samples": 500}}, scores=files
    )
    return read_mixed_csv(folder / "exchange.csv"), (folder / "exchange.md").read_text()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    made = scores(folder, (3, 6), (CEILING, VAE, LDM, CARVED, SHARED)) + scores(folder, (12,), (LDM, CARVED, SHARED))
    return made + scores(folder, (4,), (), onset="rising")


def test_each_rung_has_its_gain_and_its_price_with_intervals(files, tmp_path):
    table, text = ladder(tmp_path, files)
    rungs = table[table.n_real == 3].set_index(["rung", "system", "mixing"])
    gains = {key: float(row.gain) for key, row in rungs.iterrows() if key[0] != "real only"}
    assert gains == pytest.approx(
        {
            ("ceiling", "none", "replace"): 0.06,
            ("reconstructions", "slice_vae", "replace"): 0.04,
            ("system", "carvemix", "replace"): 0.02,
            ("system", "slice_ldm", "replace"): 0.01,
            ("system", "slice_ldm", "real_share"): 0.03,
        },
        abs=1e-6,
    )
    prices = {key: (float(row.price), row.price_against) for key, row in rungs.iterrows() if row.price != "no such arm"}
    assert prices == {
        ("reconstructions", "slice_vae", "replace"): (pytest.approx(-0.02), "ceiling"),
        ("system", "carvemix", "replace"): (pytest.approx(-0.04), "ceiling"),
        ("system", "slice_ldm", "replace"): (pytest.approx(-0.03), "reconstructions"),
        ("system", "slice_ldm", "real_share"): (pytest.approx(-0.01), "reconstructions"),
    }
    ceiling = rungs.loc[("ceiling", "none", "replace")]
    assert 0.05 < float(ceiling.gain_low) < 0.06 < float(ceiling.gain_high) < 0.07
    assert list(dict.fromkeys(table.rung)) == ["real only", "ceiling", "reconstructions", "system"]
    assert set(table.n_real) == {3, 6, 12}, "the learning curve has no ladder"
    assert "With 3 patients the ceiling is above real only for whole tumour, by the interval." in text
    assert "No ceiling and no reconstructions with 12 patients: no train subset is large enough" in text


def test_a_ladder_of_another_ratio_leaves_the_other_mixes_out(tmp_path):
    other = scores(tmp_path, (3,), (LDM,))
    table, text = ladder(tmp_path, other, block=(), ratios=(0, 2))
    assert list(table.rung) == ["real only"] and "segmentation.ladder is null" in text


def test_the_exchange_rate_is_where_the_curve_reaches_the_gain(files, tmp_path):
    table, text = exchange(tmp_path, files)
    curve = table[table.row == "curve"]
    assert dict(zip(curve.n_real, curve.curve, strict=True)) == pytest.approx(BEST, abs=1e-6)
    arms = table[table.row == "worth"].set_index(["n_real", "system", "mixing", "control"])
    k = arms.further_patients
    assert k[3, "carvemix", "replace", "none"] == pytest.approx(1, abs=1e-3), "+0.02: at 4 patients"
    assert k[3, "slice_ldm", "replace", "none"] == pytest.approx(3 * (4 / 3) ** 0.5 - 3, abs=1e-3), "half way in log N"
    assert k[3, "none", "replace", "ceiling"] == pytest.approx(3, abs=1e-3), "as many other patients"
    assert k[6, "none", "replace", "ceiling"] == k[12, "carvemix", "replace", "none"] == "beyond the curve"
    row = arms.loc[3, "carvemix", "replace", "none"]
    assert 0.5 < row.further_patients_low < 1 < row.further_patients_high < 1.5
    assert "3 + 1x carvemix is worth 3 + 1.0 real patients" in text
    assert "12 + 1x slice_ldm is worth more than the curve tells [beyond, beyond]" in text
    assert re.search(r"\| 4 +\| 0\.720 \[0\.\d+, 0\.\d+\] † +\| 0\.720", text) and "had not got past its onset" in text


def test_without_a_second_size_there_is_no_exchange_rate(tmp_path):
    table, text = exchange(tmp_path, scores(tmp_path, (3,), (LDM,)))
    assert set(table[table.row == "worth"].further_patients) == {"no curve"}
    assert "There is one size of real only, so no curve: name others in segmentation.learning_curve" in text
    table, text = exchange(tmp_path, scores(tmp_path, (3, 6), (LDM,), cases=1))
    assert set(table.further_patients_low[table.row == "worth"]) == {"not measured"}


def test_intervals_of_the_exchange_rate_hold_the_patients_and_the_seeds(tmp_path):
    """Seeds that differ by more than the curve rises leave no rate: the interval says so."""
    wide = scores(tmp_path, (3, 6), (LDM,), spread=0.0)
    for file in wide:
        table = pd.read_csv(file, sep="\t", keep_default_na=False)
        table["dice"] += {0: -0.05, 1: 0.05, 2: 0.0}[table.seed[0]] * (table.system[0] != "none")
        table.to_csv(file, sep="\t", index=False)
    table, _ = exchange(tmp_path, wide)
    row = table[(table.row == "worth") & (table.n_real == 3)].iloc[0]
    assert (row.further_patients_low, row.further_patients_high) == ("below the curve", row.further_patients_high)
    assert row.further_patients_high > 2


def test_the_curve_never_falls_and_a_gain_of_nothing_is_worth_nothing():
    values = np.array([[0.5, 0.7, 0.6, 0.8], [0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]])
    assert rising(values) == pytest.approx(np.array([[0.5, 0.65, 0.65, 0.8], [0.75] * 4, [0.1, 0.2, 0.3, 0.4]]))
    from sklearn.isotonic import isotonic_regression

    noisy = np.random.default_rng(0).normal(size=(50, 6)).cumsum(axis=1)
    assert rising(noisy) == pytest.approx(np.array([isotonic_regression(row) for row in noisy]))
    sizes, flat = np.array([2, 4, 8, 16]), np.array([[0.5, 0.6, 0.6, 0.7]])
    for place in range(4):
        assert worth(sizes, flat, place, np.zeros(1)) == pytest.approx(sizes[place])
    assert worth(sizes, flat, 1, np.array([0.05])) == pytest.approx(8 * 2**0.5), "past the flat part"
    assert worth(sizes, flat, 2, np.array([-0.05])) == pytest.approx(2 * 2**0.5)
    assert worth(sizes, flat, 1, np.array([0.2]))[0] == np.inf and worth(sizes, flat, 1, np.array([-0.2]))[0] == -np.inf


def ratios(folder, gain, **more):
    compared = (CEILING, LDM, SHARED)
    files = scores(folder, (3, 6), compared, gain=gain, **more) + scores(folder, (12,), compared[1:], gain=gain, **more)
    make_table(folder, files)
    return read_ratio_table(folder / "ratio.csv")


def test_the_report_begins_with_what_the_ceiling_says(tmp_path):
    said = headline(ratios(tmp_path, GAIN))
    assert said[0].startswith(
        "The study can show a gain: other real patients changed the Dice of the whole tumour by +0.060 with 3"
    )
    assert said[0].endswith("With 12 patients there is no ceiling, so that whether a gain could be shown is not known.")
    assert "synthetic cases helped" in said[-1] and "cannot answer" not in " ".join(said)


def test_a_study_whose_ceiling_is_not_above_real_only_gives_no_verdict(tmp_path):
    table = ratios(tmp_path, GAIN | {CEILING: -0.01})
    said = headline(table)
    assert said[0].startswith("This study cannot answer whether synthetic cases help: not even other real patients")
    assert said[-1].startswith(
        "With 3 and 6 patients there is no verdict, since the ceiling is not above real only; with 12"
    )
    sentences = " ".join(text for _, of_system in answer(table[table.n_real < 12]) for text in of_system)
    assert "There is no verdict: not even other real patients" in sentences and "helped" not in sentences


def test_a_ceiling_over_a_handful_of_test_patients_shows_nothing(tmp_path):
    assert headline(ratios(tmp_path, GAIN, cases=5))[0].startswith("This study cannot answer")


def test_trainings_that_ended_before_their_onset_are_marked(tmp_path):
    table = ratios(tmp_path, GAIN, onset="rising")
    text = (tmp_path / "ratio.md").read_text()
    assert set(table.onset) == {"rising in 3 of 3 seeds"}
    assert "0.700 †" in text and "†: the training had not got past its onset" in text
    assert "11 of 11 arms had not got past their onset when training ended" in " ".join(headline(table))


def kinds(folder, lacking, in_training):
    """kinds.csv of a study of three training cases, where the core of `lacking` test cases, and of all but `in_training` training
    cases, is empty. Other real patients find the core of those, real only does not."""
    files = scores(folder, (3,), (CEILING, LDM)) + scores(folder / "core", (3,), (CEILING, LDM), region="tumor_core")
    for file in files[len(files) // 2 :]:
        table = pd.read_csv(file, sep="\t", keep_default_na=False)
        empty = table.index < lacking
        table.loc[:, "reference_ml"] = np.where(empty, 0.0, 10.0)
        table.loc[empty, "dice"] = float(table.control[0] == "ceiling")
        table.to_csv(file, sep="\t", index=False)
    share = [0.3 if number < in_training else 0.0 for number in range(3)]
    tumours = folder / "n_real~3/conditions.tsv"
    write_tsv(tumours, pd.DataFrame({"case_id": ["A", "B", "C"], "tumor_core_fraction": share}))
    settings = {
        "tables": INTERVALS | {"bootstrap_samples": 500},
        "system": SYSTEMS,
        "ladder": {"ratio": None},
        "ratios": [0, 1],
    }
    write_table("kinds", folder / "kinds.csv", settings=settings, scores=files, conditions=[tumours])
    return read_mixed_csv(folder / "kinds.csv"), (folder / "kinds.md").read_text()


def test_a_gain_in_tumours_of_a_kind_that_no_training_case_shows_is_told_apart(tmp_path):
    table, text = kinds(tmp_path, lacking=6, in_training=3)
    core = table[(table.region == "tumor_core") & (table.rung == "ceiling")].set_index("kind")
    assert core.gain.to_dict() == pytest.approx({"without": 1.0, "with": GAIN[CEILING]}, abs=0.01)
    assert core.kind_test_cases.to_dict() == {"without": 6, "with": 18}
    assert core.kind_train_cases.to_dict() == {"without": 0, "with": 3}
    assert "No training case of 3 real patients is without tumour core, as 6 of 24 test cases are" in text
    assert "3 real training patients: with tumour core (3 of 3 training cases, 18 of 24 test cases)" in text


def test_no_kind_is_missed_where_a_training_case_shows_it(tmp_path):
    table, text = kinds(tmp_path, lacking=6, in_training=2)
    assert set(table.kind_train_cases) == {1, 2} and "No training case" not in text


def test_where_all_test_cases_have_the_same_regions_there_is_one_kind(tmp_path):
    table, text = kinds(tmp_path, lacking=0, in_training=3)
    assert table.empty and "All test cases have the same regions: there is one kind of tumour." in text


@pytest.mark.parametrize(("figure", "words"), [("ladder", "+ 1x carvemix"), ("exchange", "N + slice_ldm")])
def test_figures_name_what_they_show(files, tmp_path, figure, words):
    ladder(tmp_path, files)
    exchange(tmp_path, files)
    out = tmp_path / f"{figure}.svg"
    options = ["--figure", figure, "--config", json.dumps({"looks": LOOKS}), "--simulated", "--out", str(out)]
    make_figure.main([*options, f"--{figure}", str(tmp_path / f"{figure}.csv")])
    text = out.read_text()
    assert words in text and "SIMULATED COHORT" in text
