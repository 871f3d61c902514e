"""Files that appear whole or not at all, seeds that depend on their keys alone, errors that are sentences."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.base import job_record, progress
from workflow_scripts.base.cli import sentence_of
from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import atomic, read_json, read_tsv, write_json, write_text, write_tsv
from workflow_scripts.base.seeds import numpy_rng, torch_rng


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_reads_back_as_it_was_written(tmp_path):
    table = pd.DataFrame({"case_id": ["NA", "08 é"], "volume_ml": [0.1 + 0.2, 1e-17], "note": ["", "a, b"]})
    write_tsv(tmp_path / "t.tsv", table)
    pd.testing.assert_frame_equal(read_tsv(tmp_path / "t.tsv"), table)


def test_an_empty_table_keeps_its_columns(tmp_path):
    write_tsv(tmp_path / "t.tsv", pd.DataFrame(columns=["case_id", "reason"]))
    assert list(read_tsv(tmp_path / "t.tsv").columns) == ["case_id", "reason"]


@pytest.mark.parametrize("read", [read_json, read_tsv])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(UserError, match="nowhere"):
        read(tmp_path / "nowhere")


def test_a_broken_json_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match=r"x\.json is no JSON"):
        read_json(tmp_path / "x.json")


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_draws_depend_on_the_keys_alone():
    assert numpy_rng(1, "noise", 2).random() == numpy_rng(1, "noise", 2).random()
    draws = [numpy_rng(*keys).random() for keys in [(1, 2), (2, 1), (12,), ("1", 2), (1, "2")]]
    assert len(set(draws)) == len(draws)
    assert torch_rng(3, "x").initial_seed() == torch_rng(3, "x").initial_seed()
    assert not np.isclose(numpy_rng(0).random(), numpy_rng(1).random())


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


PREAMBLE = (
    "import errno, os\nfrom workflow_scripts.base.cli import run_program\nfrom workflow_scripts.base.errors import *\n"
)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("UserError('write x: 1')", "error: write x: 1"),
        ("BadCase('C1', 'a.nii', 'is torn', 'Copy it again')", "error: case C1: is torn (a.nii). Copy it again"),
        ("OSError(errno.ENOSPC, 'No space', 'r/x.npy')", "error: r/x.npy: the disk is full"),
        ("OSError(errno.EROFS, 'Read-only', 'r/x.npy')", "error: r/x.npy: the file system is read-only"),
        ("PermissionError(errno.EACCES, 'no', 'r/x.npy')", "error: r/x.npy: no permission"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(error, sentence):
    done = run_python(f"{PREAMBLE}def main():\n    raise {error}\nrun_program(main)")
    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert "Traceback" not in done.stderr


def test_what_only_a_programmer_can_mend_keeps_its_traceback():
    done = run_python(f"{PREAMBLE}def main():\n    raise KeyError('x')\nrun_program(main)")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_bad_case_keeps_its_parts():
    error = BadCase("C1", "a.nii.gz", "is torn")
    assert (error.case_id, error.file, error.reason) == ("C1", "a.nii.gz", "is torn")


def test_progress_tells_the_jobs_record_how_long_the_work_took(tmp_path, monkeypatch):
    """The first unit of three is slow, as a first training step is: it is not in the steady rate."""
    clock = iter([0.0, 0.0, 10.0, 10.0, 11.0, 11.0, 12.0, 12.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setenv(job_record.PLACE, "")
    job_record.begin(str(tmp_path / "job.log"))
    with progress.track(3, "encoding", "case") as bar:
        for _ in range(3):
            bar.update()
    monkeypatch.undo()
    record = read_json(tmp_path / "job.json")
    assert record["work"] == [{"unit": "case", "units": 3, "seconds": 3.0}]
    assert record["device"] == "CPU"


def test_a_full_disk_names_the_file_that_was_being_written(tmp_path):
    path = tmp_path / "table.tsv"
    with pytest.raises(OSError) as caught, atomic(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(path) in str(sentence_of(caught.value)) and "the disk is full" in str(sentence_of(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_a_new_name_is_flushed_to_disk(tmp_path, monkeypatch):
    """First the file, then, once it has its name, the folder that holds the name."""
    flushed = []
    monkeypatch.setattr(
        "os.fsync",
        lambda handle: flushed.append((Path(f"/proc/self/fd/{handle}").readlink(), (tmp_path / "a").is_file())),
    )
    write_text(tmp_path / "a", "x")
    (file, named), (folder, renamed) = flushed
    assert file.parent == folder == tmp_path and not named and renamed
