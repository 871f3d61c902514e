"""A small study on the Slurm of the tests: its profile, its run in the background, and what Slurm knows of its jobs."""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import yaml
from waiting import Found, wait_for
from workflow import ROOT

from workflow_scripts.operations.plan import plan

GPU_JOBS = ("train_autoencoder", "extract_latents", "measure_reconstruction", "reconstruct_others", "train_generator")
GPU_JOBS += ("synthesize", "measure_cost", "train_segmentation", "predict_segmentation", "extract_real_features")
GPU_JOBS += ("extract_synthetic_features", "evaluate_control", "sample_control_sweep", "calibrate_memorisation")
GPU_JOBS += ("audit_memorisation",)
THREADS = 2  # of every job that has several: a local run with as many gives the same bytes
SMALL = {"mem_mb": 900, "runtime": 240}  # eight share a submission, on nodes that say they have 8,000 MB
LARGE = {"mem_mb": 2000, "runtime": 240, "nodes": 1}
LARGER = {"evaluate_images": {"mem_mb": 2000}}  # it holds the covariances of all planes: 983 MB in the tiny study
LARGER |= {"demo_cohort": {"mem_mb": 2000}}  # two processes of 670 MB


def write_profile(project: Path, partition: str = "gpu", **of_rules: dict) -> None:
    """Fit the shipped profile to the one-host Slurm, as a user fits it to a cluster: partitions, account, small nodes.

    `of_rules` are further resources by rule, e.g. train_generator={"runtime": 1}.
    """
    path = project / "slurm" / "config.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["default-resources"] |= {"slurm_account": "lab", "slurm_partition": "cpu"}
    made = [rule for rule in plan(["--configfile", str(ROOT / "tests/tiny.yaml")])[0].rules if rule.output]
    profile["set-threads"] = {rule.name: THREADS for rule in made if rule.resources["_cores"].value > 1}
    profile["set-resources"] = {
        name: (LARGE | {"slurm_partition": partition} if name in GPU_JOBS else SMALL)
        | LARGER.get(name, {})
        | of_rules.get(name, {})
        for name in (rule.name for rule in made)
    }
    profile |= {"slurm-init-seconds-before-status-checks": 2, "latency-wait": 10}
    path.write_text(yaml.safe_dump(profile, sort_keys=False))


def local_threads(project: Path) -> list[str]:
    """Options of a local run with as many threads a job as the profile of `write_profile` gives."""
    threads = yaml.safe_load((project / "slurm" / "config.yaml").read_text())["set-threads"]
    return ["--set-threads", *(f"{rule}={count}" for rule, count in threads.items())]


class Running:
    """`snakemake --profile slurm` in the background; its output goes to a file. `all` holds those of the current test."""

    all: ClassVar[list[Running]] = []

    def __init__(self, project: Path, *arguments: str):
        Running.all.append(self)
        self.log = project / f"snakemake-{time.time_ns()}.log"
        command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *map(str, arguments)]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=project, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def finish(self, timeout: float = 900) -> str:
        """Wait for a good end; the output."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"Snakemake did not end:\n{self.output[-4000:]}\n{ask_slurm('squeue')}") from None
        assert self.process.returncode == 0, self.output[-6000:]
        return self.output

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def job_of(self, rule: str) -> str:
        """Number of the newest Slurm job of `rule`, once it runs."""
        return self.wait_for(lambda: next(iter(jobs(rule, "RUNNING")), None), f"a running job of {rule}")

    def wait_for(self, look: Callable[[], Found], what: str) -> Found:
        """What `look` returns, as soon as it is true."""
        return wait_for(look, what, self.process, lambda: self.output, every_seconds=0.3)


def end_all() -> None:
    """End every Snakemake that a test has started and every job in the queue, so that the next test has the nodes."""
    while Running.all:
        Running.all.pop().kill()
    ask_slurm("scancel", "--user", getpass.getuser())
    wait_for(lambda: not ask_slurm("squeue", "--noheader").strip(), "an empty queue", seconds=60, every_seconds=0.3)


def ask_slurm(*command: str) -> str:
    """The output of one of Slurm's commands, which must succeed."""
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


def jobs(rule: str, state: str = "all") -> list[str]:
    """Numbers of the Slurm jobs of `rule` in `state`, newest first."""
    rows = ask_slurm("squeue", "-h", f"--states={state}", "-o", "%i|%k").splitlines()
    found = [row.split("|")[0] for row in rows if re.fullmatch(rf"rule_{rule}(_wildcards_.*)?", row.split("|")[1])]
    return sorted(found, key=lambda job: int(job.split("_")[0]), reverse=True)


def cluster_seconds(since: float) -> float:
    """Seconds from the first start to the last end of the jobs that Snakemake has submitted after `since` (of 1970)."""
    start = datetime.fromtimestamp(since).isoformat(timespec="seconds")
    rows = ask_slurm("sacct", "-X", "-D", "-n", "-P", "-S", start, "-o", "JobName,Start,End").splitlines()
    times = [row.split("|")[1:] for row in rows if row.startswith("sliceaug")]
    ran = [[datetime.fromisoformat(time) for time in pair] for pair in times if "Unknown" not in pair]
    return (max(end for _, end in ran) - min(begin for begin, _ in ran)).total_seconds() if ran else 0.0
