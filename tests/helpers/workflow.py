"""Running Snakemake in a test: a copy of the project that the test may change, and the jobs that a dry run plans."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import warm

ROOT = Path(__file__).resolve().parents[2]
CORES = os.environ.get("SLICEAUG_TEST_CORES", "2")  # for the studies that tests run
PARTS = ("Snakefile", "rules", "config", "envs", "workflow_scripts", "slurm", "profiles")


def copy_project(folder: Path) -> Path:
    """The project's own files in `folder`, so that a test can edit code and configuration."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    return folder


def snakemake(project: Path, *arguments: str, timeout: float = 1800) -> subprocess.CompletedProcess:
    """Run Snakemake in `project` and wait; output and errors as text."""
    command = [warm.python(), "-m", "snakemake", "--cores", CORES, *map(str, arguments)]
    return subprocess.run(
        command, cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout
    )


def without_programs(project: Path) -> None:
    """Let every rule ask for its resources, note that it ran, and make empty outputs instead of running its program."""
    for path in (project / "rules").glob("*.smk"):
        text = re.sub(
            r"    shell:\n(        .*\n)+",
            '    shell:\n        "echo {rule} {output[0]} >> ran.txt; touch {output}"\n',
            path.read_text(),
        )
        path.write_text(text)


def planned(project: Path, *arguments: str) -> Counter:
    """Number of jobs that a dry run plans, by rule; named targets left out."""
    done = snakemake(project, "--quiet", "reason", "--dry-run", *arguments)
    assert done.returncode == 0, done.stdout
    rows = re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE)
    jobs = Counter({rule: int(count) for rule, count in rows})
    for target in ("total", "all", *TARGETS):
        jobs.pop(target, None)
    return jobs


TARGETS = (
    "cohort",
    "autoencoder",
    "latents",
    "generator",
    "synthetic",
    "segmentation",
    "evaluation",
    "tables",
    "export",
)
