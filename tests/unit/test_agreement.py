"""Requested against measured features: closed forms, independent implementations, and the table that is made of them."""

import numpy as np
import pandas as pd
import pytest
from brats import CONDITIONS
from control_files import control, masks
from scipy import stats
from study_files import write_table

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.evaluation.agreement import CENTRE_DISTANCE, agreement, control_summary, unit_of
from workflow_scripts.evaluation.statistics.bootstrap import expanded_tail
from workflow_scripts.reporting.tables.cells import read_mixed_csv

REQUESTED = np.array([3.0, 8.0, 21.0, 34.0, 55.0, 60.0, 72.0, 90.0])


def agree(requested, measured, samples=2000, confidence=0.95):
    return agreement(np.asarray(requested), np.asarray(measured), samples, confidence, numpy_rng("test"))


def test_a_perfect_generator_has_r2_1_and_no_error():
    found = agree(REQUESTED, REQUESTED)
    assert found["n"] == 8
    assert [found[f"r2_identity{end}"] for end in ("", "_low", "_high")] == [1.0, 1.0, 1.0]
    assert found["r2_correlation"] == pytest.approx(1.0)
    assert [found[f"mae{end}"] for end in ("", "_low", "_high")] == [0.0, 0.0, 0.0]
    assert found["bias"] == 0.0


@pytest.mark.parametrize("offset", [-10.0, 4.0])
def test_an_offset_costs_the_identity_line_and_not_the_correlation(offset):
    found = agree(REQUESTED, REQUESTED + offset)
    total = ((REQUESTED - REQUESTED.mean()) ** 2).sum()
    assert found["r2_identity"] == pytest.approx(1 - 8 * offset**2 / total)
    assert found["r2_correlation"] == pytest.approx(1.0)
    assert found["mae"] == pytest.approx(abs(offset))
    assert found["bias"] == pytest.approx(offset)


def test_the_same_tumour_for_every_request_has_r2_0_and_no_correlation():
    found = agree(REQUESTED, np.full(8, REQUESTED.mean()))
    assert found["r2_identity"] == pytest.approx(0.0, abs=1e-12)
    assert found["r2_correlation"] is None and found["r2_correlation_low"] is None


def test_the_opposite_of_what_was_asked_has_r2_minus_3_and_correlation_1():
    found = agree(REQUESTED, 2 * REQUESTED.mean() - REQUESTED)
    assert found["r2_identity"] == pytest.approx(-3.0)
    assert found["r2_correlation"] == pytest.approx(1.0)


def test_the_numbers_are_those_of_other_implementations():
    rng = np.random.default_rng(3)
    requested = rng.normal(100, 20, 40)
    measured = 0.7 * requested + rng.normal(20, 10, 40)
    found = agree(requested, measured)
    assert found["r2_correlation"] == pytest.approx(stats.pearsonr(requested, measured).statistic ** 2)
    assert found["r2_identity"] == pytest.approx(1 - np.mean((measured - requested) ** 2) / np.var(requested))
    errors, confidence = np.abs(measured - requested), 1 - 2 * expanded_tail(40, 0.95)
    other = stats.bootstrap(
        (errors,), np.mean, method="percentile", n_resamples=4000, confidence_level=confidence, rng=1
    )
    assert found["mae_low"] == pytest.approx(other.confidence_interval.low, rel=0.05)
    assert found["mae_high"] == pytest.approx(other.confidence_interval.high, rel=0.05)
    pairs = (requested, measured)

    def squared(r, m, axis):
        return stats.pearsonr(r, m, axis=axis).statistic ** 2

    other = stats.bootstrap(pairs, squared, paired=True, method="percentile", n_resamples=4000, rng=1)
    assert found["r2_correlation_low"] == pytest.approx(other.confidence_interval.low, abs=0.05)
    assert found["r2_correlation_high"] == pytest.approx(other.confidence_interval.high, abs=0.05)


def test_what_is_not_defined_is_none_and_never_a_number():
    assert agree([], [])["n"] == 0 and agree([], [])["mae"] is None and agree([], [])["bias"] is None
    one = agree([5.0], [7.0])
    assert one["mae"] == 2.0 and one["r2_identity"] is one["r2_correlation"] is one["mae_low"] is None
    two = agree([5.0, 6.0], [5.0, 7.0])
    assert two["r2_identity"] == pytest.approx(-1.0) and two["r2_identity_low"] is None
    equal = agree([5.0] * 4, [4.0, 5.0, 6.0, 7.0])
    assert equal["r2_identity"] is None and equal["mae"] == 1.0
    for bad in ([1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"finite|pairs"):
            agree([1.0, 2.0], bad)


def test_units_are_those_of_the_names():
    units = {feature: unit_of(feature) for feature in (*CONDITIONS, CENTRE_DISTANCE)}
    assert units["volume_ml"] == "ml" and units["surface_mm2"] == "mm2" and units["centroid_z_mm"] == "mm"
    assert units["sphericity"] == units["enhancing_tumor_fraction"] == "fraction" and units[CENTRE_DISTANCE] == "mm"


def test_a_summary_has_a_row_a_feature_for_all_requests_and_for_those_in_range():
    summary = control_summary(control(noise=0.1), 500, 0.95, 0).set_index(["feature", "requests"])
    assert len(summary) == 2 * (len(CONDITIONS) + 1)
    assert summary.n["volume_ml", "all"] == 10 and summary.n["volume_ml", "inside the training range"] == 6
    assert summary.n["sphericity", "inside the training range"] == 10
    table = control(noise=0.1)
    inside = table.iloc[4:]
    error = (inside.measured_box_depth_mm - inside.requested_box_depth_mm).abs().mean()
    assert summary.mae["box_depth_mm", "inside the training range"] == pytest.approx(error)


def test_the_distance_of_the_centres_is_euclidean():
    table = control()
    for axis, offset in zip("xyz", (3.0, 4.0, 12.0), strict=True):
        table[f"measured_centroid_{axis}_mm"] += offset
    row = control_summary(table, 200, 0.95, 0).query(f"feature == '{CENTRE_DISTANCE}' and requests == 'all'").iloc[0]
    assert row.mae == pytest.approx(13.0) and row.n == 10
    assert pd.isna(row.r2_identity) and pd.isna(row.bias)


def test_an_empty_mask_counts_as_no_volume_and_has_no_form():
    table = control()
    table.loc[0, "empty"] = 1.0
    for name in CONDITIONS:
        extent = name.startswith(("volume", "surface", "box"))
        table.loc[0, f"measured_{name}"] = 0.0 if extent else np.nan
    summary = control_summary(table, 200, 0.95, 0).query("requests == 'all'").set_index("feature")
    assert set(summary.n_empty) == {1}
    assert summary.n["volume_ml"] == 10 and summary.r2_identity["volume_ml"] < 1
    assert summary.n["sphericity"] == summary.n[CENTRE_DISTANCE] == 9 and summary.r2_identity["sphericity"] == 1


def make(folder, tables, *options, **config):
    files = []
    for index, table in enumerate(tables):
        files.append(folder / f"{index}.control.tsv")
        write_tsv(files[-1], table)
        keys = table[["system", "n_real"]].iloc[0].to_dict() if len(table) else {}
        write_tsv(folder / f"{index}.masks.tsv", masks(**keys))
    intervals = {"bootstrap_samples": 300, "confidence": 0.95, "seed": 0} | config
    write_table("control", folder / "tables/control.csv", *options, settings={"tables": intervals}, control=files)
    files = [str(file).replace("control", "masks") for file in files]
    write_table("masks", folder / "tables/masks.csv", *options, masks=files)
    return read_mixed_csv(folder / "tables/control.csv")


def test_the_tables_of_a_perfect_generator_say_1_and_0(tmp_path):
    table = make(tmp_path, [control(), control(system="lsgan_3d", noise=0.5)])
    perfect = table[(table.system == "slice_ldm") & (table.feature != CENTRE_DISTANCE)]
    assert set(perfect.r2_identity) == {1} and set(perfect.mae) == {0}
    other = table[(table.system == "lsgan_3d") & (table.feature != CENTRE_DISTANCE)]
    assert (other.r2_identity.astype(float) < 0.5).all()
    text = (tmp_path / "tables/control.md").read_text()
    for words in ("slice_ldm with 20 real training patients", "1.00 [1.00, 1.00]", "10 real held-out patients",
                  "no generator has learned from them", "1 - SSE/SST", "300 resamples", "Empty masks: none"):  # fmt: skip
        assert words in text
    for suffix in (".csv", ".md", ".tex"):
        for name in ("control", "masks"):
            assert "nan" not in (tmp_path / f"tables/{name}{suffix}").read_text().lower().replace("nant", "")


def test_masks_are_read_beside_their_floor(tmp_path):
    make(tmp_path, [control()], "--simulated")
    text = (tmp_path / "tables/masks.md").read_text()
    assert "SIMULATED COHORT" in text and "Holm" in text and "1999 permutations" in text
    row = next(line for line in text.splitlines() if line.startswith("| volume, ml"))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        *("volume, ml", "30.0 ± 5.0", "40.0 ± 8.0", "0.550", "< 0.001", "0.020", "0.200", "0.020", "20, 20 against 10")
    ]
    assert "25.0 %" in text, "validity of the ungated draws"
    tex = (tmp_path / "tables/masks.tex").read_text()
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 2


def test_few_requests_are_said_to_be_few(tmp_path):
    make(tmp_path, [control(3)])
    assert (
        "With 3 requests no bootstrap interval can cover more than 75%" in (tmp_path / "tables/control.md").read_text()
    )


def test_the_same_tables_in_another_order_make_the_same_numbers(tmp_path):
    tables = [control(noise=0.2), control(system="lsgan_3d", noise=0.5)]
    first = make(tmp_path, tables).sort_values(["system", "feature", "requests"], ignore_index=True)
    second = make(tmp_path, tables[::-1]).sort_values(["system", "feature", "requests"], ignore_index=True)
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="measured_volume_ml"), "lacks the columns measured_volume_ml"),
        (lambda t: t.drop(columns="out_of_range_note"), "lacks the columns out_of_range_note"),
        (lambda t: t[["n_real", "system", "case_id", "empty", "out_of_range_note"]], "lacks the columns requested_"),
        (lambda t: t.iloc[:0], "holds no request"),
    ],
)
def test_a_damaged_table_is_refused_in_words(tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        make(tmp_path, [change(control())])
    assert not (tmp_path / "tables/control.csv").exists()
