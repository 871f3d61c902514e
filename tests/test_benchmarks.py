"""The benchmark of the networks runs, compares networks of equal cost, and says where it ran."""

import json
import subprocess
import sys

import pytest
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
    command = [sys.executable, "-m", "benchmarks.networks", *options, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    assert found["command"].startswith("python -m benchmarks.networks --size 16") and "CPU" in found["device"]
    rows = found["rows"]
    for ours, theirs in ((rows[0], rows[1]), (rows[2], rows[3])):
        assert theirs["gmacs"] == pytest.approx(ours["gmacs"], rel=0.2), "widths come in steps"
        assert ours["train_seconds"] > 0 and theirs["forward_seconds"] > 0
    assert "times MONAI's speed in training" in done.stdout
