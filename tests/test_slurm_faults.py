"""What a cluster does to jobs, done to a running training on a real Slurm: each time the same bytes come out in the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml
from cluster_study import (
    Running,
    ask_slurm,
    checkpoint_under,
    jobs,
    local_threads,
    wait_for,
    write_profile,
)
from workflow import ROOT, copy_project, snakemake

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(2400)]
MODEL = Path("results/tiny/n_real~4/generator/slice_ldm")
STATE = Path("results/tiny/.state")
FILES = ("model.safetensors", "model.json", "loss.csv")
STEPS = int(os.environ.get("SLICEAUG_FAULT_STEPS", "1200"))  # a minute and more: the time limit below is one minute


@pytest.fixture(scope="module")
def study(slurm, tmp_path_factory) -> Path:
    """A project whose study was run to its generator here, undisturbed."""
    project = copy_project(tmp_path_factory.mktemp("undisturbed"))
    config = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    config["system_settings"]["slice_ldm"]["diffusion"]["training"] |= {"steps": STEPS, "checkpoint_minutes": 0.05}
    (project / "study.yaml").write_text(yaml.safe_dump(config))
    write_profile(project)
    done = snakemake(project, "--configfile", "study.yaml", *local_threads(project), "--", str(MODEL / "model.json"))
    assert done.returncode == 0, done.stdout[-4000:]
    return project


@pytest.fixture
def disturbed(study, tmp_path):
    """A copy of it in which the generator is still to be trained, and the check of what came of that."""
    project = tmp_path / "disturbed"
    shutil.copytree(study, project)
    shutil.rmtree(project / MODEL)
    for folder in (project / STATE).glob("generator_*"):
        shutil.rmtree(folder)
    return project


def start(project: Path, *arguments: str) -> Running:
    return Running(project, "--configfile", "study.yaml", *arguments, "--", str(MODEL / "model.json"))


def in_the_middle(running: Running, project: Path) -> str:
    """Number of the training's job, once it has written a checkpoint."""
    began = time.time()
    job = running.job_of("train_generator")
    wait_for(checkpoint_under(project / STATE / "generator_slice_ldm", began - 5), "checkpoint", running)
    return job


def same_bytes(study: Path, project: Path) -> None:
    differ = [name for name in FILES if (study / MODEL / name).read_bytes() != (project / MODEL / name).read_bytes()]
    assert differ == []


def training_log(project: Path) -> str:
    return (project / "results/tiny/logs/n_real~4/train_generator/slice_ldm.log").read_text()


def processes_of(job: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_JOB_ID") == job:
                found.append(process)
        except psutil.Error:
            continue
    return found


def restart_daemons(slurm: Path) -> None:
    script = ROOT / "tests" / "cluster" / "start_slurm.sh"
    subprocess.run([script], env={**os.environ, "SLURM_ROOT": str(slurm)}, check=True, capture_output=True)


def test_nothing_happens(study, disturbed):
    start(disturbed).finish()
    same_bytes(study, disturbed)


def test_a_training_is_cancelled_with_scancel(study, disturbed):
    running = start(disturbed)
    job = in_the_middle(running, disturbed)
    ask_slurm("scancel", job)
    running.finish()
    assert jobs("train_generator")[0] != job
    assert "goes on from the checkpoint" in training_log(disturbed)
    same_bytes(study, disturbed)


def test_a_job_with_higher_priority_takes_the_nodes(study, disturbed):
    write_profile(disturbed, partition="scavenge")
    running = start(disturbed)
    job = in_the_middle(running, disturbed)
    other = ask_slurm(
        "sbatch", "--parsable", "-p", "gpu", "-N2", "--exclusive", "-A", "lab", "--wrap", "sleep 10"
    ).strip()
    wait_for(lambda: job not in jobs("train_generator", "RUNNING"), "preemption", running)
    running.finish()
    assert "Restarts=1" in ask_slurm("scontrol", "show", "job", job)
    assert "COMPLETED" in ask_slurm("squeue", "-h", "--states=all", "-j", other, "-o", "%T")
    assert "goes on from the checkpoint" in training_log(disturbed)
    same_bytes(study, disturbed)


def test_a_node_is_lost_with_its_job(slurm, study, disturbed):
    running = start(disturbed)
    job = in_the_middle(running, disturbed)
    node = ask_slurm("squeue", "-h", "-j", job, "-o", "%N").strip()
    daemon = int((slurm / "run" / f"slurmd.{node}.pid").read_text())
    victims = [psutil.Process(daemon), *processes_of(job)]
    victims += [step for step in psutil.process_iter(["cmdline"]) if f"[{job}." in " ".join(step.info["cmdline"] or [])]
    for process in victims:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    try:
        running.finish()
    finally:
        restart_daemons(slurm)
    assert "goes on from the checkpoint" in training_log(disturbed)
    same_bytes(study, disturbed)


def test_a_job_needs_more_memory_than_it_asked_for(study, disturbed):
    write_profile(disturbed, train_generator={"mem_mb": "attempt * 500"})
    running = start(disturbed, "--retries", "5")
    output = running.finish()
    assert "OUT_OF_MEMORY" in output or "FAILED" in output
    assert len(jobs("train_generator", "COMPLETED")) >= 1
    same_bytes(study, disturbed)


def test_a_training_is_longer_than_its_time_limit(study, disturbed):
    write_profile(disturbed, train_generator={"runtime": 1})
    running = start(disturbed, "--retries", "0")  # going back to the queue is no failure
    job = running.job_of("train_generator")
    running.finish()
    assert jobs("train_generator")[0] == job
    assert "Restarts=0" not in ask_slurm("scontrol", "show", "job", job)
    assert "goes on from the checkpoint" in training_log(disturbed)
    same_bytes(study, disturbed)


def test_snakemake_is_killed_and_started_again_while_its_job_runs(study, disturbed):
    first = start(disturbed)
    job = in_the_middle(first, disturbed)
    first.kill()
    assert job in jobs("train_generator", "RUNNING")
    done = snakemake(disturbed, "--configfile", "study.yaml", "--unlock")
    assert done.returncode == 0, done.stdout
    second = start(disturbed)
    replacement = wait_for(lambda: next(iter(set(jobs("train_generator", "RUNNING")) - {job}), None), "second", second)
    wait_for(lambda: f"(Slurm job {job}): waiting" in training_log(disturbed), "the replacement to wait", second)
    second.finish()
    assert "COMPLETED" in ask_slurm("squeue", "-h", "--states=all", "-j", f"{job},{replacement}", "-o", "%T")
    same_bytes(study, disturbed)


def test_the_controller_is_killed_and_started_again(slurm, study, disturbed):
    running = start(disturbed)
    job = in_the_middle(running, disturbed)
    os.kill(int((slurm / "run" / "slurmctld.pid").read_text()), signal.SIGKILL)
    time.sleep(10)
    restart_daemons(slurm)
    running.finish()
    assert jobs("train_generator")[0] == job, "the job itself saw nothing of it"
    same_bytes(study, disturbed)


def test_the_disk_is_full_when_a_checkpoint_is_due(study, disturbed):
    state = disturbed / STATE
    shutil.rmtree(state)
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", state], check=True)
    try:
        running = start(disturbed)
        in_the_middle(running, disturbed)
        filler = state / "filler"
        with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        wait_for(lambda: "could not be written" in training_log(disturbed), "warning", running)
        filler.unlink()
        running.finish()
    finally:
        subprocess.run(["umount", "--lazy", state], check=True)
    same_bytes(study, disturbed)


@pytest.fixture(autouse=True)
def told(request, capsys):
    """Print how long the fault's run took: `pytest -rP`, or -s."""
    began = time.monotonic()
    yield
    with capsys.disabled():
        print(f"\n{request.node.name}: {time.monotonic() - began:.0f} s")
