"""Whether what a small job saw on a compute node is what the study needs there: pure functions of its report."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from ..provenance import ROOT
from .findings import Findings, some
from .jobs import Outcome
from .probe import normalised
from .profile import Profile

LOCK = ROOT / "envs" / "requirements.lock"


def read_lock(path: Path = LOCK) -> dict[str, str] | None:
    """Version of each package of the lock, by normalised name; None where the file is missing."""
    if not path.is_file():
        return None
    pins = (line.strip().split("==") for line in path.read_text(encoding="utf-8").splitlines() if "==" in line)
    return {normalised(pin[0]): pin[1] for pin in pins if not pin[0].startswith("#")}


def differences(installed: Mapping[str, str], lock: Mapping[str, str]) -> str:
    """What is installed otherwise than in the lock, in words; empty where nothing is."""
    wrong = [
        f"{name} is {installed[name]}, not {version}" if name in installed else f"{name} {version} is missing"
        for name, version in lock.items()
        if installed.get(name) != version
    ]
    return some(wrong)


def check_outcome(
    findings: Findings,
    outcome: Outcome,
    *,
    task: dict,
    here: Mapping[str, str],
    need_gpu: bool,
    users: str,
    profile: Profile,
) -> None:
    """What a probe came to. `task` is what it was given, `here` the packages of the login node."""
    place, seen = outcome.place, outcome.seen
    where = f"partition {place.partition or '(the default)'}{', with a GPU' if place.gpu else ''}"
    node = seen.get("host", "")
    _check_end(findings, outcome, where, users, profile)
    if not seen:
        return
    if not seen.get("project", "python" not in seen):
        findings.error(
            f"node {{node}} does not see the project's folder {task['project']}: move it to a folder that all nodes share "
            "(home or project space, not a local disk)",
            node,
        )
    right_python = _check_python(findings, seen, node)
    if right_python and "packages" in seen:
        lock = read_lock()
        there = differences(seen["packages"], lock or {})
        if there and there != differences(here, lock or {}):
            findings.error(
                f"packages on node {{node}} differ from envs/requirements.lock ({there}): {sys.executable} there is another "
                "than here; make the virtual environment in a folder that all nodes share, with `make install`",
                node,
            )
            right_python = False
    if seen.get("data_root") is False:
        findings.error(
            f"node {{node}} cannot read data_root {task['data_root']}: move the cases to a folder that all nodes share, and "
            "set `data_root:` to it",
            node,
        )
    if "folder" in seen:
        _check_folder(findings, seen["folder"], node, Path(task["folder"]).parent)
    torch = seen.get("torch")
    if right_python and torch and torch.get("error"):
        findings.error(f"torch does not work on node {{node}}: {torch['error']}", node)
    elif right_python and torch and place.gpu and torch["device"] is None:
        report = findings.error if need_gpu else findings.warning
        report(_no_gpu_found(seen["gpu"], torch), node)
    if outcome.trouble is None:
        findings.row(where, _summary(outcome, node))


def _check_end(findings: Findings, outcome: Outcome, where: str, users: str, profile: Profile) -> None:
    seconds, words = f"{outcome.seconds:.0f} s", outcome.words
    if outcome.trouble == "refused":
        findings.error(
            f"Slurm refuses a small job in {where}, as of {users}: {words!r}. Correct what {profile.path} says of them "
            "(slurm_partition, slurm_account, constraint, qos, gres)"
        )
    elif outcome.trouble == "waiting":
        findings.error(
            f"a small job in {where}, as of {users}, did not start in {seconds}: Slurm says {words!r}. If the cluster is "
            "busy, wait longer (`--timeout-s 1800`); if it is a limit of yours or of the partition, take another one in "
            f"{profile.path}. The job was cancelled"
        )
    elif outcome.trouble == "running":
        findings.error(
            f"a small job in {where} started ({words}) and did not end in {seconds}: Python or the file system is slow "
            "there, try `--timeout-s 600`. The job was cancelled"
        )
    elif outcome.trouble == "failed":
        findings.error(f"a small job in {where} broke off on node {{node}}: {words!r}", outcome.seen.get("host", ""))
    elif outcome.trouble == "silent" or not outcome.seen:
        findings.error(
            f"a small job in {where} ended and its output did not come back: the compute nodes cannot reach this machine "
            "(srun); run this on a login node of the cluster"
        )


def _check_python(findings: Findings, seen: dict, node: str) -> bool:
    python = seen.get("python")
    shared = "make the virtual environment, and the Python it comes from, in a folder that all nodes share"
    if python is None or Path(python["path"]) != Path(sys.executable):
        findings.error(f"node {{node}} does not see this Python, {sys.executable}: {shared}", node)
        return False
    if python["version"] != platform.python_version():
        findings.error(
            f"{sys.executable} is Python {python['version']} on node {{node}} and {platform.python_version()} here: {shared}",
            node,
        )
        return False
    return True


def _check_folder(findings: Findings, folder: dict, node: str, results: Path) -> None:
    if not folder["sees"]:
        findings.error(
            f"the results folder {results} is not shared: node {{node}} does not see what is written to it here; set "
            "`results:` in the config to a folder that all nodes share",
            node,
        )
        return
    if not folder["writes"]:
        findings.error(
            f"the results folder {results} cannot be written on node {{node}} ({folder['error']}): set `results:` in the "
            "config to a folder that compute nodes may write to",
            node,
        )
    if folder["locks"] is False:
        findings.warning(
            f"the file system of {results} has no file locks on node {{node}}: never run the study twice at the same time "
            "there (on Lustre, the mount option `flock` mends it)",
            node,
        )


def _no_gpu_found(gpu: dict, torch: dict) -> str:
    why = []
    if torch["cuda"] is None:
        why.append(f"this torch ({torch['version']}) is a CPU build: install its CUDA build in {sys.prefix}")
    if gpu["driver"] is None:
        why.append("no driver answers there (nvidia-smi): take other nodes (`constraint`), or ask the administrators")
    elif torch["cuda"]:
        why.append(
            f"the driver sees {gpu['driver']!r}, too old for CUDA {torch['cuda']} perhaps: ask for a newer driver"
        )
    gave = f"Slurm gave GPU {gpu['given']}" if gpu["given"] else "Slurm started the job without naming a GPU"
    return f"{gave} on node {{node}}, but torch does not find it: {'; '.join(why)}"


def _summary(outcome: Outcome, node: str) -> str:
    seen = outcome.seen
    folder = seen.get("folder") or {}
    parts = [f"node {node}, {outcome.seconds:.0f} s", f"Python {seen.get('python', {}).get('version')}"]
    if outcome.place.gpu:
        parts.append((seen.get("torch") or {}).get("device") or "no GPU found by torch")
    if folder.get("free_gb") is not None:
        parts.append(f"{folder['free_gb']:g} GB free for results")
    return ", ".join([*parts, f"temporary files in {seen.get('temporary_folder')}"])
