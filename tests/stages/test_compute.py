"""Counted costs: against the paper's figures, against closed forms, and in tables that say what they are."""

import pandas as pd
import pytest
import torch
from brats import CONDITIONS
from study_files import study, write_table

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.evaluation.statistics.ratio_table import NOT_MEASURED
from workflow_scripts.evaluation.system_cost import NOTHING, count, published_cost, system_cost
from workflow_scripts.models.blocks import Conv3d
from workflow_scripts.reporting.tables.cells import read_mixed_csv
from workflow_scripts.study.conditions import SHAPE_CONDITIONS
from workflow_scripts.study.settings.systems import load_systems, shipped_systems

SHIPPED = {name: system.plain() for name, system in shipped_systems().items()}
PUBLISHED = [(name, entry) for name, system in SHIPPED.items() for entry in system.get("published", [])]
UNPUBLISHED_LAYOUTS = {("ldm_3d", "autoencoder", "parameters_m"), ("ldm_3d", "discriminator", "parameters_m")}
"""The paper's 3D autoencoder and discriminator are known by their counts alone."""


@pytest.mark.parametrize(("name", "entry"), PUBLISHED, ids=[f"{name} {entry['part']}" for name, entry in PUBLISHED])
def test_our_networks_cost_what_the_paper_prints_at_its_own_settings(name, entry):
    tolerance = 0.01 if name in ("slice_ldm", "slice_ldm_2d") else 0.05
    for key, value in zip(("macs_g", "parameters_m"), published_cost(SHIPPED[name], entry), strict=True):
        if (name, entry["part"], key) in UNPUBLISHED_LAYOUTS:
            assert "layout" in entry["note"], "a difference is explained"
        elif entry[key] is not None:
            assert value == pytest.approx(entry[key], rel=tolerance), key


def test_every_published_row_of_the_paper_is_there():
    assert {(name, entry["part"]) for name, entry in PUBLISHED} == {
        *(("slice_ldm", part) for part in ("autoencoder", "denoiser")),
        *(("ldm_3d", part) for part in ("autoencoder", "discriminator", "denoiser")),
        *((name, "denoiser") for name in ("slice_ldm_2d", "ldm_3d_reduced", "ddpm_3d")),
    }


def test_a_convolution_and_an_attention_cost_their_closed_forms():
    with torch.device("meta"):
        layer = torch.nn.Conv3d(3, 5, 3, padding=1)
        cost = count(layer, torch.empty(1, 3, 4, 6, 8))
        assert cost.convolution_macs == 27 * 3 * 5 * 4 * 6 * 8
        assert cost.flops == 2 * cost.convolution_macs
        q = torch.empty(1, 2, 10, 16)
        attention = count(torch.nn.functional.scaled_dot_product_attention, q, q, q)
        assert attention.flops == 2 * 2 * (2 * 10 * 10 * 16) and attention.convolution_macs == 0


@pytest.mark.parametrize("batch", [1, 2])
def test_what_is_computed_counts_as_much_as_what_is_only_counted(batch):
    layer, x = Conv3d(3, 5, 3, stride=2, padding=1), torch.zeros(batch, 3, 4, 6, 8)
    assert count(layer, x) == count(layer.to("meta"), x.to("meta")) != NOTHING


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_volume_costs_its_sampling_and_its_decoding(name):
    cost = system_cost(SHIPPED[name], 4, 3, [144, 192, 192], CONDITIONS)
    assert cost["volume_flop"] == cost["calls"] * cost["call_flop"] + cost["decode_flop"]
    assert (cost["decode_flop"] == cost["autoencoder_parameters"] == 0) == (SHIPPED[name]["autoencoder"] is None)
    once = {"lsgan_3d": 1, "carvemix": 0}  # which learns nothing: it costs nothing that is counted
    sampler = SHIPPED[name].get("sampler", {"steps": once.get(name), "guidance": 1})
    assert cost["calls"] == sampler["steps"] * (1 if sampler["guidance"] == 1 else 2)


def test_guidance_calls_the_network_twice_a_step():
    system = SHIPPED["ldm_3d_reduced"]
    guided = system | {"sampler": system["sampler"] | {"guidance": 3.0}}
    one, two = (system_cost(each, 1, 1, [64, 64, 64], SHAPE_CONDITIONS) for each in (system, guided))
    assert two["calls"] == 2 * one["calls"] and two["sampling_flop"] == 2 * one["sampling_flop"]


NAMES = ("slice_ldm", "lsgan_3d")


@pytest.fixture
def arguments(tmp_path):
    """Scores, distances and costs of a small study with two systems; what their tables are made of."""
    mixes = [("none", 0.0, False)] + [(name, ratio, False) for name in NAMES for ratio in (0.5, 1.0)]
    dice = study(tmp_path, mixes=mixes)
    write_table("augmentation_ratio", tmp_path / "augmentation_ratio.csv", scores=dice)
    fid, costs = [], []
    for index, name in enumerate(NAMES):
        rows = [{"metric": metric, "plane": plane, "modality": modality, "comparison": kind, "n_cases": 5,
                 "value": 100.0 * (index + 1) + 10 * (kind == "floor") if (metric, modality) == ("fid", "all") else -1.0}
                for metric, modality in (("kid", "all"), ("fid", "all"), ("fid", "t1n"))
                for plane in ("axial", "joint") for kind in ("synthetic", "floor")]  # fmt: skip
        fid.append(tmp_path / f"{name}.images.tsv")
        write_tsv(fid[-1], pd.DataFrame(rows).assign(n_real=20, system=name))
        cost = {"system": name, "n_real": 20, "seconds_per_volume": 1.25 + index, "peak_memory_mib": 900.0,
                "memory_of": "process", "device": "CPU with 2 threads, fp32", "volumes": 3, "grid": "48x64x64",
                "sampler": "one pass"}  # fmt: skip
        costs.append(tmp_path / f"{name}.cost.tsv")
        write_tsv(costs[-1], pd.DataFrame([cost]))
    size = [48, 64, 64]
    systems = load_systems(list(NAMES), {name: {"scale": 0.1} for name in NAMES}, size)
    systems = {name: system.plain() for name, system in systems.items()}
    config = {
        "systems": list(NAMES),
        "system": systems,
        "modalities": ["t1n", "t2f"],
        "regions": ["whole_tumor"],
        "rule": "none",
        "foreground_channel": True,
    }
    config |= {"size": size, "comparison_ratio": None}
    return config, {"ratios": [tmp_path / "augmentation_ratio.csv"], "images": fid, "costs": costs}


def write_both(folder, config, files, *options):
    """compute.csv and systems.csv in `folder`, with their texts."""
    write_table("compute", folder / "compute.csv", *options, settings=config, costs=files["costs"])
    files = {"ratios": files["ratios"], "images": files["images"], "compute": [folder / "compute.csv"]}
    write_table("systems", folder / "systems.csv", *options, settings=config, **files)


def test_the_tables_hold_every_system_with_its_measured_and_counted_cost(tmp_path, arguments):
    config, rest = arguments
    write_both(tmp_path / "tables", config, rest)
    compute, systems = (read_mixed_csv(tmp_path / "tables" / f"{name}.csv") for name in ("compute", "systems"))
    own = compute[compute.setting == "this run"]
    assert list(dict.fromkeys(own.system)) == list(NAMES), "in the order of the config"
    expected = system_cost(config["system"]["slice_ldm"], 2, 1, config["size"], SHAPE_CONDITIONS)
    found = own[(own.system == "slice_ldm") & (own.quantity == "operations")].set_index("part").value
    assert found["call"] == pytest.approx(expected["call_flop"] / 1e9, rel=1e-5)
    times = own[own.quantity == "time"].set_index("system").value
    assert dict(times) == {"slice_ldm": 1.25, "lsgan_3d": 2.25}
    assert list(systems.system) == list(NAMES) and list(systems.ratio) == [1, 1]
    assert list(systems.fid) == [100, 200] and list(systems.fid_floor) == [110, 210]
    ratios = read_mixed_csv(tmp_path / "augmentation_ratio.csv")
    gain = ratios[(ratios.system == "lsgan_3d") & (ratios.ratio == 1) & (ratios.region == "whole_tumor")]
    assert systems.whole_tumor_dice_gain[1] == gain.dice_difference.iloc[0]
    text = (tmp_path / "tables/compute.md").read_text()
    assert "523.735" in text and "195.996" in text and "Kebaili" in text
    assert "layout is not published" in text
    for name in ("compute", "systems"):
        assert r"\begin{table}" in (tmp_path / f"tables/{name}.tex").read_text()


def test_the_chosen_ratio_is_compared(tmp_path, arguments):
    config, rest = arguments
    write_both(tmp_path / "tables", config | {"comparison_ratio": 0.5}, rest, "--simulated")
    assert "Dice gain at 0.5x" in (tmp_path / "tables/systems.md").read_text()
    assert "SIMULATED COHORT" in (tmp_path / "tables/compute.md").read_text()


def test_a_cost_that_nobody_measured_is_said_to_be_so(tmp_path, arguments):
    config, rest = arguments
    write_both(tmp_path / "tables", config, rest | {"costs": rest["costs"][:1]})
    systems = read_mixed_csv(tmp_path / "tables/systems.csv")
    assert systems.seconds_per_volume[1] == NOT_MEASURED
    assert NOT_MEASURED in (tmp_path / "tables/systems.md").read_text()


def test_a_missing_table_is_a_sentence(tmp_path, arguments):
    config, rest = arguments
    (tmp_path / "augmentation_ratio.csv").unlink()
    with pytest.raises(UserError, match="missing table"):
        write_both(tmp_path / "tables", config, rest)
