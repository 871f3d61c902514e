"""What slurm-check reads from Slurm, from Snakemake's plan and from a node, and what it says of it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from slurm_profile import fitted_profile
from workflow import ROOT, copy_project

from workflow_scripts.base.allocation import parse_minutes
from workflow_scripts.base.errors import UserError
from workflow_scripts.operations import node_report
from workflow_scripts.operations.cluster import Ask, asks_of, line_of, misfits, parse_gpus, parse_partitions
from workflow_scripts.operations.node_probe import Outcome, place
from workflow_scripts.operations.node_verdict import end_faults, gpu_fault, lock_warning, node_faults
from workflow_scripts.operations.plan import plan

SINFO = """cpu*|up|1-00:00:00|4|4000|(null)|2
gpu|up|2-12:00:00|64|512000|gpu:a100:4(S:0-1),shard:8|3
gpu|up|2-12:00:00|32|256000|gpu:v100:2|1
old|down|infinite|8|16000|(null)|1
"""
PROFILE = Path("slurm/config.yaml")

# --- what Slurm and Snakemake say ---------------------------------------------------------------------------------------


def test_partitions_with_their_kinds_of_nodes():
    known = parse_partitions(SINFO)
    assert [(name, item.is_default, item.is_up, item.max_minutes) for name, item in known.items()] == [
        ("cpu", True, True, 1440),
        ("gpu", False, True, 3600),
        ("old", False, False, math.inf),
    ]
    kinds = [(node.cpus, node.memory_mb, node.gpus) for node in known["gpu"].nodes]
    assert kinds == [(64, 512000, {"a100": 4}), (32, 256000, {"v100": 2})]
    assert str(known["cpu"]) == "4 CPUs, 4000 MB and no GPU (the default)"
    assert "32 CPUs, 256000 MB and 2 GPUs v100" in str(known["gpu"]) and "not up" in str(known["old"])


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("30:00", 30), ("4:00:00", 240), ("2-00:00:00", 2880), ("1-6", 1800), ("60", 60), ("0:30", 0.5)]
    + [(word, None) for word in ("infinite", "n/a", "UNLIMITED")],
)
def test_time_limits_in_minutes(limit, minutes):
    assert parse_minutes(limit) == minutes


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("gpu", {"": 1}),
        ("gpu:2", {"": 2}),
        ("gpu:a100", {"a100": 1}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:2,gpu:v100:1,tmpdisk:100", {"a100": 2, "v100": 1}),
        ("gpu:1g.10gb:7(IDX:0-6)", {"1g.10gb": 7}),
        ("gpu:a100:0,shard:8", {}),
    ],
)
def test_gpus_of_generic_resources(gres, gpus):
    assert parse_gpus(gres) == gpus


def test_the_line_of_a_name_is_found_outside_comments(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("# slurm_partition: gpu\nset-resources:\n  a: {slurm_partition: gpu}\n")
    assert line_of("gpu", path) == "line 3" and line_of("nowhere", path) == ""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project whose profile fits the Slurm of the tests."""
    folder = copy_project(tmp_path_factory.mktemp("a project"))
    fitted_profile(folder / "slurm", small=False)
    return folder


DEMO = ["--configfile", "config/demo.yaml"]


def test_the_plan_puts_rules_profile_and_configuration_together(project, monkeypatch):
    monkeypatch.chdir(project)
    workflow, options = plan(["--profile", "slurm", *DEMO])
    asks = {ask.rule: ask for ask in asks_of(workflow, attempts=options.retries + 1)}
    train, find = asks["train_generator"], asks["find_cases"]
    assert (train.partition, train.gpus, train.cpus, train.number("runtime")) == ("gpu", 1, 8, 1440)
    assert (train.memory_mb, train.peak_mb) == (16000, 4 * 16000)
    assert (find.partition, find.account, find.gpus, find.cpus) == ("cpu", "lab", 0, 1)
    assert not {"all", "tables"} & asks.keys()
    assert {rule for rule, ask in asks.items() if ask.gpus} == set(
        workflow.resource_settings.overwrite_resources
    ) & set(asks)
    assert workflow.resource_scopes.is_local("gpu")


def test_memory_grows_to_that_of_the_largest_node(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project)
    profile = yaml.safe_load((project / PROFILE).read_text())
    profile["default-resources"]["node_mem_mb"] = 20000
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile))
    asks = {ask.rule: ask for ask in asks_of(plan(["--profile", str(tmp_path), *DEMO])[0], attempts=4)}
    assert (asks["train_generator"].memory_mb, asks["train_generator"].peak_mb) == (16000, 20000)
    assert asks["find_cases"].peak_mb == 4000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "Couldn't parse config file"),
        ("", "YAML mapping"),
        ("executor: slurm\nslurm-quos: long", "unrecognized arguments: --slurm-quos=long"),
        ("set-resources: {train_generator: gpu}", "Invalid set-resources format"),
    ],
)
def test_a_mistake_in_a_profile_is_said(tmp_path, text, sentence):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        plan(["--profile", str(tmp_path)])


def test_a_study_that_cannot_be_planned_is_said_with_the_reason(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="ratios"):
        plan(["--config", "data_root=demo", "segmentation={ratios: [1]}"])


# --- the verdicts -------------------------------------------------------------------------------------------------------


def asking(rule: str = "train_generator", threads: int = 8, **resources) -> Ask:
    return Ask(rule, threads, resources)


@pytest.mark.parametrize(
    ("ask", "parts"),
    [
        (asking(threads=4, mem_mb=4000, runtime=1440), ()),
        (asking(slurm_partition="gpu", mem_mb=512000, gpu=4, runtime=3600), ()),
        (asking(slurm_partition="gpus"), ()),  # Slurm itself refuses it
        (asking(slurm_partition="cpu", gpu=1), ()),  # likewise
        (
            asking(threads=1, runtime=1441),
            ("ends jobs after 1440 minutes", "train_generator: {runtime: 1440}", "1441 minutes"),
        ),
        (asking(mem_mb=4000), ("largest node has 4 CPUs", "set-threads:\n  train_generator: 4  # asks for 8 CPUs")),
        (asking(threads=1, mem_mb=4001), ("4001 MB", "train_generator: {mem_mb: 4000}")),
        (asking(threads=1, mem_mb=4000, cpus_per_task=6), ("6 CPUs",)),
        (asking(slurm_partition="gpu", gpu=5), ("5 GPUs", "{gpu: 4}")),
        (asking(slurm_partition="gpu", gpu=1, gpu_model="h100"), ("1 GPUs h100", "{gpu_model: a100}")),
        (asking(slurm_partition="gpu", gres="gpu:a100:8"), ("8 GPUs",)),
        (asking(slurm_partition="gpu", gpu=8, nodes=2, tasks=8, threads=16), ()),
        (asking(slurm_partition="gpu", gpu=8, nodes=2, tasks=8, threads=20), ("80 CPUs", "train_generator: 16")),
        (asking(slurm_partition="old", threads=8, runtime=10**6), ()),  # no limit
        # 2 GPUs are on nodes of 32 CPUs, 64 CPUs are on others: both on one node nowhere but in the first kind
        (asking(slurm_partition="gpu", gpu=1, gpu_model="v100", threads=64), ("64 CPUs", "32 CPUs")),
    ],
)
def test_jobs_that_no_node_can_hold(ask, parts):
    errors, warnings = misfits([ask], PROFILE, parse_partitions(SINFO))
    assert (len(errors), warnings) == (bool(parts), [])
    assert all(part in errors[0] for part in parts), errors


def test_rules_with_the_same_fault_share_a_sentence_and_the_lines_are_those_of_a_profile():
    asks = [asking(rule, mem_mb=8000) for rule in ("a", "b", "c", "d", "e", "f")]
    (error,), _ = misfits(asks, PROFILE, parse_partitions(SINFO))
    assert "jobs of a, b, c, d and 2 more can never start in partition cpu" in error
    written = yaml.safe_load(error.partition("\n")[2])
    assert written == {
        "set-threads": dict.fromkeys("abcdef", 4),
        "set-resources": {rule: {"mem_mb": 4000} for rule in "abcdef"},
    }


def test_memory_that_outgrows_the_nodes_after_failures_is_warned_of():
    ask = Ask("train_generator", 4, {"mem_mb": 3000}, peak_mb=12000)
    errors, (warning,) = misfits([ask], PROFILE, parse_partitions(SINFO))
    assert not errors and "up to 12000 MB" in warning and "`node_mem_mb: 4000`" in warning


def test_a_place_is_what_the_resources_say_beside_sizes():
    resources = {
        "slurm_partition": "gpu",
        "constraint": "a100|h100",
        "gpu": 2,
        "mem_mb": 16000,
        "_cores": 8,
        "nodes": 1,
    }
    assert place(resources | {"runtime": 5, "launcher": "", "tmpdir": "<TBD>"}) == {
        "slurm_partition": "gpu",
        "constraint": "a100|h100",
        "gpu": 1,
    }
    assert place({"gpu": 0}) == {}


# --- what a node sees ---------------------------------------------------------------------------------------------------


def test_the_report_of_a_node_like_this_one(tmp_path):
    folder = tmp_path / "check"
    folder.mkdir()
    task = {"project": str(ROOT), "folder": str(folder), "data_root": str(folder / "nowhere"), "gpu": True}
    source = Path(node_report.__file__).read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", source, json.dumps(task)], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    seen = {}
    for line in done.stdout.splitlines():
        seen |= json.loads(line.removeprefix(node_report.MARK))
    assert seen["python"]["path"] == sys.executable and seen["project"] and seen["data_root"] is False
    assert seen["folder"]["sees"] and seen["folder"]["writes"] and seen["folder"]["locks"]
    assert seen["packages"] == node_report.packages() and seen["torch"]["version"]
    (fault,) = node_faults(seen, task, node_report.packages())
    assert f"cannot read data_root {folder}/nowhere" in fault


GOOD = {
    "host": "n1",
    "python": {"path": sys.executable, "version": ".".join(map(str, sys.version_info[:3]))},
    "project": True,
    "temporary_folder": "/tmp",
    "folder": {"sees": True, "writes": True, "locks": True, "free_gb": 10.0},
    "packages": node_report.packages(),
    "gpu": {"given": "0", "driver": "NVIDIA A100, 40960 MiB, 470.1"},
    "torch": {"version": "2.13.0+cu128", "cuda": "12.8", "device": "NVIDIA A100"},
}
TASK = {"project": str(ROOT), "folder": "/results/check", "data_root": "/data"}


def said(**changes) -> list[str]:
    """All that is said of a node that is good but for `changes`."""
    seen = GOOD | changes
    faults = [*node_faults(seen, TASK, node_report.packages()), gpu_fault(seen), lock_warning(seen, TASK)]
    return [fault for fault in faults if fault]


@pytest.mark.parametrize(
    ("sentence", "change"),
    [
        ("{node} does not see the project's folder", {"project": False}),
        ("is Python 3.9.2 on node {node}", {"python": {"path": sys.executable, "version": "3.9.2"}}),
        ("{node} does not see this Python", {"python": {"path": "/usr/bin/python3", "version": "3.11.2"}}),
        ("numpy is 1.0, not", {"packages": {**GOOD["packages"], "numpy": "1.0"}}),
        ("/results is not shared: node {node}", {"folder": {"sees": False, "writes": None, "locks": None}}),
        (
            "cannot be written on node {node} (Read-only",
            {"folder": {"sees": True, "writes": False, "locks": None, "error": "Read-only file system"}},
        ),
        ("torch does not work on node {node}: OSError", {"torch": {"error": "OSError: libc10.so"}}),
        (
            "GPU 0 on node {node}, but torch does not find it: the driver sees 'NVIDIA A100",
            {"torch": {**GOOD["torch"], "device": None}},
        ),
        ("this torch (2.13.0+cpu) is a CPU build", {"torch": {"version": "2.13.0+cpu", "cuda": None, "device": None}}),
        (
            "no driver answers there",
            {"gpu": {"given": None, "driver": None}, "torch": {**GOOD["torch"], "device": None}},
        ),
        ("no file locks on node {node}", {"folder": {**GOOD["folder"], "locks": False}}),
    ],
)
def test_what_a_node_lacks_is_named(sentence, change):
    assert said() == []
    (found,) = said(**change)
    assert sentence in found


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("refused", "Slurm refuses a small job: 'words'. It has cpu. Correct slurm_partition"),
        ("waiting", "a small job did not start in 7 s: Slurm says 'words'"),
        ("running", "a small job started (words) and did not end in 7 s"),
        ("failed", "a small job failed and left no report: 'words'"),
    ],
)
def test_a_small_job_without_a_good_end_says_why(trouble, sentence):
    (found,) = end_faults(Outcome({}, trouble, "words", 7.0), "a small job", "slurm/config.yaml (line 5)", "It has cpu")
    assert found.startswith(sentence)
