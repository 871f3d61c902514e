"""What slurm-check reads from Slurm, from Snakemake's plan and from a node, and what it says of it."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
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
from workflow_scripts.operations.node_probe import place
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
    assert asks["find_cases"].peak_mb == 4 * asks["find_cases"].memory_mb


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
    found = misfits([ask], PROFILE, parse_partitions(SINFO))
    assert [kind for kind, _ in found] == ["error"] * bool(parts)
    assert all(part in found[0][1] for part in parts), found


def test_rules_with_the_same_fault_share_a_sentence_and_the_lines_are_those_of_a_profile():
    asks = [asking(rule, mem_mb=8000) for rule in ("a", "b", "c", "d", "e", "f")]
    ((_, error),) = misfits(asks, PROFILE, parse_partitions(SINFO))
    assert "jobs of a, b, c, d and 2 more can never start in partition cpu" in error
    written = yaml.safe_load(error.partition("\n")[2])
    assert written == {
        "set-threads": dict.fromkeys("abcdef", 4),
        "set-resources": {rule: {"mem_mb": 4000} for rule in "abcdef"},
    }


def test_memory_that_outgrows_the_nodes_after_failures_is_warned_of():
    ask = Ask("train_generator", 4, {"mem_mb": 3000}, peak_mb=12000)
    ((kind, warning),) = misfits([ask], PROFILE, parse_partitions(SINFO))
    assert kind == "warning" and "up to 12000 MB" in warning and "`node_mem_mb: 4000`" in warning


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

TORCH = """
class cuda:
    is_available = staticmethod(lambda: {found})
    get_device_name = staticmethod(lambda number: "NVIDIA A100")
class version:
    cuda, hip = {cuda!r}, None
class Ones:
    __matmul__ = lambda self, other: self
    sum = lambda self: {product}
ones = lambda *shape, device: Ones()
__version__ = "2.13.0+x"
"""


def report(here: Path, torch: str = "", driver: str = "", **changes) -> list[tuple[str, str]]:
    """What the script says here, run from its source as a job runs it, beside another torch and another driver."""
    (here / "check").mkdir()
    (here / "bin").mkdir()
    if torch:
        (here / "torch.py").write_text(torch)
    if driver:
        (here / "bin/nvidia-smi").write_text(f"#!/bin/sh\necho {driver}\n")
        (here / "bin/nvidia-smi").chmod(0o755)
    task = {"project": str(ROOT), "folder": str(here / "check"), "data_root": None, "gpu": False, "wait_s": 0.1}
    task |= {
        "python": sys.executable,
        "version": platform.python_version(),
        "packages": node_report.packages(),
    } | changes
    source = Path(node_report.__file__).read_text(encoding="utf-8")
    environment = {"PATH": f"{here}/bin:{os.environ['PATH']}", "PYTHONPATH": str(here), "CUDA_VISIBLE_DEVICES": "0"}
    command = [sys.executable, "-c", source, json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line.removeprefix(node_report.MARK)) for line in done.stdout.splitlines()]
    assert len({node for _, _, node in lines}) == 1
    return [(kind, sentence) for kind, sentence, _ in lines]


def test_a_good_node_says_one_row(tmp_path):
    ((kind, row),) = report(tmp_path, TORCH.format(found=True, cuda="12.8", product=512), gpu=True)
    assert kind == "row" and "{node}, NVIDIA A100, " in row and "GB free for results, temporary files in /" in row


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("{node} does not see the project's folder /nowhere", {"project": "/nowhere"}),
        ("{node} cannot read data_root /nowhere", {"data_root": "/nowhere"}),
        ("/results is not shared: node {node}", {"folder": "/results/check"}),
        ("the results folder /proc cannot be written on node {node} (", {"folder": "/proc/self"}),
        ("on node {node} and 3.9.2 here", {"version": "3.9.2"}),
        ("{node} does not see this Python, /other/python", {"python": "/other/python"}),
        ("differ from those here (numpy is", {"packages": {"numpy": "1.0"}}),
        ("differ from those here (no-such 1.0 is missing)", {"packages": {"no-such": "1.0"}}),
        ("torch does not work on node {node}: OSError: libc10.so", {"torch": "raise OSError('libc10.so')"}),
        (
            "torch does not work on node {node}: ArithmeticError",
            {"gpu": True, "torch": TORCH.format(found=True, cuda="12.8", product=0)},
        ),
    ],
)
def test_what_a_node_lacks_is_named(tmp_path, sentence, changes):
    found = [text for kind, text in report(tmp_path, **changes) if kind == "error"]
    assert len(found) == 1 and sentence in found[0]


@pytest.mark.parametrize(
    ("cuda", "driver", "parts"),
    [
        (None, "", ("this torch (2.13.0+x) is a CPU build", "no driver answers there")),
        ("12.8", "", ("no driver answers there",)),
        ("12.8", "A100", ("the driver sees 'A100', too old for CUDA 12.8",)),
    ],
)
def test_why_torch_does_not_find_a_gpu_is_said(tmp_path, cuda, driver, parts):
    (kind, text), (_, row) = report(tmp_path, TORCH.format(found=False, cuda=cuda, product=0), driver, gpu=True)
    assert kind == "gpu" and text.startswith("Slurm gave GPU 0 on node {node}, but torch does not find it: ")
    assert text.partition("find it: ")[2].count(";") == len(parts) - 1 and all(part in text for part in parts)
    assert "no GPU, " in row


def test_a_file_system_without_locks_is_warned_of(tmp_path, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(node_report.fcntl, "flock", refuse)
    node_report.look_at_folder(tmp_path, 0)
    assert "no file locks on node {node}" in capsys.readouterr().out
