"""What a cluster does to jobs, done to a running training on a real Slurm: each time the same bytes come out in the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from cluster_study import Running, ask_slurm, cluster_seconds, jobs, local_threads, write_profile
from waiting import checkpoint_under
from workflow import ROOT, copy_project, snakemake

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(3600)]
MODEL = Path("results/tiny/n_real~4/generator/slice_ldm")
STATE = Path("results/tiny/.state/n_real~4")
FILES = ("model.safetensors", "model.json", "loss.csv")
STEPS = int(os.environ.get("SLICEAUG_FAULT_STEPS", "400"))
LEAST_S = 100  # of the training alone: the time limit below is one minute, and every fault has to find it at work
START_S = 20  # imports and the first batch, on a slow machine


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
    benchmark = project / "results/tiny/benchmarks/n_real~4/train_generator/slice_ldm.tsv"
    seconds = float(pd.read_csv(benchmark, sep="\t")["s"].iloc[0]) - START_S
    assert seconds >= LEAST_S, f"{seconds:.0f} s of training: set SLICEAUG_FAULT_STEPS to more than {STEPS}"
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
    running.wait_for(checkpoint_under(project / STATE / "generator_slice_ldm", began - 5), "checkpoint")
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
    whole = ["-p", "gpu", "-N2", "--exclusive", "-A", "lab"]
    other = ask_slurm("sbatch", "--parsable", *whole, "-o", "/dev/null", "--wrap", "sleep 10").strip()
    running.wait_for(lambda: job not in jobs("train_generator", "RUNNING"), "preemption")
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
    steps = [step for step in psutil.process_iter(["cmdline"]) if f"[{job}." in " ".join(step.info["cmdline"] or [])]
    assert steps
    # as when the power goes: nobody may live long enough to tell the controller that the job has failed
    for process in [psutil.Process(daemon), *steps, *processes_of(job)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    try:
        running.finish()
    finally:
        restart_daemons(slurm)
    assert "Restarts=1" in ask_slurm("scontrol", "show", "job", job)
    assert "goes on from the checkpoint" in training_log(disturbed)
    same_bytes(study, disturbed)


def test_a_job_needs_more_memory_than_it_asked_for(study, disturbed):
    write_profile(disturbed, train_generator={"mem_mb": "attempt * 300"})
    running = start(disturbed, "--retries", "5")
    first = running.job_of("train_generator")
    output = running.finish()
    assert "OUT_OF_MEMORY" in output or "FAILED" in output
    newest = jobs("train_generator")[0]
    assert newest != first
    assert newest in jobs("train_generator", "COMPLETED") and first not in jobs("train_generator", "COMPLETED")
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
    replacement = second.wait_for(lambda: next(iter(set(jobs("train_generator", "RUNNING")) - {job}), None), "second")
    second.wait_for(lambda: f"(Slurm job {job}): waiting" in training_log(disturbed), "the replacement to wait")
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
        # unbuffered: what did not fit may not be written once more when the file is closed
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(1 << 20))
        running.wait_for(lambda: "could not be written" in training_log(disturbed), "warning")
        filler.unlink()
        running.finish()
    finally:
        subprocess.run(["umount", "--lazy", state], check=True)
    same_bytes(study, disturbed)


UNDISTURBED_S: list[float] = []  # what `test_nothing_happens`, the first of them, took


@pytest.fixture(autouse=True)
def told(request, capsys):
    """Print how long it took from the first start of a job to the last end of one, and how much of that the fault cost.

    By Slurm's clock, since Snakemake looks for the end of a job ever more rarely. Other work on the machine counts too.
    """
    began = time.time()
    yield
    seconds = cluster_seconds(began)
    if request.node.name == "test_nothing_happens":
        UNDISTURBED_S.append(seconds)
    lost = f", {seconds - UNDISTURBED_S[0]:+.0f} s by the fault" if UNDISTURBED_S else ""
    with capsys.disabled():
        print(f"\n{request.node.name}: {seconds:.0f} s{lost}")
