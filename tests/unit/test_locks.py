"""One writer a folder and one program a GPU, whoever else is on the machine or on the file system."""

from __future__ import annotations

import os
import threading

import pytest

from workflow_scripts.base.errors import UserError
from workflow_scripts.training import gpus, lock


def test_one_of_many_starts_has_the_folder_where_the_kernels_lock_is_local_to_a_node(tmp_path, monkeypatch):
    """Twelve hosts, whose flock knows of none of the others, find the lock free at the same moment."""
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(lock, "_is_local", lambda path: False)
    monkeypatch.setattr(lock.socket, "gethostname", lambda: threading.current_thread().name)
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.25)
    monkeypatch.setattr(lock, "SECOND_LOOK_SECONDS", 0.5)
    together, held, refused = threading.Barrier(12), [], []

    def start() -> None:
        together.wait()
        try:
            held.append(lock.FolderLock(tmp_path / ".lock", wait_seconds=0))
        except UserError as error:
            refused.append(str(error))

    for turn in range(2):  # the file that was never held, and the one that was let go
        hosts = [threading.Thread(target=start, name=f"node{turn}-{number}") for number in range(12)]
        for host in hosts:
            host.start()
        for host in hosts:
            host.join(60)
        assert len(held) == 1 and len(refused) == 11
        assert all("is in use by" in sentence for sentence in refused)
        held.pop().release()
        refused.clear()
        together.reset()


def test_a_start_that_was_held_up_between_look_and_write_does_not_take_the_lock_of_another(tmp_path, monkeypatch):
    """As on a busy node of a file system whose flock is local to each: it saw the lock free, and writes seconds later."""
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(lock, "_is_local", lambda path: False)
    monkeypatch.setattr(lock, "SECOND_LOOK_SECONDS", 0.05)
    look, held = lock.FolderLock._holder, []

    def slow(self):
        holder = look(self)
        if not held:
            held.append(None)  # the first look, of the one that is held up
            held[0] = lock.FolderLock(tmp_path / ".lock", wait_seconds=0)
        return holder

    monkeypatch.setattr(lock.FolderLock, "_holder", slow)
    monkeypatch.setattr(lock.FolderLock, "_moves", lambda self: True)
    with pytest.raises(UserError, match="is in use by process"):
        lock.FolderLock(tmp_path / ".lock", wait_seconds=0)
    held[0].release()


def test_a_gate_that_a_killed_process_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_is_local", lambda path: False)
    monkeypatch.setattr(lock, "SECOND_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(lock, "GATE_SECONDS", 0.5)
    (tmp_path / ".lock.gate").touch()
    lock.FolderLock(tmp_path / ".lock", wait_seconds=20).release()
    assert not (tmp_path / ".lock.gate").exists()


def test_on_a_local_disk_the_kernels_lock_decides_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: pytest.fail("waited"))
    monkeypatch.setattr(lock.allocation, "job_id", lambda: None)
    if not lock._is_local(tmp_path):
        pytest.skip("the tests' folder is on a file system that others may see")
    lock.FolderLock(tmp_path / ".lock", wait_seconds=0).release()


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """A machine with two GPUs and a temporary folder of everybody's."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    yield tmp_path / f"sliceaug-{os.getuid()}"
    gpus.release_gpus()
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)


def test_locks_of_gpus_lie_in_a_folder_of_the_users_own(cards):
    gpus.take_gpus(1, on_machine=2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    assert cards.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in cards.iterdir()] == ["gpu-0.lock"]


def test_no_file_behind_a_link_of_another_user_is_opened(cards, tmp_path, caplog):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "gpu-0.lock").write_text("precious")
    cards.symlink_to(precious)
    gpus.take_gpus(1, on_machine=2)
    assert "not a folder of yours alone" in caplog.text and "CUDA_VISIBLE_DEVICES" not in os.environ
    cards.unlink()
    cards.mkdir(mode=0o700)
    (cards / "gpu-0.lock").symlink_to(precious / "gpu-0.lock")
    gpus.take_gpus(1, on_machine=2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert (precious / "gpu-0.lock").read_text() == "precious"


def test_a_folder_that_others_may_use_is_not_used(cards, caplog):
    cards.mkdir()
    cards.chmod(0o777)
    gpus.take_gpus(1, on_machine=2)
    assert "not a folder of yours alone" in caplog.text and not list(cards.iterdir())
