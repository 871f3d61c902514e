"""What is asked of Slurm for a job, of the study or of the cluster check, and what comes of it: without a Slurm."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest
import warm
import yaml
from workflow import ROOT, copy_project, snakemake

from workflow_scripts.operations.node_probe import look, place

# Each notes what it is told. sbatch then runs the job's command in its foreground, so that the test sees how it ends, and
# refuses the job; srun drops its own options and lets the job's Snakemake say what it would do.
SBATCH = """#!/bin/sh
printf '%s\\n' "$@" > "$NOTES/sbatch"
for word; do case $word in --wrap=*) SLURM_JOB_ID=7 SLURM_GPUS=4 sh -c "${word#--wrap=}" > "$NOTES/job" 2>&1 ;; esac; done
exit 1
"""
SRUN = """#!/bin/sh
printf '%s\\n' "$@" > "$NOTES/srun"
while case $1 in -*) true ;; *) false ;; esac; do shift; done
"$@" --dry-run --printshellcmds > "$NOTES/program" 2>&1
exit 1
"""
OTHERS = {"sinfo": "", "squeue": "", "scontrol": "echo MinJobAge = 600 sec", "sacct": "", "sacctmgr": "", "scancel": ""}


@pytest.fixture
def notes(tmp_path, monkeypatch) -> Path:
    """A folder that Slurm's commands, as far as Snakemake calls them here, leave their notes in."""
    (tmp_path / "bin").mkdir()
    scripts = {name: f"#!/bin/sh\n{line}\n" for name, line in OTHERS.items()}
    for name, script in (scripts | {"sbatch": SBATCH, "srun": SRUN}).items():
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path))
    monkeypatch.setattr(sys, "executable", warm.python())  # what the cluster check starts Snakemake and its jobs by
    return tmp_path


def test_a_job_asks_for_what_its_rule_says_whatever_this_machine_has(notes):
    project = notes / "project"
    project.mkdir()
    copy_project(project)
    config = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    config["system_settings"]["slice_ldm"]["autoencoder"]["training"]["devices"] = 4
    (project / "study.yaml").write_text(yaml.safe_dump(config))
    for name in ("n_real~4/train", "cohort/val"):
        (project / "results/tiny" / name).mkdir(parents=True)
        (project / "results/tiny" / name / "manifest.json").touch()
    options = ["--profile", "slurm", "--configfile", "study.yaml", "--retries", "0"]
    options += ["--slurm-init-seconds-before-status-checks", "1"]  # the profile's 20 would be waited for
    model = "results/tiny/n_real~4/autoencoder/slice_vae/model.json"
    done = snakemake(project, *options, "--allowed-rules", "train_autoencoder", "--", model)
    assert "SLURM sbatch failed" in done.stdout, done.stdout
    asked = (notes / "sbatch").read_text().split()
    assert {"--cpus-per-task=8", "--gpus=4", "--nodes=1"} <= set(asked)
    step = (notes / "srun").read_text().split()
    assert {"--cpus-per-task=8", "--gpus=4", "--nodes=1"} <= set(step)
    assert "--threads 8 " in (notes / "program").read_text()


# Runs the job at once, as $HOW says, and notes how it ended; srun runs its command.
RUNNING_SBATCH = """#!/bin/sh
test $HOW = refused && { echo 'sbatch: error: invalid partition specified: gpus' >&2; exit 1; }
while [ $# -gt 0 ]; do case $1 in --output) log=$2 ;; --wrap=*) wrap=${1#--wrap=} ;; -D) folder=$2 ;; esac; shift; done
test $HOW = broken && wrap='echo Illegal instruction; exit 132'
if SLURM_JOB_ID=7 sh -c "$wrap" > "$(dirname "$log")/7.log" 2>&1; then echo COMPLETED; else echo FAILED; fi > "$NOTES/state"
test $HOW = late && rm "$folder/report"
echo 7
"""
RUNNING_SRUN = '#!/bin/sh\nwhile case $1 in -*) true ;; *) false ;; esac; do shift; done\nexec "$@"\n'
QUEUE = '#!/bin/sh\necho "7|$(cat "$NOTES/state")"\n'


@pytest.mark.parametrize(
    ("how", "kinds", "fault"),
    [
        ("good", ["row"], ""),
        ("refused", [], "was refused: 'invalid partition specified: gpus'"),
        ("broken", ["row"], "failed: 'Illegal instruction'"),
        ("late", [], "not seen here within latency-wait"),
        ("no project", ["error", "row"], ""),
    ],
)
def test_a_small_job_of_the_cluster_check_tells_what_came_of_it(notes, monkeypatch, how, kinds, fault):
    for name, script in (("sbatch", RUNNING_SBATCH), ("srun", RUNNING_SRUN), ("squeue", QUEUE)):
        (notes / "bin" / name).write_text(script)
    monkeypatch.setenv("HOW", how)
    lines = "executor: slurm\njobs: 1\nlatency-wait: 1\nslurm-status-command: squeue\ndefault-resources: [runtime=5]\n"
    (notes / "config.yaml").write_text(lines)
    (notes / "results").mkdir()
    project = "/nowhere" if how == "no project" else str(ROOT)
    task = {"project": project, "folder": str(notes / "results"), "data_root": None, "wait_s": 1}
    task |= {"python": sys.executable, "version": platform.python_version(), "packages": {}}
    outcome = look(place({"slurm_partition": "cpu", "mem_mb": 99000, "_cores": 8}), notes / "config.yaml", task, 120)
    assert [kind for kind, *_ in outcome.said] == kinds, outcome
    assert fault in outcome.fault and bool(fault) == bool(outcome.fault), outcome
