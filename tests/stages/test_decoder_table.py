"""The table of the depth decoder: means that can be checked by hand, a row a decoder, words where nothing was measured."""

import pandas as pd
import pytest
from study_files import write_table

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.reporting.tables.cells import read_mixed_csv
from workflow_scripts.reporting.tables.depth_decoder import readable_decoders

METRICS = {"volume": ("through_plane_error", "through_plane_ratio"), "axial": ("ssim", "psnr_db")}
METRICS |= {"coronal": ("ssim",), "sagittal": ("ssim",)}
FID = {"plane": "coronal", "n_cases": 12, "n_samples": 400, "n_reference_samples": 500}


@pytest.fixture
def arguments(tmp_path):
    quality, costs, synthetic, fids = [], [], [], []
    for decoder, value in (("slice", 0.4), ("depth", 0.2)):
        for noise in (0.0, 0.2):
            for number in (0, 1):  # cases
                one = {
                    "decoder": decoder,
                    "latent_noise": noise,
                    "case_id": f"case-{number}",
                    "patient_id": f"{number}",
                }
                for plane, metrics in METRICS.items():
                    quality += [
                        one | {"plane": plane, "channel": channel, "metric": metric, "value": value + shift + number}
                        for metric in metrics
                        for channel, shift in (("t1n", -0.1), ("t2f", 0.1))
                    ]
                for region in ("whole_tumor", "tumor_core"):
                    quality.append(
                        one | {"plane": "volume", "channel": region, "metric": "dice", "value": 0.9 if region == "whole_tumor" else 0.1}
                    )  # fmt: skip
        costs.append(
            {"decoder": decoder, "parameters_m": 1 / value, "convolution_macs_g": 2 / value, "gflop_per_volume": 4 / value,
             "seconds_per_volume": 0.5, "device": "CPU with 2 threads, fp32", "grid": "9x16x16"}
        )  # fmt: skip
        for between, size in (("axial slices", value), ("rows", 0.1), ("columns", 0.3)):
            for number in (0, 1, 2):
                one = {"case_id": f"synthetic {number}", "decoder": decoder, "channel": "t1n", "between": between}
                synthetic.append(one | {"value": size})
        fids.append(FID | {"decoder": decoder, "value": 100 * value, "standard_error": 2.0})
    for between in ("axial slices", "rows", "columns"):
        synthetic.append({"case_id": "case-0", "decoder": "real", "channel": "t1n", "between": between, "value": 0.25})
    of = {"n_real": 20, "autoencoder": "slice_vae"}
    tables = {"quality": pd.DataFrame(quality).assign(**of), "costs": pd.DataFrame(costs).assign(**of)}
    tables["synthetic"] = pd.DataFrame(synthetic).assign(n_real=20, system="slice_ldm")
    fids += [FID | {"decoder": "floor", "value": 1.0, "standard_error": 2.0}]
    fids += [FID | {"decoder": "difference", "value": -20.0, "standard_error": 0.5}]
    tables["fids"] = pd.DataFrame(fids).assign(n_real=20, system="slice_ldm", feature_network="a network")
    for name, table in tables.items():
        write_tsv(tmp_path / f"{name}.tsv", table)
    return {name: [tmp_path / f"{name}.tsv"] for name in tables}


def test_the_numbers_are_means_over_modalities_and_cases(tmp_path, arguments):
    write_table("depth_decoder", tmp_path / "tables/depth_decoder.csv", **arguments)
    table = read_mixed_csv(tmp_path / "tables/depth_decoder.csv")
    found = table.set_index(["part", "of", "decoder", "quantity"]).value.sort_index()
    for decoder, value in (("slice", 0.4), ("depth", 0.2)):
        for noise in ("as encoded", "with noise of 0.2 SD"):
            own = found["validation cases", f"slice_vae, latents {noise}", decoder]
            assert own["through-plane error"] == pytest.approx(value + 0.5)
            assert own["SSIM, coronal"] == pytest.approx(value + 0.5)
            assert own["Dice, whole tumour"] == pytest.approx(0.9)
        own = found["synthetic cases", "slice_ldm", decoder]
        assert own["between axial slices, x real"] == pytest.approx(value / 0.25)
        assert own["within axial slices, x real"] == pytest.approx(0.8)
        assert own["between by within"] == pytest.approx(value / 0.25 / 0.8)
    assert found.xs("depth", level="decoder").xs("parameters", level="quantity").item() == pytest.approx(5.0)
    assert table.n_real.unique().tolist() == [20]


def test_it_can_be_read_printed_and_reported(tmp_path, arguments):
    write_table("depth_decoder", tmp_path / "tables/depth_decoder.csv", "--simulated", **arguments)
    text, tex = ((tmp_path / f"tables/depth_decoder.{suffix}").read_text() for suffix in ("md", "tex"))
    assert "slice by slice" in text and "along depth" in text and "SIMULATED COHORT" in text
    assert tex.count(r"\begin{table}") == 4
    parts = readable_decoders(read_mixed_csv(tmp_path / "tables/depth_decoder.csv"))
    headings = ["Validation cases", "Synthetic cases", "FID against held-out real cases", "Cost of a volume"]
    assert [heading for heading, _ in parts] == headings
    decoded = ["slice by slice", "along depth", "along depth minus slice by slice"]
    assert list(parts[0][1]["decoded"]) == decoded * 2
    assert [list(part["cases"].unique()) for _, part in parts] == [["2"], ["3"], ["12"], ["1"]]
    distances = parts[2][1].set_index("decoded")["FID, coronal"]
    assert distances["slice by slice"] == "40.0 [36.1, 43.9]" and distances["along depth"] == "20.0 [16.1, 23.9]"
    assert distances["real training cases (floor)"] == "1.0 [0.0, 4.9]", "never below 0"
    assert distances["along depth minus slice by slice"] == "-20.0 [-21.0, -19.0]"
    assert "400 slice images" in text and "with fewer than 3 cases" in text


def test_differences_are_paired_over_cases(tmp_path, arguments):
    """Depth is better by 0.2 in every case, though the cases differ by 1: no spread of cases is in the interval."""
    write_table("depth_decoder", tmp_path / "tables/depth_decoder.csv", **arguments)
    table = read_mixed_csv(tmp_path / "tables/depth_decoder.csv").query("decoder == 'difference'")
    found = table.set_index(["of", "quantity"])
    for quantity in ("through-plane error", "PSNR, axial", "SSIM, axial"):
        row = found.loc["slice_vae, latents as encoded", quantity]
        assert row["value"] == pytest.approx(-0.2) and row["n_cases"] == 2
        assert row["lower"] == pytest.approx(-0.2) and row["upper"] == pytest.approx(-0.2)
    assert found.loc[("slice_ldm", "between axial slices, x real"), "value"] == pytest.approx(-0.8)
    assert found.loc[("slice_ldm", "between by within"), "lower"] == "not measured", "a ratio of means"


def test_one_case_has_a_difference_and_no_interval(tmp_path, arguments):
    quality = pd.read_csv(tmp_path / "quality.tsv", sep="\t")
    write_tsv(tmp_path / "quality.tsv", quality[quality.case_id == "case-0"])
    write_table("depth_decoder", tmp_path / "tables/depth_decoder.csv", **arguments)
    table = read_mixed_csv(tmp_path / "tables/depth_decoder.csv").query("part == 'validation cases'")
    assert set(table.n_cases) == {1} and set(table.lower) == {"not measured"}
    assert "not measured" not in set(table.value)


def test_without_a_distance_there_is_no_such_part(tmp_path, arguments):
    fids = pd.read_csv(tmp_path / "fids.tsv", sep="\t")
    write_tsv(tmp_path / "fids.tsv", fids.iloc[:0])
    write_table("depth_decoder", tmp_path / "tables/depth_decoder.csv", **arguments)
    assert "FID" not in (tmp_path / "tables/depth_decoder.md").read_text()


def test_a_missing_table_is_a_sentence(tmp_path, arguments):
    (tmp_path / "costs.tsv").unlink()
    with pytest.raises(UserError, match="missing table"):
        write_table("depth_decoder", tmp_path / "tables/depth_decoder.csv", **arguments)
