"""A training that is stopped at any moment and run again ends in the same bytes as one that was not."""

import json
import os
import random
import resource
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import torch
import warm
from tiny_training import SETTINGS, Regression, main
from waiting import rows_under, wait_for

from workflow_scripts.base.errors import UserError
from workflow_scripts.training.checkpoint import Checkpoints
from workflow_scripts.training.launch import train
from workflow_scripts.training.state import StateFolder

HELPERS = Path(__file__).parents[1] / "helpers"


def start(problem: str, folder: Path, out: Path, settings: dict, **task) -> subprocess.Popen:
    command = [warm.python(), str(HELPERS / "tiny_training.py"), problem, str(folder), str(out)]
    command += ["--settings", json.dumps(settings), "--task", json.dumps(task)]
    environment = os.environ | {"PYTHONPATH": str(HELPERS.parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def curve_of(folder: Path) -> bytes:
    return (folder / "tiny" / "0" / "loss.csv").read_bytes()


@pytest.mark.parametrize(
    ("problem", "precision", "kills"),
    [("regression", "32", (1, 6)), ("regression", "bf16", (4,)), ("adversaries", "32", (3,))],
)
def test_killed_with_9_and_run_again_ends_in_the_same_bytes(tmp_path, problem, precision, kills):
    settings = json.dumps({"precision": precision, "batch_size": 16 if problem == "adversaries" else 8})
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    main([problem, str(whole), str(tmp_path / "whole.safetensors"), "--settings", settings])
    for rows in kills:
        process = start(problem, cut, tmp_path / "cut.safetensors", json.loads(settings), pause_s=0.03)
        wait_for(rows_under(cut, rows), "a curve", process)
        time.sleep(random.Random(rows).uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut.safetensors").exists()
    main([problem, str(cut), str(tmp_path / "cut.safetensors"), "--settings", settings])
    assert (tmp_path / "cut.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert curve_of(cut) == curve_of(whole)


def test_sigterm_saves_says_so_and_exits_with_143(tmp_path, caplog):
    whole, out = tmp_path / "whole.safetensors", tmp_path / "out.safetensors"
    main(["regression", str(tmp_path / "whole"), str(whole)])
    rare = {"checkpoint_minutes": 60}  # the only checkpoint is that of the signal, and between two rows of the curve
    process = start("regression", tmp_path / "state", out, rare, pause_s=0.05)
    wait_for(rows_under(tmp_path / "state", 2), "a curve", process)
    time.sleep(0.12)
    process.terminate()
    errors = process.communicate(timeout=180)[1]
    assert process.returncode == 143
    assert "stopped by SIGTERM, a checkpoint of step" in errors and "Traceback" not in errors
    with caplog.at_level("INFO", logger="sliceaug"):
        main(["regression", str(tmp_path / "state"), str(out)])
    assert "goes on from the checkpoint of step" in caplog.text
    assert out.read_bytes() == whole.read_bytes()
    assert curve_of(tmp_path / "state") == curve_of(tmp_path / "whole")


def interrupted(tmp_path: Path) -> tuple[Path, dict]:
    """A state folder with the checkpoints of steps 20 and 25, and the weights of the run had it not been stopped."""
    with StateFolder(tmp_path / "whole", "tiny", "0") as state:
        whole = train(Regression(), SETTINGS, state, "training")["network"]
    with StateFolder(tmp_path / "cut", "tiny", "0") as state, pytest.raises(UserError, match="step 28"):
        train(Regression(bad_step=27), SETTINGS, state, "training")
    assert [path.name for path in sorted(state.folder.glob("*.pt"))] == [
        "checkpoint-000000020.pt",
        "checkpoint-000000025.pt",
    ]
    return tmp_path / "cut", whole


def resume(folder: Path) -> dict:
    with StateFolder(folder, "tiny", "0") as state:
        return train(Regression(), SETTINGS, state, "training")["network"]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "foreign"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, damage):
    folder, whole = interrupted(tmp_path)
    newest = folder / "tiny/0/checkpoint-000000025.pt"
    content = bytearray(newest.read_bytes())
    if damage == "one bit":
        with zipfile.ZipFile(newest) as archive:  # in a tensor, not in the padding between two
            tensor = next(item for item in archive.infolist() if "/data/" in item.filename and item.file_size >= 256)
            where = content.index(archive.read(tensor), tensor.header_offset)
        content[where + 100] ^= 1
    content = {"truncated": content[:-1000], "empty": b"", "foreign": b"PK no archive"}.get(damage, content)
    newest.write_bytes(content)
    with caplog.at_level("INFO", logger="sliceaug"):
        assert same(resume(folder), whole)
    assert "checkpoint-000000025.pt is damaged" in caplog.text
    assert "goes on from the checkpoint of step 20" in caplog.text


def test_with_all_checkpoints_damaged_it_begins_again_and_ends_the_same(tmp_path):
    folder, whole = interrupted(tmp_path)
    for path in folder.rglob("*.pt"):
        path.write_bytes(path.read_bytes()[:100])
    assert same(resume(folder), whole)


def test_a_finished_run_is_not_trained_again(tmp_path):
    with StateFolder(tmp_path, "tiny", "0") as state:
        first = train(Regression(), SETTINGS, state, "training")["network"]
        (state.folder / "loss.csv").unlink()

        class Forbidden(Regression):
            def batch(self, step):
                raise AssertionError("trained again")

        second = train(Forbidden(), SETTINGS, state, "training")["network"]
        assert (state.folder / "loss.csv").is_file()
    assert same(first, second)


def test_no_code_hides_in_a_checkpoint(tmp_path):
    """A checkpoint that would run code when unpickled is refused, not run."""

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    torch.save({"step": 1, "bomb": Bomb()}, tmp_path / "checkpoint-000000001.pt")
    assert Checkpoints(tmp_path).load() is None
    assert not (tmp_path / "exploded").exists()


@pytest.fixture
def small_files():
    """A disk that takes no file larger than the given number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_the_checkpoint_before_and_says_so(tmp_path, caplog, small_files):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1, "weights": torch.zeros(10)})
    small_files(20_000)
    with pytest.raises(OSError, match="too large"):
        checkpoints.save({"step": 2, "weights": torch.zeros(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000001.pt"]
    assert checkpoints.load()["step"] == 1


def test_a_training_on_a_full_disk_ends_with_a_sentence_and_resumes_later(tmp_path, caplog, small_files):
    folder, whole = interrupted(tmp_path)
    small_files(2500)  # room for rows of the curve, not for a checkpoint
    with pytest.raises(UserError, match=r"step 60 could not be written .*checkpoint of step 25 is kept"):
        resume(folder)
    assert "the checkpoint of step 30 could not be written" in caplog.text
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    assert same(resume(folder), whole)
