"""Before a long run: every broken set-up of a cluster is named in one sentence with its mend, and a good one passes.

With SLICEAUG_SLURM_TESTS=1 on a real Slurm of one host, whose nodes and login node share all files: where a fault is that
they do not, the checker runs in a mount namespace of its own and the jobs outside of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
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


# --- the program --------------------------------------------------------------------------------------------------------


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


def fitted_profile(folder: Path, partition="cpu", gpu_partition="gpu", account="lab", **gpu_job) -> Path:
    """The shipped profile, its lines for the cluster filled in."""
    content = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    content["default-resources"] |= {"slurm_account": account, "slurm_partition": partition}
    rules = content["set-resources"]
    content["set-resources"] = {
        name: (rules[name] or {}) | {"slurm_partition": gpu_partition} | gpu_job for name in rules
    }
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def check(
    project: Path, *options: object, prefix=(), python=sys.executable, **environment
) -> subprocess.CompletedProcess:
    """Run the program in `project` on the demo's study; output and errors as text."""
    command = [*prefix, python, "-m", "workflow_scripts.slurm_check", "--configfile", "config/demo.yaml", *options]
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
    assert "sinfo, sbatch, srun, squeue, scancel are not on the PATH" in slurm_fault
    assert "numpy is" in lock_fault and "no-such-package 1.0 is missing" in lock_fault and "make install" in lock_fault
    assert "results folder" in results_fault and "blocked" in results_fault and "`results:`" in results_fault


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
    for part in ("partitions cpu, gpu", "accounts", "lab", "partition cpu ", "partition gpu, with a GPU", "node gpu"):
        assert part in done.stdout
    assert "torch does not find it" in done.stderr  # stand-in GPUs: a warning here
    assert left_behind(project) == [] and not (project / "results").exists()


@pytest.mark.slurm
def test_a_gpu_that_torch_does_not_find(slurm, project):
    error = only_error(check(project))
    assert "Slurm gave GPU" in error and "torch does not find it" in error


@pytest.mark.slurm
def test_rules_that_ask_for_more_than_the_nodes_have_are_warned_of(slurm, project, tmp_path):
    done = check(project, "--without-gpu")
    assert "warning: jobs of" in done.stderr and "can never start in partition gpu" in done.stderr
    assert "4 CPUs, 4000 MB and 2 GPUs; write at most 4" in done.stderr
    fitting = {"mem_mb": 3000, "cpus_per_task": 4, "runtime": 1440}
    fits = check(project, "--without-gpu", "--profile", fitted_profile(tmp_path / "fits", **fitting))
    assert "can never start in partition gpu" not in fits.stderr


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
            ("partition gpus (", "line", "does not exist here; there are cpu, gpu (with GPUs)"),
        ),
        ({"account": "labs"}, ("account labs (", "none of yours", "charge lab")),
        ({"gpu_partition": "cpu"}, ("partition cpu has no GPU", "train_autoencoder", "`slurm_partition: gpu`")),
        ({"constraint": "h100"}, ("Slurm refuses a small job in partition gpu, with a GPU", "feature", "constraint")),
    ],
)
def test_names_that_the_cluster_does_not_have(slurm, project, tmp_path, names, parts):
    profile = fitted_profile(tmp_path / "profile", **names)
    error = only_error(check(project, "--without-gpu", "--profile", profile))
    assert all(part in error for part in parts), error


@pytest.mark.slurm
def test_a_job_that_does_not_start_is_given_up_with_the_reason(slurm, project):
    """Jobs that depend on one that is still running wait, whatever else runs here."""
    command = ["sbatch", "--parsable", "--mem=50", "--time=5", "--output=/dev/null", "--wrap", "sleep 200"]
    blocker = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
    try:
        done = check(project, "--timeout-s", "6", SLURM_DEPENDENCY=f"afterok:{blocker}")
    finally:
        subprocess.run(["scancel", blocker], check=True)
    found = errors_of(done)
    assert done.returncode == 2 and len(found) == 2
    assert all("did not start in" in error and "Dependency" in error for error in found)
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
