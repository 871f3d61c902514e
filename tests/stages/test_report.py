"""The report: one file that needs nothing else, with the answer, what was refused, and a banner over a simulation."""

import base64
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from html_page import Page
from report_files import images_table, small_run, write_images, write_report
from report_parts import add_the_rest, demo_config
from workflow import copy_project, planned

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.programs.reporting import make_report
from workflow_scripts.reporting.report.answer import headline
from workflow_scripts.study.arms import NO_CONTROL
from workflow_scripts.study.generators import AUGMENTATION_ONLY


@pytest.fixture
def run(tmp_path):
    return small_run(tmp_path)


def report(run, *options):
    return write_report(run, *options).read_text(encoding="utf-8")


def test_the_report_needs_nothing_but_itself(run):
    text = report(run)
    page = Page(text)
    links = [value for name, value in page.attributes if name in ("src", "href", "srcset", "data", "action", "poster")]
    assert any(value.startswith("data:image/png;base64,") for value in links)
    assert all(value.startswith(("data:image/png;base64,", "data:text/plain;", "#")) for value in links)
    assert not re.search(r"https?://|@import|url\(", text)
    assert not {"iframe", "link", "object"} & set(page.tags)
    assert "default-src 'none'" in text, "the browser itself refuses every request"
    assert run.figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_it_answers_in_numbers_of_the_table(run):
    text = Page(report(run)).text
    table = pd.read_csv(run.folder / "tables/augmentation_ratio.csv")
    real = table[(table.region == "whole_tumor") & (table.arm == "real only")].iloc[0]
    best = table[(table.region == "whole_tumor") & (table.arm == "real + 2x synthetic")].iloc[0]
    assert f"mean Dice of the whole tumour was {float(real.dice_mean):.3f} over 8 test cases and 2 seeds" in text
    assert f"2 synthetic cases for each real patient, mean Dice {float(best.dice_mean):.3f}" in text
    assert "The interval lies above zero: synthetic cases helped." in text
    assert "picked on these same cases" in text
    assert "each real case is seen less" in text


def rows(n_real, best, low, high, cases=8, mixes=("1", "2"), other=0.80):
    """Rows of a ratio table: real only at Dice 0.8, and mixes, the last of them the best."""
    common = {"n_real": n_real, "region": "whole_tumor", "n_cases": cases, "n_seeds": 1, "confidence": 0.95}
    common |= {"synthetic_only": False, "control": NO_CONTROL, "n_patients": cases, "holm_tests": len(mixes)}
    common |= {"dice_wilcoxon_p_holm": 0.02, "segmenter": "nnunet", "mixing": "replace", "onset": "past"}
    real = {"system": "none", "ratio": 0.0, "dice_mean": 0.8, "dice_difference": "reference"}
    found = [{**common, **real, "dice_difference_low": "reference", "dice_difference_high": "reference"}]
    for ratio in mixes:
        mean = best if ratio == mixes[-1] else other
        row = {"system": "slice_ldm", "ratio": float(ratio), "dice_mean": mean, "dice_difference": mean - 0.8}
        found.append({**common, **row, "dice_difference_low": low, "dice_difference_high": high})
    return found


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        (rows(20, 0.85, 0.01, 0.09), "The interval lies above zero: synthetic cases helped, but that mix was picked"),
        (rows(20, 0.85, 0.01, 0.09, mixes=("1",)), "The interval lies above zero: synthetic cases helped."),
        (rows(20, 0.82, -0.01, 0.05), "The interval holds zero: neither gain nor loss could be shown; and that mix"),
        (rows(20, 0.70, -0.2, -0.01, other=0.6), "The interval lies below zero: even the best mix was worse"),
        (
            rows(20, 0.85, 0.01, 0.09, cases=4),
            "There are too few test cases for a verdict: no gain, however large, could have been shown",
        ),
        (rows(20, 0.85, "not measured", "not measured", cases=1), "There is no interval, and so no verdict"),
        (
            rows(20, 0.85, 0.01, 0.09) + rows(50, 0.82, -0.01, 0.05),
            "With 20 patients the interval lies above zero: synthetic cases helped; with 50 patients the interval holds zero",
        ),
    ],
)
def test_the_answer_is_four_sentences_and_claims_what_the_interval_carries(table, verdict):
    unknown, first, second, third = headline(pd.DataFrame(table))
    assert unknown == "In this study there is no ceiling, so that whether a gain could be shown is not known."
    assert "0.800 with 20 patients" in first
    if len(table) == 2:
        assert second.startswith("The one mix with synthetic cases changed that by")
    else:
        assert "The best of 2 mixes with synthetic cases" in second and "(2 synthetic cases of slice_ldm" in second
    assert f"{table[-1]['dice_difference']:+.3f}" in second
    assert third.startswith(verdict)


def test_a_simulated_cohort_is_said_on_its_face(run):
    assert 'role="alert"' not in report(run)
    text = report(run, "--simulated")
    page = Page(text)
    assert ("class", "banner") in page.attributes
    assert "SIMULATED COHORT" in page.text
    assert page.text.index("SIMULATED COHORT") < page.text.index("mean Dice")


def test_refused_cases_and_refused_draws_are_listed_and_counted(run):
    text = report(run)
    page = Page(text)
    assert "C<script>" in page.text and "C<script>" not in text, "what data say is text, never markup"
    assert "the mask is empty & <b>useless</b>" in page.text
    assert "2 cases could be used" in page.text and "1 was refused" in page.text
    assert "label 4 (resection cavity): 12 voxels" in page.text
    assert "n_real~20 / slice_ldm" in page.text
    assert "1 synthetic cases made, 3 draws refused" in page.text
    assert "the tumour has … ml; min_volume_ml asks for … (2)" in page.text
    assert "the tumour has 0.31 ml" in page.text, "each draw with its own numbers"


def test_cases_in_training_patients_are_said_to_be_for_augmentation_alone(run):
    assert AUGMENTATION_ONLY not in Page(report(run)).text
    table = read_tsv(run.synthetic / "cases.tsv")
    write_tsv(run.synthetic / "cases.tsv", table.assign(host="C", donor="D", use=AUGMENTATION_ONLY))
    assert f"made in a training patient, whose own image it shows: {AUGMENTATION_ONLY}." in Page(report(run)).text


def test_image_metrics_stand_beside_those_of_real_cases_with_n(run):
    text = Page(report(run)).text
    assert "slice_ldm 20 FID lower 61.2 [59.0, 64.0] 23.5 [22.0, 25.5] 3 400 slice images" in text
    assert "KID lower 0.0123 [0.0113, 0.0143] -0.0005 [-0.0015, 0.0015] 3 3 cases" in text
    assert "precision higher 0.50 [0.50, 0.50] 0.75 [0.75, 0.75]" in text
    distances = "61.2 [59.0, 64.0] (23.5 [22.0, 25.5]) 0.0123 [0.0113, 0.0143] (-0.0005 [-0.0015, 0.0015])"
    assert f"slice_ldm 20 axial t1n {distances} 0.200 [0.199, 0.202] (0.010 [0.009, 0.012]) 3 400" in text
    among = "0.50 [0.50, 0.50] (0.75 [0.75, 0.75]) not measured not measured not measured 3"
    assert f"slice_ldm 20 axial t1n {among}" in text
    assert "FID: 95%, by a jackknife" in text and "the first counts alone" in text
    assert "through-plane gradient ratio near real 1.500 [1.499, 1.502] 1.250" in text
    assert "fewer slice images than the 1280 features" in text
    assert "EfficientNet-Lite0 (ImageNet) (SHA-256 of the weights abcdef012345)" in text
    write_images(run.folder, images_table(20000))
    assert "fewer slice images than" not in Page(report(run)).text
    for suffix in (".md", ".tex"):
        assert "MS-SSIM of pairs" in (run.folder / "tables/images").with_suffix(suffix).read_text()


def test_reconstruction_config_and_versions_are_there(run):
    text = Page(report(run)).text
    assert "n_real~20 / slice_vae psnr t1c 2 25.0" in text
    assert "seed: 7" in text
    assert "torch 2" in text
    assert "Python 3" in text


def test_it_reads_on_a_phone_and_in_the_dark(run):
    text = report(run)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<table") + text.count("<img") == text.count('class="wide"'), "wide things scroll by themselves"


def test_it_is_well_formed_for_those_who_do_not_see_it(run):
    page = Page(report(run))
    attributes = dict(page.attributes)
    assert attributes["lang"] == "en"
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "no level is skipped"
    assert page.tags.count("img") == sum(name == "alt" and len(value) > 40 for name, value in page.attributes)
    assert page.tags.count("caption") == page.tags.count("table")
    targets = {value for name, value in page.attributes if name == "id"}
    links = [value for name, value in page.attributes if name == "href"]
    assert {link[1:] for link in links if link[0] == "#"} <= targets, "every link leads somewhere"


def test_each_figure_says_what_made_it(run):
    text = Page(report(run)).text
    assert (
        "Made by workflow_scripts.programs.reporting.make_figure dice_vs_ratio with evaluation.tables.seed: 7" in text
    )
    assert f"again by .venv/bin/snakemake --cores all --configfile run.yaml --force {run.figure} ." in text
    assert re.search(r"make_figure [0-9a-f]{16}", text), "the digest of the code"


def test_a_printed_command_plans_with_run_yaml_as_the_report_gives_it(tmp_path, monkeypatch):
    """Typed in the folder of the project, whose results the report names as Snakemake does: from that folder on."""
    project = copy_project(tmp_path)
    monkeypatch.chdir(project)
    page = Page(report(small_run(Path("results/demo")), "--config", json.dumps(demo_config())))
    link = next(value for name, value in page.attributes if name == "href" and value.startswith("data:text/plain"))
    (project / "run.yaml").write_bytes(base64.b64decode(link.split("base64,")[1]))
    found = re.search(r"again by (\.venv/bin/snakemake [^;]*augmentation_ratio\.csv) \.", page.text)
    command = shlex.split(found[1])
    assert command[-1] == "results/demo/tables/augmentation_ratio.csv"
    jobs = planned(project, *command[1:])
    assert jobs["make_table"] >= 1 and jobs["train_segmentation"] == 6, "those of the demo"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The whole report of a study: every section but the viewer."""
    run = small_run(tmp_path_factory.mktemp("whole"))
    return Page(report(run, *add_the_rest(run.folder), "--config", json.dumps(demo_config())))


def test_figures_say_which_system_and_patients_they_show_and_all_that_made_them(whole):
    for words in (
        "Synthetic cases of slice_ldm beside their nearest training cases, n_real = 20; last a held-out patient",
        "make_figure memorisation with evaluation.figures.cases: 4 , evaluation.figures.modality: t2f , memorisation: {",
        "One tumour of slice_ldm that grows and moves, n_real = 20.",
        "make_figure control_sweep with evaluation.control.sweep_steps: 3 , evaluation.figures.modality: t2f , synthesis.seed: 0",
        "Real training patients and synthetic ones of slice_ldm, n_real = 20.",
        "Made by workflow_scripts.programs.reporting.make_table cost ; again by",
        "Made by workflow_scripts.programs.autoencoder.measure_reconstruction with training_seed: 0 .",
    ):
        assert words in whole.text
    pictures = [value for name, value in whole.attributes if name == "alt"]
    assert len(pictures) == 5 and sum("n_real = 20" in words for words in pictures) == 3


def test_copies_by_image_features_are_warned_of_and_the_gate_is_said_not_to_look_at_them(whole):
    warning = "of 20 synthetic cases of slice_ldm (20 real patients) are copies of training cases by"
    assert f"WARNING: 1 {warning} aligned images" in whole.text
    assert f"WARNING: 3 {warning} image features" in whole.text
    assert "looks at aligned images alone, and refuses no case for its features" in whole.text


def test_it_opens_with_ladder_ratios_and_one_narrow_table_and_folds_the_rest(whole):
    assert len(whole.unfolded.split()) < 1500 < len(whole.text.split())
    order = (
        "What each arm brings",
        "Gain of Dice over",
        "Mean test Dice against",
        "trained on Dice minus real only corrected p",
        "The exchange rate",
    )
    assert re.search(".*".join(order), whole.unfolded)
    assert whole.unfolded_tags.count("table") == 1
    assert re.search(
        r"real only 0\.\d+ - - .*\+ 2x slice_ldm 0\.\d+ \+0\.\d+ \[.*1x slice_ldm only 0\.", whole.unfolded
    )
    assert "WARNING: 3 of 20" in whole.unfolded, "what must not be overlooked is not behind a click"
    assert (
        "No training case of 20 real patients is without enhancing tumour, as 2 of 8 test cases are" in whole.unfolded
    )


def test_refused_reference_masks_are_listed(whole):
    assert "Of the masks that serve as a reference for shapes, 1 could not be used." in whole.text
    assert "M-7 masks/M-7-seg.nii.gz the mask is empty: no tumour in it. Leave it out" in whole.text


def test_the_same_run_makes_the_same_bytes(run):
    assert report(run) == report(run)


def test_what_is_missing_is_said_or_refused(run):
    (run.folder / "tables/augmentation_ratio.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is no augmentation-ratio table"):
        report(run)
    assert not (run.folder / "report.html").exists()


def test_a_missing_figure_is_named(run):
    run.figure.unlink()
    with pytest.raises(UserError, match=r"missing figure .*dice_vs_ratio\.png"):
        report(run)


def test_a_value_without_that_of_real_cases_is_refused(run):
    with pytest.raises(UserError, match=r"images\.tsv of slice_ldm, n_real=20: fid axial t1n has .*synthetic.*not"):
        write_images(run.folder, images_table(400).query("comparison == 'synthetic'"))


def test_what_was_not_measured_is_said_in_the_image_table(run):
    table = images_table(400)
    write_images(run.folder, table[table.metric.isin(("fid", "kid"))].assign(lower=None, upper=None))
    text = (run.folder / "tables/images.md").read_text()
    assert "0.0123" in text and "[" not in text.split("## All planes")[1].split("## By")[0]
    assert "by balls around cases (not measured)" in text


def test_parts_that_were_not_made_are_not_measured(run):
    folder = run.folder
    make_report.main(
        [
            *(
                "--augmentation-ratio",
                str(folder / "tables/augmentation_ratio.csv"),
                "--cases",
                str(folder / "cohort/cases.tsv"),
            ),
            *("--rejected", str(folder / "cohort/rejected.tsv"), "--splits", str(folder / "cohort/splits.json")),
            *("--out", str(folder / "bare.html")),
        ]
    )
    assert Page((folder / "bare.html").read_text()).text.count("Not measured.") == 3
