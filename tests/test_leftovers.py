"""Temporary files of killed processes: swept at the next write, and never those of a process that lives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflow_scripts.base import leftovers
from workflow_scripts.base.files import atomic, write_text

WRITER = """
import sys, time
from workflow_scripts.base.files import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def temporaries(folder: Path) -> list[Path]:
    return sorted(folder.glob(".writing-*"))


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing tmp_path/slow.tsv."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "slow.tsv")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def _nothing_swept_yet(monkeypatch):
    monkeypatch.setattr(leftovers, "_swept", set())


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_the_file_of_a_killed_process_is_swept_at_the_next_write(tmp_path, writer):
    assert len(temporaries(tmp_path)) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(temporaries(tmp_path)) == 1, "a kill leaves it behind"
    write_text(tmp_path / "other.tsv", "whole")
    assert temporaries(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["other.tsv"]


def test_the_file_of_a_living_process_stays(tmp_path, writer):
    write_text(tmp_path / "other.tsv", "whole")
    (temporary,) = temporaries(tmp_path)
    assert temporary.read_text() == "half"
    assert f".{writer.pid}." in temporary.name


def test_a_process_does_not_sweep_what_it_is_writing_itself(tmp_path):
    with atomic(tmp_path / "outer.tsv") as outer:
        outer.write_text("outer")
        write_text(tmp_path / "inner.tsv", "inner")
    assert (tmp_path / "outer.tsv").read_text() == "outer"
    assert (tmp_path / "inner.tsv").read_text() == "inner"


def test_another_machines_file_stays_for_a_day(tmp_path, writer):
    """Its process number means nothing here: only age can tell."""
    pid = writer.pid
    writer.kill()
    writer.wait()
    foreign = [tmp_path / f".writing-0badcafe-f0000000.{pid}.{name}.tsv" for name in ("young", "old")]
    unnamed = [tmp_path / f".writing-{name}" for name in ("young", "old")]  # as earlier versions named them
    for path in (*foreign, *unnamed):
        path.write_text("half")
        age(path, (23 if "young" in path.name else 25) * 3600)
    write_text(tmp_path / "other.tsv", "whole")
    assert temporaries(tmp_path) == sorted(path for path in (*foreign, *unnamed) if "young" in path.name)


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
        assert re.fullmatch(r"\.writing-[0-9a-f-]+\.\d+\.\w+\.nii\.gz", temporary.name)
