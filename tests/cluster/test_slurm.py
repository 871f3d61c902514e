"""`snakemake --profile slurm` on a real Slurm: the same bytes as a local run, and no job lost or done twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from cluster_study import GPU_JOBS, Running, ask_slurm, jobs, local_threads, write_profile
from workflow import ROOT, copy_project, planned, snakemake, without_programs

from workflow_scripts.operations.cluster import asks_of
from workflow_scripts.operations.plan import plan

COMPARED = ("**/model.safetensors", "**/model.json", "**/loss.csv", "**/dice.tsv")
# compute, cost and systems tell seconds, which differ from run to run
COMPARED += tuple(f"tables/{name}.*" for name in ("augmentation_ratio", "images", "control", "masks", "memorisation"))
STUDY = os.environ.get("SLICEAUG_SLURM_STUDY", "tests/tiny.yaml")  # or config/demo.yaml, which takes hours on two cores


def project_with(tmp_path: Path, name: str, config: dict) -> Path:
    """A copy of the project, its profile fit to the Slurm of the tests, and `config` as study.yaml."""
    project = tmp_path / name
    project.mkdir()
    copy_project(project)
    write_profile(project)
    (project / "study.yaml").write_text(yaml.safe_dump(config))
    return project


@pytest.mark.slurm
@pytest.mark.timeout(36000)
def test_the_study_on_slurm_ends_in_the_bytes_of_a_local_run(slurm, tmp_path):
    config = yaml.safe_load((ROOT / STUDY).read_text())
    local, cluster = (project_with(tmp_path, name, config) for name in ("local", "cluster"))
    limit_s = 3600 if STUDY == "tests/tiny.yaml" else 18000
    done = snakemake(local, "--configfile", "study.yaml", *local_threads(local), timeout=limit_s)
    assert done.returncode == 0, done.stdout[-4000:]
    output = Running(cluster, "--configfile", "study.yaml").finish(limit_s)

    whole, made = (project / "results" / config["run"] for project in (local, cluster))
    files = sorted(path.relative_to(whole) for pattern in COMPARED for path in whole.glob(pattern))
    assert {path.stem for path in files} >= {"model", "dice", "augmentation_ratio", "images", "control", "masks"}
    assert [str(path) for path in files if (whole / path).read_bytes() != (made / path).read_bytes()] == []
    assert not planned(cluster, "--configfile", "study.yaml", "--profile", "slurm")

    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", output)
    total = int(re.search(r"^total +(\d+)$", output, flags=re.MULTILINE)[1])
    assert len(submitted) == len(set(submitted)) < total  # small jobs share a submission
    assert not list((cluster / "logs" / "slurm").glob("**/*.log")), "Slurm keeps logs of failed jobs alone"


def many_arms() -> dict:
    """225 arms: 3 train sizes x 5 seeds x (real only, and 2 systems with 6 ratios and synthetic only)."""
    return {
        "run": "many",
        "data_root": "demo",
        "systems": ["slice_ldm", "lsgan_3d"],
        "demo_cohort": {"cases": 220},
        "splits": {"n_real": [20, 50, 100], "val": 20, "test": 100},
        "segmentation": {
            "ratios": [0, 0.5, 1, 2, 3, 4, 6],
            "synthetic_only_ratios": [1],
            "seeds": [0, 1, 2, 3, 4],
            "controls": {"switch_augmentation": False, "oversampled_ratios": []},
            "ladder": None,
        },
        "synthesis": {"block_size": 40},
    }


def test_a_study_of_225_arms_is_planned(tmp_path, capsys):
    project = project_with(tmp_path, "many", many_arms())
    began = time.monotonic()
    plan = planned(project, "--configfile", "study.yaml")
    with capsys.disabled():
        print(f"\na dry run of 225 arms, {plan.total()} jobs: {time.monotonic() - began:.1f} s")
    assert plan["train_segmentation"] == 225
    assert plan["predict_segmentation"] == plan["score_segmentation"] == 45  # each for five seeds


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_300_submissions_pass_without_a_lost_or_repeated_job(slurm, tmp_path):
    project = project_with(tmp_path, "many", many_arms())
    without_programs(project)
    profile = yaml.safe_load((project / "slurm" / "config.yaml").read_text())
    profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1)
    for resources in profile["set-resources"].values():
        resources["mem_mb"] = 500  # so that 32 run at once
    (project / "slurm" / "config.yaml").write_text(yaml.safe_dump(profile))

    dry = snakemake(project, "--configfile", "study.yaml", "--dry-run", "--", "segmentation").stdout
    arms = sorted(set(re.findall(r"results/many/\S+/seed~\d+/model\.safetensors", dry)))
    assert len(arms) == 225
    wanted = planned(project, "--configfile", "study.yaml", "--", *arms)
    output = Running(project, "--configfile", "study.yaml", "--", *arms).finish(7000)
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", output)
    assert len(submitted) == len(set(submitted)) >= 300
    ran = Counter((project / "ran.txt").read_text().split("\n")[:-1])
    assert [job for job, times in ran.items() if times > 1] == []
    assert Counter(job.split()[0] for job in ran) == wanted


def test_every_rule_of_the_study_has_its_resources_and_the_gpu_jobs_their_partition(monkeypatch):
    monkeypatch.chdir(ROOT)
    workflow, _ = plan(["--configfile", "tests/tiny.yaml"])
    profile = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text())
    asks = asks_of(workflow, attempts=3)
    for ask in asks:
        assert ask.peak_mb == 3 * ask.memory_mb > 0, f"{ask.rule}: memory must grow"
        assert ask.number("runtime") > 0, ask.rule
    rules = {rule.name for rule in workflow.rules}
    assert (
        {rule.name for rule in workflow.rules if rule.output and "gpu" in rule.resources}
        == set(profile["set-resources"])
        == set(GPU_JOBS)
    )
    assert set(profile["groups"]) <= rules


@pytest.mark.slurm
@pytest.mark.timeout(1800)
def test_local_limits_of_the_default_profile_do_not_hold_back_the_cluster(slurm, tmp_path):
    project = project_with(tmp_path, "two", many_arms() | {"preprocessing": {"shards": 1}})
    without_programs(project)
    rule, sleep = project / "rules" / "stage.smk", "if [ {rule} = train_autoencoder ]; then sleep 20; fi"
    rule.write_text(rule.read_text().replace("touch {output}", f"{sleep}; touch {{output}}"))
    targets = [f"results/many/n_real~{n}/autoencoder/slice_vae/model.json" for n in (20, 50)]
    output = Running(project, "--configfile", "study.yaml", "--", *targets).finish()
    assert output.count("rule_train_autoencoder") >= 2
    starts, ends = zip(*(slurm_times(job) for job in jobs("train_autoencoder")[:2]), strict=True)
    assert max(starts) < min(ends), "two trainings run at the same time, each on its own card"


def slurm_times(job: str) -> tuple[str, str]:
    row = ask_slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "Start,End").strip()
    return tuple(row.split("|"))


@pytest.mark.slurm
def test_two_tasks_on_two_nodes_train_one_network(slurm, tmp_path):
    """With srun's processes as with our own: the bytes of a training that shares its batch between two devices."""
    program = [sys.executable, str(ROOT / "tests" / "tiny_training.py"), "regression"]
    settings = ["--settings", '{"devices": 2}']
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    here = [str(tmp_path / "here"), str(tmp_path / "here.safetensors")]
    subprocess.run([*program, *here, *settings], env=environment, check=True)
    srun = ["srun", "-A", "lab", "-p", "cpu", "--nodes=2", "--ntasks=2", "--mem=1500"]
    there = [str(tmp_path / "there"), str(tmp_path / "there.safetensors")]
    done = subprocess.run([*srun, *program, *there, *settings], env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert Path(there[1]).read_bytes() == Path(here[1]).read_bytes()
    curves = [path.read_bytes() for path in (tmp_path / "here", tmp_path / "there") for path in path.rglob("loss.csv")]
    assert len(curves) == 2 and curves[0] == curves[1]


@pytest.mark.slurm
@pytest.mark.timeout(1800)
def test_a_profile_starts_a_training_over_several_nodes(slurm, tmp_path, monkeypatch):
    """As slurm/README.md shows it, with two tasks on each of two nodes."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # the nodes are this host, which no name server knows by their names
    config = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    autoencoder = config["system_settings"]["slice_ldm"]["autoencoder"]["training"]
    autoencoder |= {"devices": 4, "steps": 20}
    project = project_with(tmp_path, "nodes", config)
    tasks = {"mpi": "srun", "tasks_per_node": 2, "nodes": 2, "gpu": 4, "cpus_per_task": 1, "mem_mb": 3500}
    tasks["launcher"] = "srun --nodes=2 --ntasks=4 --ntasks-per-node=2 --cpus-per-task=1"
    write_profile(project, train_autoencoder=tasks)
    model = "results/tiny/n_real~4/autoencoder/slice_vae/model.json"
    Running(project, "--configfile", "study.yaml", "--", model).finish()
    assert json.loads((project / model).read_text())["training"]["devices"] == 4
    asked = ask_slurm("scontrol", "show", "job", jobs("train_autoencoder")[0])
    assert "NumNodes=2" in asked and "gres/gpu=4" in asked
    log = (project / "results/tiny/logs/n_real~4/train_autoencoder/slice_vae.log").read_text()
    assert log.count("autoencoder slice_vae: on 4 x CPU") == 4, "a line of each task"
