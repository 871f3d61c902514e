"""Whether what a small job saw on a compute node is what the study needs there: sentences, from its report alone."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..base.provenance import ROOT
from .cluster import some
from .node_probe import Outcome
from .node_report import normalised

LOCK = ROOT / "envs" / "requirements.lock"
SHARED_PYTHON = "make the virtual environment, and the Python it comes from, in a folder that all nodes share"


def read_lock(path: Path = LOCK) -> dict[str, str]:
    """Version of each package of the lock, by normalised name; empty where the file is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pins = (line.strip().split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {normalised(name): version for name, version in pins}


def differences(installed: Mapping[str, str], lock: Mapping[str, str]) -> str:
    """What is installed otherwise than in the lock, in words; empty where nothing is."""
    return some(
        f"{name} is {installed[name]}, not {version}" if name in installed else f"{name} {version} is missing"
        for name, version in lock.items()
        if installed.get(name) != version
    )


def end_faults(outcome: Outcome, what: str, where: str, has: str) -> Iterator[str]:
    """Why a small job, `what` it is in words, did not come to a good end; nothing where what it saw tells.

    `where` are the profile's lines about it, `has` is a sentence on what this Slurm has.
    """
    seconds, words = f"{outcome.seconds:.0f} s", outcome.words
    if outcome.trouble == "refused":
        yield (
            f"Slurm refuses {what}: {words!r}. {has}. Correct slurm_partition, slurm_account, constraint, qos, gres or gpu of "
            f"these rules in {where}"
        )
    elif outcome.trouble == "waiting":
        yield (
            f"{what} did not start in {seconds}: Slurm says {words!r}. If the cluster is busy, wait longer (`--timeout-s "
            f"1800`); if it is a limit of yours or of the partition, take another one in {where}. The job was cancelled"
        )
    elif outcome.trouble == "running":
        yield (
            f"{what} started ({words}) and did not end in {seconds}: Python or the file system is slow there, try "
            "`--timeout-s 600`. The job was cancelled"
        )
    elif outcome.trouble == "failed" and not outcome.seen:
        yield f"{what} failed and left no report: {words!r}. Run this on a login node of the cluster"


def node_faults(seen: dict, task: dict, here: Mapping[str, str]) -> Iterator[str]:
    """What the node lacks. `task` is what the job was given, `here` the packages of the login node; {node} is the node."""
    if not seen.get("project", True):
        yield (
            f"node {{node}} does not see the project's folder {task['project']}: move it to a folder that all nodes share "
            "(home or project space, not a local disk)"
        )
    if seen.get("data_root") is False:
        yield (
            f"node {{node}} cannot read data_root {task['data_root']}: move the cases to a folder that all nodes share, and "
            "set `data_root:` to it"
        )
    folder, results = seen.get("folder"), Path(task["folder"]).parent
    if folder and not folder["sees"]:
        yield (
            f"the results folder {results} is not shared: node {{node}} does not see what is written to it here; set "
            "`results:` in the config to a folder that all nodes share"
        )
    elif folder and not folder["writes"]:
        yield (
            f"the results folder {results} cannot be written on node {{node}} ({folder['error']}): set `results:` in the "
            "config to a folder that compute nodes may write to"
        )
    python, torch = seen.get("python"), seen.get("torch")
    there = differences(seen.get("packages", {}), read_lock())
    if python is None or Path(python["path"]) != Path(sys.executable):
        yield f"node {{node}} does not see this Python, {sys.executable}: {SHARED_PYTHON}"
    elif python["version"] != platform.python_version():
        version = f"is Python {python['version']} on node {{node}} and {platform.python_version()} here"
        yield f"{sys.executable} {version}: {SHARED_PYTHON}"
    elif "packages" in seen and there and there != differences(here, read_lock()):
        yield (
            f"packages on node {{node}} differ from envs/requirements.lock ({there}): {sys.executable} there is another "
            "than here; make the virtual environment in a folder that all nodes share, with `make install`"
        )
    elif torch and torch.get("error"):
        yield f"torch does not work on node {{node}}: {torch['error']}"


def gpu_fault(seen: dict) -> str:
    """Why torch does not find the GPU that the job was given; empty where it does, or where there is none to find."""
    gpu, torch = seen.get("gpu"), seen.get("torch", {"error": ""})
    if gpu is None or "error" in torch or torch["device"]:
        return ""
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


def lock_warning(seen: dict, task: dict) -> str:
    """Of a file system without locks; empty where it has them."""
    if (seen.get("folder") or {}).get("locks") is not False:
        return ""
    return (
        f"the file system of {Path(task['folder']).parent} has no file locks on node {{node}}: never run the study twice at "
        "the same time there (on Lustre, the mount option `flock` enables them)"
    )


def summary(outcome: Outcome) -> str:
    """A line on a node where all went well."""
    seen = outcome.seen
    gpu = [seen["torch"].get("device") or "no GPU found by torch"] if "gpu" in seen else []
    free = f"{seen['folder']['free_gb']:g} GB free for results"
    parts = [f"node {seen['host']}, {outcome.seconds:.0f} s", f"Python {seen['python']['version']}", *gpu, free]
    return ", ".join([*parts, f"temporary files in {seen['temporary_folder']}"])
