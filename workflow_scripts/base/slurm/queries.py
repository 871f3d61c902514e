"""Questions to Slurm's own commands, and their answers as plain values. Nothing here starts a job."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from dataclasses import dataclass, field

from ..errors import UserError

TOOLS = ("sinfo", "sbatch", "srun", "squeue", "scancel")  # sacctmgr and sacct are there only with accounting
ANSWER_SECONDS = 40.0  # Slurm's own commands give up sooner: MessageTimeout is 10 s


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind in a partition: how many, and what one of them has."""

    count: int
    cpus: int
    memory_mb: int
    gpus: dict[str, int] = field(default_factory=dict)  # by model, "" where Slurm knows none

    @property
    def gpu_count(self) -> int:
        return sum(self.gpus.values())


@dataclass(frozen=True)
class Partition:
    """A partition: its longest job in minutes (None: no limit), and its kinds of nodes."""

    name: str
    is_default: bool
    is_up: bool
    max_minutes: float | None
    nodes: tuple[Nodes, ...]

    @property
    def has_gpus(self) -> bool:
        return any(kind.gpus for kind in self.nodes)


def missing_tools() -> list[str]:
    """Commands of Slurm that are not on the PATH."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def ask(*command: str, seconds: float = ANSWER_SECONDS) -> str:
    """Standard output of a command of Slurm. Raises UserError where it is missing, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is not on the PATH: this machine is no login node of a Slurm cluster, or its Slurm commands "
            "come with a module (`module avail slurm`)"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"Slurm does not answer: {command[0]} said nothing in {seconds:.0f} s. Ask `scontrol ping`, and try again"
        ) from None
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise UserError(
            f"Slurm does not answer: {command[0]} says {said!r}. Ask `scontrol ping`, and try again; if it stays so, "
            "ask the cluster's administrators"
        )
    return done.stdout


def slurm_version() -> str:
    """For example ``23.11.4``."""
    return ask("sinfo", "--version").split()[-1]


def partitions() -> dict[str, Partition]:
    """All partitions, hidden ones too: a job may name them."""
    return parse_partitions(ask("sinfo", "--noheader", "--all", "--exact", "--format=%P|%a|%l|%c|%m|%G|%D"))


def parse_partitions(text: str) -> dict[str, Partition]:
    """Partitions by name, from ``sinfo --exact --format=%P|%a|%l|%c|%m|%G|%D``: a line a kind of nodes."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        if line.count("|") != 6:
            continue
        name, state, limit, cpus, memory, gres, count = line.strip().split("|")
        kind = Nodes(int(count), _number(cpus), _number(memory), parse_gpus(gres))
        plain = name.removesuffix("*")
        before = found[plain].nodes if plain in found else ()
        nodes = (*before, kind) if kind.count else before
        found[plain] = Partition(plain, name.endswith("*"), state == "up", parse_minutes(limit), nodes)
    return found


def _number(text: str) -> int:
    """The whole number at the start of ``4+``, ``4000`` or ``4000.0``."""
    return int(re.match(r"\d*", text)[0] or 0)


def parse_gpus(gres: str) -> dict[str, int]:
    """GPUs by model from Slurm's generic resources: ``gpu:a100:2(S:0-1),shard:8`` is ``{"a100": 2}``."""
    gpus: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        kind, *rest = part.strip().split(":")
        if kind != "gpu":
            continue
        model = rest[0] if rest and not rest[0].isdigit() else ""
        count = int(rest[-1]) if rest and rest[-1].isdigit() else 1
        if count:
            gpus[model] = gpus.get(model, 0) + count
    return gpus


def parse_minutes(limit: str) -> float | None:
    """Minutes of a time limit as Slurm prints it (``2-00:00:00``, ``4:00:00``, ``30:00``); None for no limit."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        return None  # infinite, n/a
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 1:
        hours, minutes, seconds = 0, parts[0], 0
    else:
        hours, minutes, seconds = [0, *parts][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


@dataclass(frozen=True)
class Accounts:
    """Accounts that this user may charge, and the one that Slurm takes where a job names none."""

    names: frozenset[str]
    default: str


def accounts() -> Accounts | None:
    """The accounts of this user; None where Slurm keeps none (no accounting, or no `sacctmgr`)."""
    user = getpass.getuser()
    try:
        names = ask("sacctmgr", "-nP", "show", "associations", f"user={user}", "format=account")
        default = ask("sacctmgr", "-nP", "show", "user", user, "format=defaultaccount")
    except UserError:
        return None
    known = frozenset(names.split())
    return Accounts(known, default.strip()) if known else None
