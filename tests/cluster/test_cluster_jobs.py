"""A training in a job of a cluster: it stops before its time is up, waits for another writer, and shares a network."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import warm
from lightning.fabric.plugins.environments import SLURMEnvironment
from waiting import wait_for

from workflow_scripts.base import allocation
from workflow_scripts.base.environment import use_node_scratch
from workflow_scripts.base.errors import UserError
from workflow_scripts.training import gpus, lock, srun
from workflow_scripts.training.interrupt import seconds_to_stop
from workflow_scripts.training.state import StateFolder

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.mark.parametrize(("left", "stop"), [(60, 50), (3600, 3300), (600, 540), (5, 1), (None, None)])
def test_time_is_kept_for_the_checkpoint(monkeypatch, left, stop):
    monkeypatch.setattr(allocation, "seconds_left", lambda: left)
    assert seconds_to_stop() == stop


def cluster(folder: Path, squeue: str, scontrol: str) -> dict:
    """An environment with Slurm's commands as a job sees them, saying what they are told to."""
    folder.mkdir()
    for name, script in (("squeue", squeue), ("scontrol", scontrol)):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}


def run_tiny(state: Path, out: Path, environment: dict, pause_s: float = 0.1) -> subprocess.CompletedProcess:
    command = [warm.python(), str(HELPERS / "tiny_training.py"), "regression", str(state), str(out)]
    command += ["--task", json.dumps({"pause_s": pause_s}), "--settings", json.dumps({"checkpoint_minutes": 1000})]
    environment = os.environ | {"PYTHONPATH": str(HELPERS.parents[1]), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, timeout=300)


def test_before_its_time_is_up_a_training_saves_and_asks_for_the_queue_and_then_ends_in_the_same_bytes(tmp_path):
    whole = run_tiny(tmp_path / "whole", tmp_path / "whole.safetensors", {}, pause_s=0)
    assert whole.returncode == 0, whole.stderr
    asked = tmp_path / "asked"
    # Slurm ends a job that goes back to the queue: here its own shell is what called scontrol
    slurm = cluster(tmp_path / "bin", "echo 0:13", f'echo "$@" > {asked}; kill -9 $PPID')
    stopped = run_tiny(tmp_path / "cut", tmp_path / "cut.safetensors", slurm)
    assert stopped.returncode == -9
    assert asked.read_text() == "requeue 7\n"
    assert "SIGALRM, a checkpoint of step" in stopped.stderr
    later = slurm | {"SLURM_JOB_END_TIME": "9999999999"}
    again = run_tiny(tmp_path / "cut", tmp_path / "cut.safetensors", later, pause_s=0)
    assert again.returncode == 0, again.stderr
    assert "goes on from the checkpoint" in again.stderr
    assert (tmp_path / "cut.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_where_slurm_refuses_the_queue_the_program_says_how_to_go_on(tmp_path):
    slurm = cluster(tmp_path / "bin", "echo 0:13", "echo 'Requested operation is presently disabled' >&2; exit 1")
    stopped = run_tiny(tmp_path / "cut", tmp_path / "cut.safetensors", slurm)
    assert stopped.returncode == 128 + 14
    assert "presently disabled" in stopped.stderr
    assert "run the same command again to go on" in stopped.stderr


def other_host(path: Path, job: str | None = None) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"host": "node-7", "process": 4711, "job": job}))


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.1)


def test_a_holder_on_another_host_that_still_beats_keeps_the_folder(tmp_path, quick_beats):
    path = tmp_path / "stage" / "digest" / ".lock"
    other_host(path)
    done = threading.Event()

    def beat():
        while not done.wait(0.05):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(UserError, match="in use by process 4711 on node-7"):
            StateFolder(tmp_path, "stage", "digest", wait_seconds=0)
    finally:
        done.set()
        thread.join()


def test_the_folder_of_a_dead_holder_on_another_host_is_taken_over(tmp_path, quick_beats, caplog):
    path = tmp_path / "stage" / "digest" / ".lock"
    other_host(path, job="12")
    with caplog.at_level("INFO"), StateFolder(tmp_path, "stage", "digest", wait_seconds=0):
        assert "taken over from process 4711 on node-7 (Slurm job 12), which is gone" in caplog.text
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert path.read_text() == ""


def test_a_held_folder_beats(tmp_path, quick_beats):
    with StateFolder(tmp_path, "stage", "digest") as state:
        before = (state.folder / ".lock").stat().st_mtime_ns
        wait_for(lambda: (state.folder / ".lock").stat().st_mtime_ns > before, "a beat", seconds=30)


def test_a_job_waits_for_the_job_that_it_replaces(tmp_path, quick_beats, monkeypatch, caplog):
    monkeypatch.setenv("SLURM_JOB_ID", "21")
    first = StateFolder(tmp_path, "stage", "digest")
    monkeypatch.setenv("SLURM_JOB_ID", "22")
    threading.Timer(1.0, first.close).start()
    with caplog.at_level("INFO"), StateFolder(tmp_path, "stage", "digest", wait_seconds=0) as second:
        assert json.loads((second.folder / ".lock").read_text())["job"] == "22"
    assert "(Slurm job 21): waiting for it to end" in caplog.text


def test_of_srun_tasks_the_first_holds_the_folder_for_all(tmp_path, monkeypatch):
    for name, value in {"SLURM_JOB_ID": "5", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    with StateFolder(tmp_path, "stage", "digest"):
        monkeypatch.setenv("SLURM_PROCID", "1")
        with StateFolder(tmp_path, "stage", "digest") as of_second:
            assert of_second.folder == tmp_path / "stage" / "digest"


def test_as_many_tasks_as_devices_are_wanted(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    srun.check(2)
    with pytest.raises(UserError, match="one task a device; set `devices: 2`"):
        srun.check(4)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    with pytest.raises(UserError, match="the same number on each"):
        srun.per_node()


def test_lightning_learns_the_tasks_of_a_node_from_their_total(monkeypatch):
    for name, value in {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "")  # so that the test leaves nothing behind
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    srun.tell_lightning()
    assert SLURMEnvironment(auto_requeue=False).world_size() == 4
    assert os.environ["SLURM_NTASKS_PER_NODE"] == "2"


def test_temporary_files_go_to_the_nodes_own_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp")  # what it is where nobody has chosen; and undone after the test
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    use_node_scratch()
    assert os.environ["TMPDIR"] == "/tmp"  # no cluster job
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    use_node_scratch()
    assert os.environ["TMPDIR"] == str(tmp_path)
    monkeypatch.setenv("TMPDIR", "/the/users/own")
    use_node_scratch()
    assert os.environ["TMPDIR"] == "/the/users/own"


@pytest.fixture
def no_gpus_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    gpus.release_gpus()


def take_elsewhere(folder: Path, card: int) -> subprocess.Popen:
    """Another process that holds `card` until its input ends."""
    private = folder / f"sliceaug-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    script = (
        f"import fcntl, sys; file = open('{private}/gpu-{card}.lock', 'w'); "
        "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    return other


def test_programs_side_by_side_on_one_machine_take_different_gpus(no_gpus_taken, tmp_path, caplog):
    other = take_elsewhere(tmp_path, 0)
    gpus.take_gpus(2, on_machine=4)
    assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "1,2"
    gpus.release_gpus()
    gpus.take_gpus(4, on_machine=4)  # all of them: nothing to choose
    gpus.take_gpus(2, on_machine=2)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    gpus.take_gpus(3, on_machine=4)
    assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "1,2,3"
    gpus.release_gpus()
    other.communicate()
    gpus.take_gpus(1, on_machine=4)
    assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "0"


def test_the_cards_that_somebody_has_chosen_are_used(no_gpus_taken, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    gpus.take_gpus(1, on_machine=4)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
