"""Before a long run: every broken set-up of a cluster is named in one sentence with its mend, and a good one passes.

With SLICEAUG_SLURM_TESTS=1 on a real Slurm of one host, whose nodes and login node share all files: where a fault is that
they do not, the checker runs in a mount namespace of its own and the jobs outside of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from slurm_profile import fitted_profile
from workflow import copy_project


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project whose profile fits the Slurm of the tests."""
    folder = copy_project(tmp_path_factory.mktemp("a project"))
    fitted_profile(folder / "slurm")
    return folder


@pytest.fixture
def path_without_slurm(tmp_path) -> str:
    """A PATH with what a machine has that is no login node."""
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "which"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return os.pathsep.join([str(Path(sys.executable).parent), str(tmp_path / "bin")])


def check(
    project: Path, *options: object, prefix=(), python=sys.executable, **environment
) -> subprocess.CompletedProcess:
    """Run the program in `project` on the demo's study; output and errors as text."""
    command = [
        *prefix,
        python,
        "-m",
        "workflow_scripts.programs.operations.slurm_check",
        "--configfile",
        "config/demo.yaml",
        *options,
    ]
    env = {**os.environ, "PYTHONPATH": "", **environment}
    return subprocess.run(list(map(str, command)), cwd=project, env=env, text=True, capture_output=True, timeout=300)


def errors_of(done: subprocess.CompletedProcess) -> list[str]:
    assert "Traceback" not in done.stderr, done.stderr
    return [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]


def only_error(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    (error,) = errors_of(done)
    return error


def test_no_slurm_commands_and_all_else_that_is_wrong_here(project, tmp_path, path_without_slurm):
    """A machine without Slurm, a lock that nobody installed, and results that cannot be written: all three are said."""
    broken = shutil.copytree(project, tmp_path / "project")
    lock = broken / "envs" / "requirements.lock"
    lock.write_text(lock.read_text().replace("numpy==", "numpy==0.") + "no-such-package==1.0\n")
    (broken / "blocked").write_text("")
    done = check(broken, "--config", "results=blocked", PATH=path_without_slurm)
    assert done.returncode == 2
    slurm_fault, lock_fault, results_fault = sorted(errors_of(done), key=lambda e: ("PATH" not in e, ".lock" not in e))
    assert "sinfo is not on the PATH" in slurm_fault
    assert "numpy is" in lock_fault and "no-such-package 1.0 is missing" in lock_fault and "make install" in lock_fault
    assert "Not a directory: 'blocked" in results_fault


def test_a_missing_lock_and_a_missing_profile_are_said(project, tmp_path, path_without_slurm):
    broken = shutil.copytree(project, tmp_path / "project")
    (broken / "envs" / "requirements.lock").unlink()
    done = check(broken, "--profile", "slurmy", PATH=path_without_slurm)
    found = "\n".join(errors_of(done))
    assert "requirements.lock is missing: `git checkout" in found
    assert "slurmy/config.yaml is missing" in found


def test_a_mistake_in_the_configuration_is_said_once(project, path_without_slurm):
    done = check(project, "--config", "data_root=/nowhere", PATH=path_without_slurm)
    assert sum("data_root" in error for error in errors_of(done)) == 1


# --- on a real Slurm ----------------------------------------------------------------------------------------------------


def left_behind(project: Path) -> list:
    """Jobs and files of the checker that outlasted it."""
    jobs = subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True, check=True).stdout.split()
    return [job for job in jobs if job.startswith("sliceaug-check")] + list(
        (project / "results").glob("**/.slurm-check*")
    )


@pytest.mark.slurm
def test_a_sound_cluster_passes_in_seconds_and_nothing_stays_behind(slurm, project):
    """Also from within a job: its variables would make the checker's jobs steps of that one."""
    started = time.monotonic()
    done = check(project, "--without-gpu", SLURM_JOB_ID="1", SLURM_NNODES="2", SLURM_NTASKS="4")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 90
    for part in (
        "This Slurm has cpu: 8 CPUs",
        "charge lab",
        "slurm_partition cpu",
        "slurm_partition gpu",
        "gpu 1",
        "node gpu",
    ):
        assert part in done.stdout
    assert "torch does not find it" in done.stderr  # stand-in GPUs: a warning here
    assert left_behind(project) == [] and not (project / "results").exists()


@pytest.mark.slurm
def test_a_gpu_that_torch_does_not_find(slurm, project):
    error = only_error(check(project))
    assert "Slurm gave GPU" in error and "torch does not find it" in error


@pytest.mark.slurm
def test_rules_that_ask_for_more_than_the_nodes_have_are_named_with_the_lines_to_write(slurm, project, tmp_path):
    folder = shutil.copytree(project, tmp_path / "project")
    large = fitted_profile(tmp_path / "large", small=False)
    done = check(folder, "--without-gpu", "--profile", large)
    error = only_error(done)
    assert "can never start in partition gpu: its largest node has 4 CPUs, 4000 MB and 2 GPUs a100" in error
    profile = yaml.safe_load((large / "config.yaml").read_text())
    lines = yaml.safe_load(done.stderr.partition("beside what stands there:\n")[2].partition("\nerror")[0])
    assert lines["set-threads"]["train_generator"] == 4 and lines["set-resources"]["train_generator"] == {
        "mem_mb": 4000
    }
    profile["set-threads"] = lines["set-threads"]
    for rule, resources in lines["set-resources"].items():
        profile["set-resources"][rule] |= resources
    profile["default-resources"]["node_mem_mb"] = 4000
    (large / "config.yaml").write_text(yaml.safe_dump(profile))
    done = check(folder, "--without-gpu", "--profile", large)
    assert done.returncode == 0 and "MB" not in done.stderr, done.stderr


@pytest.mark.slurm
def test_a_slurm_that_does_not_answer(slurm, project, tmp_path):
    text = (slurm / "etc" / "slurm.conf").read_text().replace("SlurmctldPort=16817", "SlurmctldPort=16999")
    (tmp_path / "slurm.conf").write_text(text.replace("MessageTimeout=10", "MessageTimeout=2"))
    error = only_error(check(project, SLURM_CONF=str(tmp_path / "slurm.conf")))
    assert error.startswith("Slurm does not answer: sinfo") and "scontrol ping" in error


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (
            {"gpu_partition": "gpus"},
            ("slurm_partition gpus", "line ", "invalid partition specified: gpus", "2 GPUs a100"),
        ),
        ({"account": "labs"}, ("account labs", "line ", "you may charge lab")),
        ({"gpu_partition": "cpu"}, ("slurm_partition cpu", "gpu 1", "as of train_autoencoder", "2 GPUs a100")),
        ({"constraint": "h100"}, ("a small job with", "was refused", "Invalid feature specification", "constraint")),
    ],
)
def test_names_that_the_cluster_does_not_have(slurm, project, tmp_path, names, parts):
    profile = fitted_profile(tmp_path / "profile", **names)
    done = check(project, "--without-gpu", "--profile", profile)
    assert done.returncode == 2, done.stdout + done.stderr
    for error in errors_of(done):
        assert all(part in error for part in parts), error


@pytest.mark.slurm
def test_a_job_that_does_not_start_is_given_up_with_the_reason(slurm, project, tmp_path):
    profile = fitted_profile(tmp_path / "profile", slurm_extra="--begin=now+1hour")
    error = only_error(check(project, "--timeout-s", "25", "--profile", profile))
    assert "did not start in 25 s: Slurm says 'BeginTime; Slurm expects it to start at" in error
    assert left_behind(project) == []


IN_NAMESPACE = ["unshare", "--mount", "sh", "-c"]


@pytest.mark.slurm
def test_results_that_are_not_shared(slurm, project, tmp_path):
    """The checker sees another folder under the same name than the jobs do."""
    prefix = [*IN_NAMESPACE, 'mount -t tmpfs none "$1" && shift && exec "$@"', "sh", tmp_path]
    error = only_error(check(project, "--without-gpu", "--config", f"results={tmp_path}", prefix=prefix))
    assert (
        f"results folder {tmp_path}/demo is not shared" in error
        and " and " in error.split("node ")[1].split(" does")[0]
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slurm
def test_results_that_are_read_only_here(slurm, project, tmp_path):
    bind = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    prefix = [*IN_NAMESPACE, bind, "sh", tmp_path]
    error = only_error(check(project, "--without-gpu", "--config", f"results={tmp_path}", prefix=prefix))
    assert f"results folder {tmp_path}/demo cannot be written here (Read-only file system)" in error


@pytest.mark.slurm
def test_results_that_are_read_only_on_the_nodes(slurm, project, tmp_path):
    subprocess.run(["mount", "--bind", tmp_path, tmp_path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tmp_path], check=True)
        prefix = [*IN_NAMESPACE, 'mount -o remount,bind,rw "$1" && shift && exec "$@"', "sh", tmp_path]
        error = only_error(check(project, "--without-gpu", "--config", f"results={tmp_path}", prefix=prefix))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert f"results folder {tmp_path}/demo cannot be written on node" in error and "Read-only file system" in error


@pytest.mark.slurm
@pytest.mark.parametrize("there", ["nothing", "no packages", "another version"])
def test_a_python_that_the_nodes_see_otherwise(slurm, project, tmp_path, there):
    """The virtual environment is mounted for the checker alone; the jobs see what lies beneath."""
    beneath = tmp_path / "venv"
    beneath.mkdir()
    if there == "no packages":
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", beneath], check=True)
    elif there == "another version":  # says so, and is Python in all else
        (beneath / "bin").mkdir()
        code = 'import platform; platform.python_version = lambda: "3.9.2"\n'
        (beneath / "sitecustomize.py").write_text(code)
        start = f'#!/bin/sh\nPYTHONPATH={beneath} exec -a "$0" {sys.executable} "$@"\n'
        (beneath / "bin" / "python").write_text(start.replace("/bin/sh", "/bin/bash"))
        (beneath / "bin" / "python").chmod(0o755)
    prefix = [*IN_NAMESPACE, 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh", sys.prefix, beneath]
    python = beneath / "bin" / "python"
    error = only_error(check(project, "--without-gpu", prefix=prefix, python=python))
    expected = {
        "nothing": f"does not see this Python, {python}",
        "no packages": "is missing",
        "another version": "is Python 3.9.2 on node",
    }
    assert expected[there] in error and "node cpu" in error and "gpu" in error


@pytest.mark.slurm
def test_a_project_that_the_nodes_do_not_see(slurm, project, tmp_path):
    hidden, results = tmp_path / "hidden", tmp_path / "results"
    hidden.mkdir()
    prefix = [*IN_NAMESPACE, 'mount --bind "$1" "$2" && cd "$2" && shift 2 && exec "$@"', "sh", project, hidden]
    done = check(project, "--without-gpu", "--config", f"results={results}", prefix=prefix)
    assert f"does not see the project's folder {hidden}" in only_error(done)
