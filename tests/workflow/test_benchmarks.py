"""The benchmarks run, compare what is comparable, and say where they ran and what they did not measure."""

import json
import subprocess

import pytest
import warm
from workflow import ROOT


def test_networks_are_timed_beside_others_of_equal_cost(tmp_path):
    out = tmp_path / "small.json"
    options = [
        "--size",
        "16",
        "32",
        "32",
        "--scale",
        "0.125",
        "--slices",
        "2",
        "--repeats",
        "1",
        "--threads",
        "1",
        "--precision",
        "32",
        "--out",
    ]
    command = [warm.python(), "-m", "benchmarks.networks", *options, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    assert found["command"].startswith("python -m benchmarks.networks --size 16") and "CPU" in found["device"]
    rows = found["rows"]
    for ours, theirs in ((rows[0], rows[1]), (rows[2], rows[3])):
        assert theirs["gmacs"] == pytest.approx(ours["gmacs"], rel=0.2), "widths come in steps"
        assert ours["train_seconds"] > 0 and theirs["forward_seconds"] > 0
    assert "times MONAI's speed in training" in done.stdout


def test_a_grid_that_monais_network_cannot_halve_is_refused_by_name():
    command = [warm.python(), "-m", "benchmarks.networks", "--size", "32", "40", "40", "--scale", "0.125"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--size gives latents of [32, 5, 5]: MONAI's UNet needs multiples of 4" in done.stderr


def test_image_metrics_of_many_cases_are_measured_and_what_is_extrapolated_says_so(tmp_path):
    out = tmp_path / "images.json"
    options = ["--size", "16", "16", "16", "--cases", "3", "--many", "4", "--threads", "1", "--out", str(out)]
    done = subprocess.run(
        [warm.python(), "-m", "benchmarks.images", *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    assert "comparison of 4 synthetic and 4 floor cases with 4 reference cases, measured" in done.stdout
    assert "EXTRAPOLATED, a measured rate times 4, not measured" in done.stdout
    per_volume = found["feature_seconds_per_volume"] + found["gradient_seconds_per_volume"]
    assert found["extrapolated_hours"]["features"] == pytest.approx(8 * per_volume / 3600)
    assert found["extrapolated_hours"]["audit"] == pytest.approx(4 * found["audit_row_seconds"] / 3600)
    assert found["comparison_seconds"] > 0
    assert found["peak_mib"] >= found["peak_mib_comparison"] >= found["peak_mib_features"] > 50
    assert found["slices_per_volume"] > 5 and found["ms_ssim_seconds_per_pair"] > 0
    assert found["every_slice_seconds_per_volume"] > 0
