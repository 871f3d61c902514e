"""Temporary files of killed processes: swept when they are a day old, and never younger ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflow_scripts.base import leftovers
from workflow_scripts.base.files import atomic, write_text


def temporaries(folder: Path) -> list[Path]:
    return sorted(folder.glob(".writing-*"))


@pytest.fixture(autouse=True)
def _nothing_swept_yet(monkeypatch):
    monkeypatch.setattr(leftovers, "_swept", set())


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_process_does_not_sweep_what_it_is_writing_itself(tmp_path):
    with atomic(tmp_path / "outer.tsv") as outer:
        outer.write_text("outer")
        write_text(tmp_path / "inner.tsv", "inner")
    assert (tmp_path / "outer.tsv").read_text() == "outer"
    assert (tmp_path / "inner.tsv").read_text() == "inner"


def test_a_file_of_a_day_is_swept_at_the_next_write_and_a_younger_one_stays(tmp_path):
    """Whoever wrote it: a process number means nothing on another machine."""
    left = {hours: tmp_path / f".writing-{hours}.tsv" for hours in (0, 23, 25)}
    for hours, path in left.items():
        path.write_text("half")
        age(path, hours * 3600)
    write_text(tmp_path / "other.tsv", "whole")
    assert temporaries(tmp_path) == [left[0], left[23]]


def test_age_is_told_by_the_clock_of_the_file_system(tmp_path, monkeypatch):
    """A node whose clock runs two days ahead may not take a file that another node writes for old."""
    path = tmp_path / ".writing-0badcafe-f0000000.1.x.tsv"
    path.write_text("half")
    ahead = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: ahead)
    write_text(tmp_path / "other.tsv", "whole")
    assert path.exists()


def test_nothing_else_is_touched(tmp_path):
    others = [tmp_path / name for name in ("results.tsv", ".hidden", "writing-1")]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/.writing-x").write_text("")
    for path in (*others, tmp_path / "folder/.writing-x"):
        path.touch()
        age(path, 30 * 86400)
    write_text(tmp_path / "other.tsv", "whole")
    assert all(path.exists() for path in (*others, tmp_path / "folder/.writing-x"))


def test_many_writers_of_one_folder_end_with_every_file_whole(tmp_path):
    """Four processes write and sweep the folder at once, while stale files lie about."""
    for number in range(50):
        stale = tmp_path / f".writing-{number}.tsv"
        stale.touch()
        age(stale, 2 * 86400)
    code = (
        "import sys\nfrom workflow_scripts.base import leftovers\nfrom workflow_scripts.base.files import write_text\n"
        "for number in range(60):\n    leftovers._swept.clear()\n"
        "    write_text(f'{sys.argv[1]}/{sys.argv[2]}-{number}.tsv', f'{sys.argv[2]} {number}')\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(name)]) for name in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert temporaries(tmp_path) == []
    for name in range(4):
        for number in range(60):
            assert (tmp_path / f"{name}-{number}.tsv").read_text() == f"{name} {number}"


def test_a_folder_is_swept_once_by_a_process(tmp_path):
    """A folder of thousands of files is not listed at each of their writes."""
    write_text(tmp_path / "first.tsv", "")
    stale = tmp_path / ".writing-late"
    stale.touch()
    age(stale, 2 * 86400)
    write_text(tmp_path / "second.tsv", "")
    assert stale.exists()


def test_the_temporary_name_keeps_the_suffixes(tmp_path):
    with atomic(tmp_path / "BraTS-GLI-00000-000-seg.nii.gz") as temporary:
        assert re.fullmatch(r"\.writing-\w+\.nii\.gz", temporary.name)
