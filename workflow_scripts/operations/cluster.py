"""What a Slurm cluster has, what each rule of the study asks of it, and where the two do not fit."""

from __future__ import annotations

import contextlib
import getpass
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..base.allocation import ask_slurm, parse_minutes
from ..base.errors import UserError
from .node_report import some


@dataclass(frozen=True)
class Node:
    """What a node of one kind has; GPUs by model, "" where Slurm knows none."""

    cpus: int
    memory_mb: int
    gpus: Mapping[str, int]

    def count(self, model: str) -> int:
        return self.gpus.get(model, 0) if model else sum(self.gpus.values())

    def holds(self, ask: Ask) -> bool:
        return self.cpus >= ask.cpus and self.memory_mb >= ask.memory_mb and self.count(ask.gpu_model) >= ask.gpus

    def __str__(self) -> str:
        gpus = " and ".join(f"{number} GPUs {model}".strip() for model, number in sorted(self.gpus.items()))
        return f"{self.cpus} CPUs, {self.memory_mb} MB and {gpus or 'no GPU'}"


@dataclass(frozen=True)
class Partition:
    """A partition: its longest job in minutes (infinity: no limit), and its kinds of nodes."""

    is_default: bool
    is_up: bool
    max_minutes: float
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        nodes = " or ".join(dict.fromkeys(map(str, self.nodes))) or "no node"
        return nodes + " (the default)" * self.is_default + " (not up)" * (not self.is_up)


def partitions() -> dict[str, Partition]:
    """All partitions, hidden ones too: a job may name them."""
    return parse_partitions(ask_slurm("sinfo", "--noheader", "--all", "--exact", "--format=%P|%a|%l|%c|%m|%G|%D"))


def parse_partitions(text: str) -> dict[str, Partition]:
    """Partitions by name, from ``sinfo --exact --format=%P|%a|%l|%c|%m|%G|%D``: a line a kind of nodes."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        if line.count("|") != 6:
            continue
        name, state, limit, cpus, memory, gres, count = line.strip().split("|")
        plain, longest = name.removesuffix("*"), parse_minutes(limit)
        nodes = found[plain].nodes if plain in found else ()
        nodes += (Node(_number(cpus), _number(memory), parse_gpus(gres)),) if int(count) else ()
        found[plain] = Partition(name != plain, state == "up", math.inf if longest is None else longest, nodes)
    return found


def _number(text: str) -> int:
    """The whole number at the start of ``4+``, ``4000`` or ``4000.0``."""
    return int(re.match(r"\d*", text)[0] or 0)


def parse_gpus(gres: str) -> dict[str, int]:
    """GPUs by model from Slurm's generic resources: ``gpu:a100:2(S:0-1),shard:8`` is ``{"a100": 2}``."""
    gpus: dict[str, int] = {}
    for model, count in re.findall(
        r"(?:^|,)gpu(?::([^:,]*[^:,\d][^:,]*))?(?::(\d+))?(?=,|$)", re.sub(r"\([^)]*\)", "", gres)
    ):
        if number := int(count or 1):
            gpus[model] = gpus.get(model, 0) + number
    return gpus


def accounts() -> str:
    """The accounts that this user may charge; empty where Slurm keeps none (no accounting, or no `sacctmgr`)."""
    with contextlib.suppress(UserError):
        names = ask_slurm("sacctmgr", "-nP", "show", "associations", f"user={getpass.getuser()}", "format=account")
        return ", ".join(sorted(set(names.split())))
    return ""


@dataclass
class Ask:
    """What the largest job of a rule asks for; `peak_mb` is its memory at its last attempt."""

    rule: str
    threads: int = 1
    resources: dict[str, object] = field(default_factory=dict)
    peak_mb: float = 0.0

    def number(self, name: str) -> float:
        """A resource as a number, 0 where it is none."""
        value = self.resources.get(name)
        return float(value) if isinstance(value, int | float) else 0.0

    def enlarge(self, threads: int, resources: Mapping[str, object]) -> None:
        """Take in a further job of the rule."""
        self.threads = max(self.threads, threads)
        for name, value in resources.items():
            before = self.resources.get(name)
            self.resources[name] = max(before, value) if isinstance(before, int) and isinstance(value, int) else value

    @property
    def partition(self) -> str:
        """Name, or names joined by commas; empty for the cluster's default."""
        return str(self.resources.get("slurm_partition") or "")

    @property
    def account(self) -> str:
        """Name, or names joined by commas; empty for the user's default."""
        return str(self.resources.get("slurm_account") or "")

    @property
    def gpu_model(self) -> str:
        return str(self.resources.get("gpu_model") or "")

    @property
    def nodes(self) -> int:
        return max(1, int(self.number("nodes")))

    @property
    def tasks(self) -> int:
        """Tasks of one job on one node."""
        return int(self.number("tasks_per_node")) or math.ceil(max(1, int(self.number("tasks"))) / self.nodes)

    @property
    def cpus(self) -> int:
        """CPUs of one job on one node."""
        return (int(self.number("cpus_per_task")) or self.threads) * self.tasks

    @property
    def memory_mb(self) -> float:
        """Memory of one job on one node, in the megabytes of Slurm."""
        return self.number("mem_mb_per_cpu") * self.cpus or self.number("mem_mb")

    @property
    def gpus(self) -> int:
        """GPUs of one job on one node."""
        gres = str(self.resources.get("gres") or "")
        if "gpu" in gres:  # a node
            return sum(parse_gpus(gres).values())
        return math.ceil((self.number("gpu") or bool(self.gpu_model)) / self.nodes)


def asks_of(workflow, attempts: int) -> list[Ask]:
    """What each rule of a planned workflow (`plan.plan`) asks for; named targets, which make nothing, left out."""
    asks: dict[str, Ask] = {}
    for job in workflow.dag.jobs:
        if job.output:
            ask = asks.setdefault(job.rule.name, Ask(job.rule.name))
            ask.enlarge(job.threads, dict(job.resources.items()))
            if not ask.peak_mb:
                job.attempt = attempts
                ask.peak_mb = float(job.resources.get("mem_mb") or 0)
                job.attempt = 1
    return [asks[rule.name] for rule in workflow.rules if rule.name in asks]


def line_of(text: str, path: Path) -> str:
    """The first line of the file that holds the value `text` outside a comment; empty where there is none."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if re.search(rf"[:=]\s*['\"]*{re.escape(text)}\b", line.partition("#")[0]):
            return f"line {number}"
    return ""


def names_of(ask: Ask, known: Mapping[str, Partition]) -> list[str]:
    """The partitions that jobs of a rule may go to; the default one where the rule names none."""
    default = [name for name, partition in known.items() if partition.is_default]
    return ask.partition.split(",") if ask.partition else default


def misfits(asks: Sequence[Ask], path: Path, known: Mapping[str, Partition]) -> list[tuple[str, str]]:
    """Jobs that no node of their partition can hold (error), or none after failures (warning), with the lines to write."""
    wrong: dict[str, dict[str, list[str]]] = {}  # sentence -> block of the profile -> lines
    outgrown: list[tuple[int, Ask]] = []
    for ask in asks:
        places = [known[name] for name in names_of(ask, known) if name in known]
        kinds = [node for place in places for node in place.nodes]
        if not kinds or (ask.gpus and not any(node.gpus for node in kinds)):
            continue  # a small job of the rule is refused as well, and Slurm says why
        longest = max(place.max_minutes for place in places)
        largest = max(kinds, key=lambda node: (node.count(ask.gpu_model) >= ask.gpus, node.memory_mb, node.cpus))
        new: dict[str, object] = {"runtime": int(longest)} if ask.number("runtime") > longest else {}
        holding = [node.memory_mb for node in kinds if node.holds(ask)]
        if holding and ask.peak_mb > max(holding):
            outgrown.append((max(holding), ask))
        if not holding and ask.memory_mb > largest.memory_mb:
            new["mem_mb"] = largest.memory_mb
        if not holding and ask.gpus > largest.count(ask.gpu_model):
            new |= {"gpu_model": next(iter(largest.gpus))} if ask.gpu_model else {"gpu": largest.count("")}
        name = ",".join(names_of(ask, known))
        blocks = wrong.setdefault(
            f"partition {name}: its largest node has {largest}, and it ends jobs after {longest:g} minutes", {}
        )
        asked = f"# asks for {ask.cpus} CPUs, {ask.memory_mb:.0f} MB, {ask.gpus} GPUs {ask.gpu_model}".rstrip()
        asked += f", {ask.number('runtime'):g} minutes"
        if not holding and ask.cpus > largest.cpus:
            blocks.setdefault("set-threads", []).append(f"{ask.rule}: {max(1, largest.cpus // ask.tasks)}  {asked}")
        if new:
            lines = ", ".join(f"{key}: {value}" for key, value in new.items())
            blocks.setdefault("set-resources", []).append(f"{ask.rule}: {{{lines}}}  {asked}")
    found = []
    for sentence, blocks in wrong.items():
        rules = some(line.partition(":")[0] for lines in blocks.values() for line in lines)
        text = "".join(f"\n{block}:" + "".join(f"\n  {line}" for line in lines) for block, lines in blocks.items())
        if blocks:
            place = f"{sentence}. Write in {path}, beside what stands there:{text}"
            found.append(("error", f"jobs of {rules} can never start in {place}"))
    if outgrown:
        peak, least = max(ask.peak_mb for _, ask in outgrown), min(memory for memory, _ in outgrown)
        grow = f"jobs of {some(ask.rule for _, ask in outgrown)} ask for up to {peak:.0f} MB after failures"
        limit = f"write `node_mem_mb: {least}` under default-resources of {path}, and their memory grows no further"
        found.append(("warning", f"{grow}, more than any node has: {limit}"))
    return found
