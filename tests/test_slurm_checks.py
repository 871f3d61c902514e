"""What slurm-check reads from Slurm, from the profile, from Snakemake and from a node, and what it says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_profile import fitted_profile
from workflow import ROOT, copy_project

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.slurm import probe
from workflow_scripts.base.slurm.cluster_checks import check_accounts, check_fit, check_partitions
from workflow_scripts.base.slurm.findings import Findings
from workflow_scripts.base.slurm.jobs import Outcome, Place, place_of
from workflow_scripts.base.slurm.node_checks import check_outcome
from workflow_scripts.base.slurm.plan import Ask, asks_of_profile, parse_plan, plan, unknown_rules
from workflow_scripts.base.slurm.profile import read_profile
from workflow_scripts.base.slurm.queries import Accounts, parse_gpus, parse_minutes, parse_partitions


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project whose profile fits the Slurm of the tests."""
    folder = copy_project(tmp_path_factory.mktemp("a project"))
    fitted_profile(folder / "slurm")
    return folder


SINFO = """cpu*|up|1-00:00:00|4|4000|(null)|2
gpu|up|2-12:00:00|64|512000|gpu:a100:4(S:0-1),shard:8|3
gpu|up|2-12:00:00|32|256000|gpu:v100:2|1
old|down|infinite|8|16000|(null)|1
"""
PROFILE = """
default-resources:
  slurm_account: lab
  slurm_partition: cpu
  mem_mb: 2000
set-resources:
  # slurm_partition: nowhere
  train_autoencoder: &gpu_job {slurm_partition: gpu}
  train_generator: {<<: *gpu_job, runtime: 2880}
executor: slurm
jobs: 10
latency-wait: 20
set-resource-scopes: {gpu: local}
"""


def profile_of(folder: Path, text: str = PROFILE):
    (folder / "config.yaml").write_text(text)
    return read_profile(folder / "config.yaml")


# --- what Slurm, the profile and Snakemake say --------------------------------------------------------------------------


def test_partitions_with_their_kinds_of_nodes():
    known = parse_partitions(SINFO)
    assert list(known) == ["cpu", "gpu", "old"]
    assert known["cpu"].is_default and not known["gpu"].is_default
    assert (known["cpu"].max_minutes, known["gpu"].max_minutes, known["old"].max_minutes) == (1440, 3600, None)
    assert [(kind.count, kind.cpus, kind.memory_mb, kind.gpus) for kind in known["gpu"].nodes] == [
        (3, 64, 512000, {"a100": 4}),
        (1, 32, 256000, {"v100": 2}),
    ]
    assert known["gpu"].has_gpus and not known["cpu"].has_gpus and not known["old"].is_up


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
        ("gpu:2", {"": 2}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:2,gpu:v100:1,tmpdisk:100", {"a100": 2, "v100": 1}),
        ("gpu:1g.10gb:7(IDX:0-6)", {"1g.10gb": 7}),
        ("shard:8", {}),
    ],
)
def test_gpus_of_generic_resources(gres, gpus):
    assert parse_gpus(gres) == gpus


def test_a_profile_of_mappings_and_one_of_lists_say_the_same(tmp_path):
    (tmp_path / "lists").mkdir()
    mappings = profile_of(tmp_path)
    lists = profile_of(
        tmp_path / "lists",
        "default-resources: [slurm_account=lab, slurm_partition=cpu, mem_mb=2000]\n"
        "set-resources: ['train_autoencoder:slurm_partition=gpu', 'train_generator:slurm_partition=gpu',"
        " 'train_generator:runtime=2880']\n",
    )
    assert mappings.default == lists.default == {"slurm_account": "lab", "slurm_partition": "cpu", "mem_mb": 2000}
    assert mappings.of_rule == lists.of_rule
    assert mappings.resources("train_generator") == {**mappings.default, "slurm_partition": "gpu", "runtime": 2880}
    assert mappings.options["latency-wait"] == 20


def test_the_line_of_a_name_is_found_outside_comments(tmp_path):
    profile = profile_of(tmp_path)
    lines = PROFILE.splitlines()
    assert profile.where("gpu").endswith(
        f"line {lines.index('  train_autoencoder: &gpu_job {slurm_partition: gpu}') + 1}"
    )
    assert profile.where("nowhere") == str(profile.path)


def test_a_profile_says_whether_this_machines_cores_and_card_bound_its_jobs(tmp_path):
    scopes = "set-resource-scopes: {gpu: local}\n"
    assert scopes in PROFILE and profile_of(tmp_path).frees_jobs
    assert profile_of(tmp_path, PROFILE.replace(scopes, "set-resource-scopes: [gpu=local]\n")).frees_jobs
    assert not profile_of(tmp_path, PROFILE.replace(scopes, "")).frees_jobs


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "no valid YAML"),
        ("", "empty or no mapping"),
        ("default-resources: 3", "default-resources must be a mapping"),
        ("set-resources: {train_generator: gpu}", "set-resources of train_generator must be a mapping"),
    ],
)
def test_a_profile_that_cannot_be_read_is_named(tmp_path, text, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        profile_of(tmp_path, text)
    assert str(tmp_path / "config.yaml") in str(error.value)


def test_a_rule_that_snakemake_would_pass_over_is_named(tmp_path):
    assert unknown_rules(profile_of(tmp_path, "set-resources: {train_generater: {gpu: 1}}")) == ["train_generater"]


def test_what_a_rule_asks_for_is_its_largest_job():
    text = """
rule train_generator:
    output: a
    jobid: 3
    threads: 8
    resources: mem_mb=16000, tmpdir=<TBD>, runtime=1440, gpu=1, slurm_extra=--mail-type=END,FAIL, slurm_partition=gpu

    rule train_generator:
        output: b
        threads: 2
        resources: mem_mb=20000, tmpdir=<TBD>, runtime=60, gpu=1, slurm_extra=--mail-type=END,FAIL, slurm_partition=gpu

rule all:
    input: b
    resources: mem_mb=2000, tmpdir=<TBD>
"""
    (ask,) = parse_plan(text)
    assert (ask.rule, ask.cpus, ask.memory_mb, ask.number("runtime"), ask.gpus) == (
        "train_generator",
        8,
        20000,
        1440,
        1,
    )
    assert (ask.partition, ask.resources["slurm_extra"]) == ("gpu", "--mail-type=END,FAIL")


def test_the_plan_puts_rules_profile_and_configuration_together(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    profile = profile_of(tmp_path)
    asks = {ask.rule: ask for ask in plan(profile, ["--configfile", str(ROOT / "config" / "demo.yaml")])}
    assert (asks["train_generator"].partition, asks["train_generator"].gpus) == ("gpu", 1)
    assert asks["train_generator"].number("runtime") == 2880
    assert asks["train_generator"].cpus > 1  # as the rule says, not as this machine has
    assert (asks["find_cases"].partition, asks["find_cases"].account, asks["find_cases"].gpus) == ("cpu", "lab", 0)
    assert "all" not in asks


def test_the_shipped_profile_names_the_rules_that_ask_for_a_gpu(project, monkeypatch):
    monkeypatch.chdir(project)
    profile = read_profile(Path("slurm/config.yaml"))
    assert unknown_rules(profile) == []
    asks = plan(profile, ["--configfile", "config/demo.yaml"])
    assert {ask.rule for ask in asks if ask.gpus} == {ask.rule for ask in asks} & set(profile.of_rule)
    assert {ask.rule for ask in asks_of_profile(profile) if ask.gpus} == set(profile.of_rule)  # also without a plan


def test_a_study_that_cannot_be_planned_is_said_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="ratios"):
        plan(profile_of(tmp_path), ["--config", "segmentation={ratios: [1]}"])


# --- the verdicts -------------------------------------------------------------------------------------------------------


def sentences(check, asks, profile, known) -> list[str]:
    findings = Findings()
    check(findings, asks, profile, known)
    return findings.sentences(findings.errors) + findings.sentences(findings.warnings)


def asking(rule: str = "train_generator", threads: int = 8, **resources) -> Ask:
    return Ask(rule, threads, resources)


@pytest.mark.parametrize(
    ("ask", "parts"),
    [
        (asking(slurm_partition="cpu"), ()),
        (asking(), ()),  # the default partition
        (asking(slurm_partition="gpu", gpu=1), ()),
        (asking(slurm_partition="gpus", gpu=1), ("partition gpus", "does not exist", "cpu, gpu (with GPUs), old")),
        (asking(slurm_partition="cpu,gpus"), ("partition gpus", "does not exist")),
        (asking(slurm_partition="cpu", gpu=1), ("partition cpu has no GPU", "train_generator", "slurm_partition: gpu")),
        (asking(gpu=1), ("partition cpu, the default, has no GPU", "slurm_partition: gpu", "gpu: 0")),
        (asking(slurm_partition="cpu", gres="gpu:a100:2"), ("partition cpu has no GPU",)),
        (asking(slurm_partition="old"), ("partition old", "takes no jobs")),
    ],
)
def test_partitions_that_cannot_be_used(tmp_path, ask, parts):
    found = sentences(check_partitions, [ask], profile_of(tmp_path), parse_partitions(SINFO))
    assert len(found) == bool(parts)
    assert all(part in found[0] for part in parts)


def test_without_a_default_partition_one_must_be_given(tmp_path):
    known = parse_partitions(SINFO.replace("*", ""))
    (found,) = sentences(check_partitions, [asking(threads=1)], profile_of(tmp_path), known)
    assert "no default" in found and "slurm_partition: <one of them>" in found


@pytest.mark.parametrize(
    ("account", "known", "parts"),
    [
        ("lab", {"lab"}, ()),
        ("LAB", {"lab"}, ()),
        ("", {"lab"}, ()),
        ("labs", {"lab", "guest"}, ("account labs", "none of yours", "guest, lab")),
        ("lab,labs", {"lab"}, ("none of yours",)),
    ],
)
def test_accounts_that_cannot_be_used(tmp_path, account, known, parts):
    found = sentences(
        check_accounts, [asking(slurm_account=account)], profile_of(tmp_path), Accounts(frozenset(known), "lab")
    )
    assert len(found) == bool(parts)
    assert all(part in found[0] for part in parts)


@pytest.mark.parametrize(
    ("ask", "parts"),
    [
        (asking(threads=4, mem_mb=4000, runtime=1440), ()),
        (asking(slurm_partition="gpu", mem_mb=512000, gpu=4, runtime=3600), ()),
        (asking(threads=1, runtime=1441), ("1441 minutes", "after 1440", "runtime: 1440")),
        (asking(mem_mb=4000), ("8 CPUs", "has 4 CPUs", "at most 4 for them in set-threads")),
        (asking(threads=1, mem_mb=4001), ("4001 MB", "mem_mb: 4000")),
        (asking(threads=1, mem_mb=4000, cpus_per_task=6), ("6 CPUs",)),
        (asking(slurm_partition="gpu", gpu=5), ("5 GPUs", "4 GPUs")),
        (asking(slurm_partition="gpu", gpu=1, gpu_model="h100"), ("1 h100 GPU on", "a100")),
        (asking(slurm_partition="gpu", gpu=8, nodes=2, tasks=8, threads=16), ()),
        (asking(slurm_partition="gpu", gpu=8, nodes=2, tasks=8, threads=20), ("80 CPUs",)),
        (asking(slurm_partition="old", threads=8, runtime=10**6), ()),  # no limit
        # 2 GPUs are on nodes of 32 CPUs, 64 CPUs are on others: both on one node nowhere but in the first kind
        (asking(slurm_partition="gpu", gpu=1, gpu_model="v100", threads=64), ("64 CPUs",)),
    ],
)
def test_jobs_that_no_node_can_hold(tmp_path, ask, parts):
    found = sentences(check_fit, [ask], profile_of(tmp_path), parse_partitions(SINFO))
    assert len(found) == bool(parts)
    assert all(part in found[0] for part in parts)


def test_rules_with_the_same_fault_share_a_sentence(tmp_path):
    asks = [asking(rule, slurm_partition="cpu", gpu=1) for rule in ("a", "b", "c", "d", "e", "f")]
    (found,) = sentences(check_partitions, asks, profile_of(tmp_path), parse_partitions(SINFO))
    assert "a, b, c, d and 2 more" in found


def test_a_place_is_what_the_resources_say(tmp_path):
    profile = profile_of(tmp_path, PROFILE + "slurm-qos: long\n")
    place = place_of(asking(slurm_partition="gpu", slurm_account="lab", constraint="a100|h100", gpu=2), profile)
    assert place.command_line() == [
        *("--partition=gpu", "--account=lab", "--constraint=a100|h100", "--qos=long", "--gpus=1"),
    ]
    assert place_of(asking(gpu_model="a100", gpu=2), profile).options[-1] == "--gpus=a100:1"
    assert place_of(asking(gres="gpu:a100:2"), profile).options[-1] == "--gres=gpu:a100:2"
    assert not place_of(asking(gpu=0), profile).gpu


# --- what a node sees ---------------------------------------------------------------------------------------------------


def look_around(folder: Path, *, gpu: bool = False) -> dict:
    """The report of the probe, run here from its source as a job runs it."""
    task = {"project": str(ROOT), "folder": str(folder), "data_root": str(folder / "nowhere"), "gpu": gpu}
    source = Path(probe.__file__).read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", source, json.dumps(task)], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    seen = {}
    for line in done.stdout.splitlines():
        seen.update(json.loads(line.removeprefix(probe.MARK)))
    return seen


def verdict(seen: dict, nonce_folder: Path, profile, **changes) -> Findings:
    findings = Findings()
    outcome = Outcome(Place("gpu", gpu=changes.pop("gpu", False)), {**seen, **changes})
    task = {"project": str(ROOT), "folder": str(nonce_folder), "data_root": "/data"}
    here = probe.packages()
    check_outcome(findings, outcome, task=task, here=here, need_gpu=True, users="train", profile=profile)
    return findings


def test_the_probe_sees_a_shared_folder_and_the_same_python(tmp_path):
    folder = tmp_path / "nonce"
    folder.mkdir()
    (folder / probe.NONCE).write_text(folder.name)
    seen = look_around(folder)
    assert seen["python"]["path"] == sys.executable and seen["project"] and seen["data_root"] is False
    assert seen["folder"]["sees"] and seen["folder"]["writes"] and seen["folder"]["locks"]
    assert (folder / seen["folder"]["reply"]).read_text() == folder.name
    assert seen["packages"] == probe.packages()
    (fault,) = verdict(seen, folder, profile_of(tmp_path)).errors
    assert "cannot read data_root /data" in fault


def test_what_a_node_lacks_is_named(tmp_path):
    profile, folder = profile_of(tmp_path), tmp_path / "nonce"
    good = {
        "host": "n1",
        "python": {"path": sys.executable, "version": ".".join(map(str, sys.version_info[:3]))},
        "project": True,
        "temporary_folder": "/tmp",
        "folder": {"sees": True, "writes": True, "locks": True, "free_gb": 10.0, "reply": "x"},
        "packages": probe.packages(),
        "gpu": {"given": "0", "driver": "NVIDIA A100, 40960 MiB, 470.1"},
        "torch": {"version": "2.13.0+cu128", "cuda": "12.8", "device": "NVIDIA A100"},
    }
    assert not verdict(good, folder, profile, gpu=True).errors
    faults = {
        "n1 does not see the project's folder": {"project": False},
        "is Python 3.9.2 on node n1": {"python": {"path": sys.executable, "version": "3.9.2"}},
        "n1 does not see this Python": {"python": {"path": "/usr/bin/python3", "version": "3.11.2"}},
        "numpy 1.0 is": {"packages": {**good["packages"], "numpy": "1.0"}},
        f"{tmp_path} is not shared: node n1": {"folder": {"sees": False, "writes": None, "locks": None}},
        "cannot be written on node n1 (Read-only": {
            "folder": {**good["folder"], "writes": False, "error": "Read-only file system"}
        },
        "torch does not work on node n1: OSError": {"torch": {"error": "OSError: libc10.so"}},
        "GPU 0 on node n1, but torch does not find it: the driver sees 'NVIDIA A100": {
            "torch": {**good["torch"], "device": None}
        },
        "this torch (2.13.0+cpu) is a CPU build": {"torch": {"version": "2.13.0+cpu", "cuda": None, "device": None}},
    }
    for part, change in faults.items():
        findings = verdict(good, folder, profile, gpu=True, **change)
        (found,) = findings.sentences(findings.errors)
        assert part.replace("numpy 1.0 is", "numpy is 1.0") in found
    findings = verdict(good, folder, profile, folder={**good["folder"], "locks": False})
    assert not findings.errors and "no file locks on node n1" in findings.sentences(findings.warnings)[0]
