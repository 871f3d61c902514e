"""A full disk and a read-only results folder: one sentence, no half-written file, and the same command goes on later."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small_cases
from brats import ALL_PARTS
from workflow import ROOT

SETTINGS = {"spacing_mm": [8.0, 6.0, 6.0], "size": [16, 32, 32], "dataset": ALL_PARTS}
SETTINGS |= {"modalities": list(small_cases.MODALITIES), "on_bad_case": "reject"}


def in_own_mounts(script: str) -> subprocess.CompletedProcess:
    """Run a shell script in a mount namespace of its own, as a root that can mount small file systems there."""
    return subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module", autouse=True)
def _mounts_are_allowed():
    if not shutil.which("unshare") or in_own_mounts("mount -t tmpfs none /mnt").returncode:
        pytest.skip("this machine lets no user mount a file system in a namespace of its own")


@pytest.fixture
def command(tmp_path) -> str:
    """Preprocessing of four cases into results/, as a shell command."""
    from workflow_scripts.programs.cohort import find_cases

    for index in range(4):
        small_cases.make_case(tmp_path / "data", f"BraTS-GLI-{index:05d}-000", seed=index)
    found, results = tmp_path / "found.tsv", tmp_path / "results"
    results.mkdir()
    config = json.dumps(
        {"dataset": ALL_PARTS, "modalities": SETTINGS["modalities"], "layout": "auto", "on_bad_case": "reject"}
    )
    find_cases.main(
        [f"--config={config}", f"--data-root={tmp_path / 'data'}", f"--out={found}", f"--rejected={tmp_path / 'r.tsv'}"]
    )
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    return (
        f"{sys.executable} -m workflow_scripts.programs.cohort.preprocess --config {tmp_path}/config.json --found {found} --shard 0"
        f" --shards 1 --volumes {results}/volumes --out {results}/0.tsv --rejected {results}/0.rejected.tsv"
    )


def test_a_full_disk_is_a_sentence_and_the_same_command_goes_on(tmp_path, command):
    results = tmp_path / "results"
    done = in_own_mounts(
        f"mount -t tmpfs -o size=300k none {results} && {command}; echo code $?; find {results} -name '*.npy' | wc -l;"
        f" find {results} -name '.writing*'; ls {results}; mount -o remount,size=50m {results}; {command} && cat {results}/0.tsv"
    )
    assert "the disk is full: free space there, then run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    before, after = done.stdout.split("case_id", 1)
    assert "code 2" in before
    assert ".writing" not in before
    assert "0.tsv" not in before, "a table may not promise volumes that are not there"
    assert after.count("BraTS-GLI-") >= 4


def test_a_read_only_results_folder_is_a_sentence(tmp_path, command):
    results = tmp_path / "results"
    done = in_own_mounts(f"mount -t tmpfs -o ro none {results} && {command}; echo code $?")
    assert "code 2" in done.stdout
    assert "the file system is read-only" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path(results).iterdir())
