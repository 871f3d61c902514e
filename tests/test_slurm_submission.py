"""What the shipped profile asks of Slurm for a job, as sbatch, srun and the stage's program are told it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from workflow import ROOT, copy_project, snakemake

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
    model = "results/tiny/n_real~4/autoencoder/slice_vae/model.json"
    done = snakemake(project, *options, "--allowed-rules", "train_autoencoder", "--", model)
    assert "SLURM sbatch failed" in done.stdout, done.stdout
    asked = (notes / "sbatch").read_text().split()
    assert {"--cpus-per-task=8", "--gpus=4", "--nodes=1"} <= set(asked)
    step = (notes / "srun").read_text().split()
    assert {"--cpus-per-task=8", "--gpus=4", "--nodes=1"} <= set(step)
    assert "--threads 8 " in (notes / "program").read_text()
