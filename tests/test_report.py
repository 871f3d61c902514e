"""The report: one file that needs nothing else, with the answer, what was refused, and a banner over a simulation."""

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
import pytest
from study_files import study

from workflow_scripts import make_figures, make_image_tables, make_report, make_tables
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_json, write_tsv
from workflow_scripts.evaluation.image_metrics import COLUMNS

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags close in order, and gathers text, attributes and table rows."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def images_table(n_samples):
    """Rows of images.tsv as evaluate_images writes them; its values made up."""
    values = {"fid": (61.25, 23.5), "kid": (0.01234, -0.0005), "mmd": (0.2, 0.01), "precision": (0.5, 0.75)}
    values |= {"gradient_ratio": (1.5, 1.25), "ms_ssim": (0.9, 0.8)}
    rows = []
    for metric, pair in values.items():
        alone = metric in ("gradient_ratio", "ms_ssim")
        kinds = ("synthetic", "real" if alone else "floor")
        for plane in ("volume",) if alone else ("axial", "sagittal", "coronal", "joint"):
            for modality in ("t1n", "all") if metric in ("fid", "kid") and plane != "joint" else ("all",):
                for comparison, value in zip(kinds, pair, strict=True):
                    row = dict.fromkeys(COLUMNS) | {"metric": metric, "plane": plane, "modality": modality}
                    row |= {
                        "comparison": comparison,
                        "value": value,
                        "n_cases": 3,
                        "n_samples": 3,
                        "note": "5 neighbours",
                    }
                    row |= {"n_slices": n_samples // 4, "n_samples": n_samples} if metric == "fid" else {}
                    rows.append(row | ({} if metric == "fid" else {"lower": value - 0.001, "upper": value + 0.002}))
    about = {"feature_network": "EfficientNet-Lite0 (ImageNet)", "feature_dimension": 1280, "slice_size": 64}
    about |= {
        "weights_sha256": "abcdef0123456789" * 4,
        "confidence": 0.95,
        "bootstrap_samples": 2000,
        "modalities": "t1n",
    }
    return pd.DataFrame(rows).assign(n_real=20, system="slice_ldm", **about)


def write_images(folder, table):
    write_tsv(folder / "images.tsv", table)
    make_image_tables.main(["--images", str(folder / "images.tsv"), "--out-stem", str(folder / "tables/images")])


@pytest.fixture
def run(tmp_path):
    """The files of a small run, with an evil word in every place where data are printed."""
    files = study(tmp_path)
    table = tmp_path / "tables/augmentation_ratio"
    make_tables.main(["--dice", *files, "--out-stem", str(table)])
    figure = tmp_path / "figures/dice_vs_ratio.png"
    make_figures.main(["--dice", *files, "--table", f"{table}.csv", "--out", str(figure)])
    cases = pd.DataFrame({"case_id": ["A", "B"], "note": ["", "label 4 (resection cavity): 12 voxels"]})
    rejected = pd.DataFrame(
        {"case_id": ["C<script>"], "file": ["/data/C/C-seg.nii.gz"], "reason": ["the mask is empty & <b>useless</b>"]}
    )
    made = pd.DataFrame({"case_id": ["SliceAug-00000-000"], "number": [0], "attempts": [3]})
    reason = "the tumour has {} ml; min_volume_ml asks for 0.5"
    refused = pd.DataFrame(
        {
            "number": [0, 0, 1],
            "attempt": [0, 1, 0],
            "reason": [reason.format(0.31), reason.format(4e-2), "the tumour is empty"],
        }
    )
    psnr = {"case_id": ["A", "B"], "plane": "axial", "channel": "t1c", "metric": "psnr", "value": [24.0, 26.0]}
    synthetic = tmp_path / "n_real~20/synthetic/slice_ldm"
    write_tsv(tmp_path / "cohort/cases.tsv", cases)
    write_tsv(tmp_path / "cohort/rejected.tsv", rejected)
    write_json(tmp_path / "cohort/splits.json", {"seed": 0, "test": ["A"], "val": ["B"], "train": {"20": ["C", "D"]}})
    write_tsv(synthetic / "cases.tsv", made)
    write_tsv(synthetic / "rejected.tsv", refused)
    write_tsv(tmp_path / "n_real~20/autoencoder/slice_vae/reconstruction.tsv", pd.DataFrame(psnr))
    write_images(tmp_path, images_table(400))
    return SimpleNamespace(folder=tmp_path, figure=figure, synthetic=synthetic)


def report(run, *options):
    folder = run.folder
    make_report.main(
        [
            *("--table", str(folder / "tables/augmentation_ratio.csv"), "--figures", str(run.figure)),
            *("--images", str(folder / "tables/images.csv"), "--synthetic", str(run.synthetic / "cases.tsv")),
            *("--synthetic-rejected", str(run.synthetic / "rejected.tsv")),
            *("--reconstruction", str(folder / "n_real~20/autoencoder/slice_vae/reconstruction.tsv")),
            *("--cases", str(folder / "cohort/cases.tsv"), "--rejected", str(folder / "cohort/rejected.tsv")),
            *("--splits", str(folder / "cohort/splits.json"), "--out", str(folder / "report.html")),
            *("--config", json.dumps({"run": "small", "data_root": None, "evaluation": {"tables": {"seed": 7}}})),
            *options,
        ]
    )
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_report_needs_nothing_but_itself(run):
    text = report(run)
    page = Page(text)
    links = [value for name, value in page.attributes if name in ("src", "href", "srcset", "data", "action", "poster")]
    assert links
    assert all(value.startswith("data:image/png;base64,") for value in links)
    assert not re.search(r"https?://|@import|url\(", text)
    assert not {"script", "iframe", "link", "object"} & set(page.tags)
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


def test_a_simulated_cohort_is_said_on_its_face(run):
    assert 'role="alert"' not in report(run)
    text = report(run, "--simulated")
    page = Page(text)
    assert ("class", "banner") in page.attributes
    assert "SIMULATED COHORT" in page.text
    assert page.text.index("SIMULATED COHORT") < page.text.index("Question:")


def test_refused_cases_and_refused_draws_are_listed_and_counted(run):
    text = report(run)
    page = Page(text)
    assert "C<script>" in page.text and "<script>" not in text, "what data say is text, never markup"
    assert "the mask is empty & <b>useless</b>" in page.text
    assert "2 cases could be used" in page.text and "1 was refused" in page.text
    assert "label 4 (resection cavity): 12 voxels" in page.text
    assert "n_real~20 / slice_ldm" in page.text
    assert "1 synthetic cases made, 3 draws refused" in page.text
    assert "the tumour has … ml; min_volume_ml asks for … (2)" in page.text
    assert "the tumour has 0.31 ml" in page.text, "each draw with its own numbers"


def test_image_metrics_stand_beside_those_of_real_cases_with_n(run):
    text = Page(report(run)).text
    assert "slice_ldm 20 FID lower 61.2 23.5 3 400 slice images" in text
    assert "KID lower 0.0123 [0.0113, 0.0143] -0.0005 [-0.0015, 0.0015] 3 3 cases" in text
    assert "precision higher 0.50 [0.50, 0.50] 0.75 [0.75, 0.75]" in text
    assert "slice_ldm 20 axial t1n 61.2 (23.5) 0.0123 (-0.0005)" in text
    assert "through-plane gradient ratio near real 1.500 [1.499, 1.502] 1.250" in text
    assert "fewer slice images than the 1280 features" in text
    assert "EfficientNet-Lite0 (ImageNet) (SHA-256 of the weights abcdef012345)" in text
    write_images(run.folder, images_table(20000))
    assert "fewer slice images than" not in Page(report(run)).text
    for suffix in (".md", ".tex"):
        assert "MS-SSIM of pairs" in (run.folder / "tables/images").with_suffix(suffix).read_text()


def test_reconstruction_config_and_versions_are_there(run):
    text = Page(report(run)).text
    assert "n_real~20 / slice_vae psnr t1c axial 25.0 2" in text
    assert "seed: 7" in text
    assert "torch 2" in text
    assert "Python 3" in text


def test_it_reads_on_a_phone_and_in_the_dark(run):
    text = report(run)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<table>") + text.count("<img") == text.count('class="wide"'), "wide things scroll by themselves"


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
            *("--table", str(folder / "tables/augmentation_ratio.csv"), "--cases", str(folder / "cohort/cases.tsv")),
            *("--rejected", str(folder / "cohort/rejected.tsv"), "--splits", str(folder / "cohort/splits.json")),
            *("--out", str(folder / "bare.html")),
        ]
    )
    assert Page((folder / "bare.html").read_text()).text.count("Not measured.") == 3
