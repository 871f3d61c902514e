"""A study whose every training is killed with -9 in the middle and run again ends in the same bytes as an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from workflow import CORES, ROOT, copy_project, snakemake

# The trainings, and the folder of each under .state/, where a checkpoint shows that it is well under way.
TRAININGS = {
    "train_autoencoder": "autoencoder_slice_vae",
    "train_generator": "generator_slice_ldm",
    "train_segmentation": "train_segmentation",
}
COMPARED = ("**/model.safetensors", "**/model.json", "**/loss.csv", "**/progress.csv", "**/dice.tsv", "tables/aug*")


def program_of(tree: psutil.Process, program: str) -> psutil.Process | None:
    for process in tree.children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if any(word.endswith(f".{program}") for word in command) and Path(command[0]).name.startswith("python"):
            return process
    return None


def kill_in_the_middle(project: Path, program: str, *arguments: str) -> None:
    """Run Snakemake until `program` has written a checkpoint; kill that program and then Snakemake itself with -9."""
    command = [sys.executable, "-m", "snakemake", "--cores", CORES, "--rerun-incomplete", *arguments]
    started = time.time()
    running = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tree = psutil.Process(running.pid)
    try:
        while running.poll() is None:
            victim = program_of(tree, program)
            states = (project / "results").glob(f"*/.state/n_real~*/{TRAININGS[program]}/**/*")
            if victim and any(
                path.is_file() and "checkpoint" in path.name and path.stat().st_mtime > started for path in states
            ):
                time.sleep(0.5)  # into the steps after that checkpoint
                victim.send_signal(signal.SIGKILL)
                return
            time.sleep(0.05)
        pytest.fail(f"{program} ended before it could be killed: give it more steps")
    finally:
        for process in [*tree.children(recursive=True), tree] if tree.is_running() else []:
            process.kill()
        running.wait()


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("config", ["tests/tiny.yaml", "config/demo.yaml"])
def test_killed_in_every_training_the_study_ends_in_the_same_bytes(tmp_path, config):
    settings = yaml.safe_load((ROOT / config).read_text())
    for part in ("autoencoder", "diffusion"):
        training = settings["system_settings"]["slice_ldm"][part]["training"]
        training.update(checkpoint_minutes=0, log_every_steps=min(20, training["steps"] // 4))
    settings["segmentation"].update(checkpoint_minutes=0, epochs=max(2, settings["segmentation"]["epochs"]))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(settings))
    arguments = ("--configfile", str(tmp_path / "study.yaml"))

    projects = {
        name: copy_project(tmp_path / name) for name in ("undisturbed", "killed") if not (tmp_path / name).mkdir()
    }
    done = snakemake(projects["undisturbed"], *arguments)
    assert done.returncode == 0, done.stdout[-4000:]
    for program in TRAININGS:
        kill_in_the_middle(projects["killed"], program, *arguments)
        snakemake(projects["killed"], "--unlock", *arguments)
    done = snakemake(projects["killed"], "--rerun-incomplete", *arguments)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "goes on from the checkpoint" in "".join(
        path.read_text() for path in (projects["killed"] / "results").glob("*/logs/**/train_*/**/*.log")
    )

    whole = projects["undisturbed"] / "results" / settings["run"]
    resumed = projects["killed"] / "results" / settings["run"]
    files = sorted(path.relative_to(whole) for pattern in COMPARED for path in whole.glob(pattern))
    assert len(files) > 10
    differ = [str(path) for path in files if (whole / path).read_bytes() != (resumed / path).read_bytes()]
    assert differ == []


KILLS = int(os.environ.get("SLICEAUG_KILLS", "30"))
# Parts of paths that tell of the run itself: seconds, memory, places.
TIMED = ("logs", "benchmarks", ".state", "compute", "cost", "systems.", "report", "study.json")


def kill_after(project: Path, seconds: float, *arguments: str) -> bool:
    """Run Snakemake and kill it and its jobs with -9, all at once, after so many seconds. False where it ended before."""
    command = [sys.executable, "-m", "snakemake", "--cores", CORES, "--rerun-incomplete", *arguments]
    running = subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        running.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        return True


def made_by(run: Path) -> set[Path]:
    """All that a run has made, but for what tells of times and places."""
    files = (path.relative_to(run) for path in run.rglob("*") if path.is_file())
    return {path for path in files if not any(word in part for part in path.parts for word in TIMED)}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_at_random_moments_the_study_ends_in_the_same_bytes(tmp_path):
    """Snakemake and its jobs, at moments that the seed draws; once the run is renamed in between, once .snakemake is lost.

    The moments are shares of what an undisturbed run took, so that all stages are met.
    """
    settings = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    for part in ("autoencoder", "diffusion"):
        settings["system_settings"]["slice_ldm"][part]["training"].update(steps=100, checkpoint_minutes=0)
    settings["segmentation"].update(checkpoint_minutes=0, epochs=2)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(settings))
    arguments = ("--configfile", str(tmp_path / "study.yaml"))
    projects = {
        name: copy_project(tmp_path / name) for name in ("undisturbed", "killed") if not (tmp_path / name).mkdir()
    }
    began = time.monotonic()
    assert snakemake(projects["killed"], "--unlock", *arguments).returncode == 0
    start_s, began = time.monotonic() - began, time.monotonic()
    done = snakemake(projects["undisturbed"], *arguments)
    assert done.returncode == 0, done.stdout[-4000:]
    whole_s, rng, killed = time.monotonic() - began, random.Random(0), projects["killed"]
    results, run, kills, named = killed / "results", settings["run"], 0, arguments
    for number in range(KILLS):
        kills += kill_after(killed, start_s + rng.random() * whole_s * 2 / KILLS, *named)
        print(f"{time.monotonic() - began:.0f} s: {kills} of {number + 1} killed", flush=True)
        if number in (0, KILLS - 1):
            assert snakemake(killed, "--unlock", *named).returncode == 0
        shutil.rmtree(killed / ".snakemake/locks", ignore_errors=True)  # all that --unlock does, without its start
        if number == KILLS // 3:
            (results / run).rename(results / "moved")
            run, named = "moved", (*arguments, "--config", "run=moved")
        if number == 2 * KILLS // 3:
            shutil.rmtree(killed / ".snakemake")
    done = snakemake(killed, "--rerun-incomplete", *named)
    assert done.returncode == 0, done.stdout[-4000:]
    assert kills >= KILLS // 2
    whole, resumed = projects["undisturbed"] / "results" / settings["run"], results / run
    files, others = made_by(whole), made_by(resumed)
    print(f"{kills} kills, {whole_s:.0f} s undisturbed, {time.monotonic() - began:.0f} s in all, {len(files)} files")
    assert len(files) > 100 and files ^ others == set()
    assert [str(path) for path in sorted(files) if (whole / path).read_bytes() != (resumed / path).read_bytes()] == []
