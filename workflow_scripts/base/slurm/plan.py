"""What each rule of the study asks of Slurm, from Snakemake's own dry run: profile, rules and configuration together."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import UserError
from ..provenance import ROOT
from .profile import Profile

PLAN_SECONDS = 300.0


@dataclass
class Ask:
    """What the largest job of a rule asks for. `threads` is None where only the profile is known."""

    rule: str
    threads: int | None = None
    resources: dict[str, object] = field(default_factory=dict)

    def number(self, name: str) -> float:
        """A resource as a number, 0 where it is not one."""
        try:
            return float(self.resources.get(name) or 0)
        except (TypeError, ValueError):
            return 0.0

    @property
    def partition(self) -> str:
        """Name, or names joined by commas; empty for the cluster's default."""
        return str(self.resources.get("slurm_partition") or "")

    @property
    def account(self) -> str:
        """Name, or names joined by commas; empty for the user's default."""
        return str(self.resources.get("slurm_account") or "")

    @property
    def nodes(self) -> int:
        """Nodes that one job spans."""
        return max(1, int(self.number("nodes")))

    @property
    def cpus(self) -> int:
        """CPUs of one job on one node."""
        tasks = int(self.number("tasks_per_node")) or math.ceil(max(1, int(self.number("tasks"))) / self.nodes)
        return (int(self.number("cpus_per_task")) or self.threads or 1) * tasks

    @property
    def memory_mb(self) -> float:
        """Memory of one job on one node, in the megabytes of Slurm."""
        return self.number("mem_mb_per_cpu") * self.cpus or self.number("mem_mb")

    @property
    def gpus(self) -> int:
        """GPUs that a job of the rule asks for on one node."""
        gres = str(self.resources.get("gres") or "")
        if "gpu" in gres:  # a node
            count = gres.rpartition(":")[2]
            return int(count) if count.isdigit() else 1
        return math.ceil((self.number("gpu") or bool(self.resources.get("gpu_model"))) / self.nodes)


def plan(profile: Profile, snakemake_options: Sequence[str]) -> list[Ask]:
    """The asks of all rules of the whole study, done or not. Raises UserError with Snakemake's reason where it fails."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--profile",
        str(profile.path),
    ]
    command += ["--dry-run", "--forceall", "--nolock", *snakemake_options]
    try:
        done = subprocess.run(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PLAN_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"`snakemake -n --profile {profile.path}` did not end in {PLAN_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise UserError(f"Snakemake cannot plan the study: {_reason(done.stdout)}")
    return parse_plan(done.stdout)


def _reason(text: str) -> str:
    """From the first line that names an error on, at most 600 characters."""
    lines = text.strip().splitlines()
    start = next((i for i, line in enumerate(lines) if re.match(r"\w*(Error|Exception|error)\b", line)), len(lines) - 1)
    return " ".join(" ".join(lines[max(start, 0) :]).split())[:600]


def parse_plan(text: str) -> list[Ask]:
    """The largest ask of each rule in the output of a dry run; named targets, which make nothing, are left out."""
    asks: dict[str, Ask] = {}
    rule, threads, makes = "", 1, False
    for line in text.splitlines():
        if match := re.fullmatch(r"\s*(?:local)?(?:rule|checkpoint) (\w+):", line):
            rule, threads, makes = match[1], 1, False
        elif re.match(r"\s+output: ", line):
            makes = True
        elif match := re.fullmatch(r"\s+threads: (\d+)", line):
            threads = int(match[1])
        elif makes and (match := re.fullmatch(r"\s+resources: (.*)", line)):
            _enlarge(asks.setdefault(rule, Ask(rule, 1)), threads, _values(match[1]))
    return list(asks.values())


def _values(text: str) -> dict[str, object]:
    """``mem_mb=16000, slurm_partition=gpu`` as a mapping; numbers as integers."""
    pairs = (pair.partition("=") for pair in re.split(r", (?=\w+=)", text))
    return {name: int(value) if re.fullmatch(r"\d+", value) else value for name, _, value in pairs}


def _enlarge(ask: Ask, threads: int, resources: dict[str, object]) -> None:
    ask.threads = max(ask.threads, threads)
    for name, value in resources.items():
        before = ask.resources.get(name)
        ask.resources[name] = max(before, value) if isinstance(before, int) and isinstance(value, int) else value


def asks_of_profile(profile: Profile) -> list[Ask]:
    """What is known where Snakemake cannot plan: the rules as they stand in their files, and what the profile says."""
    asks = []
    for rule, text in _rules().items():
        gpu = {"gpu": 1} if re.search(r"^ +gpu=", text, flags=re.MULTILINE) else {}
        asks.append(Ask(rule, None, {**gpu, **profile.resources(rule)}))
    return asks


def unknown_rules(profile: Profile) -> list[str]:
    """Rules that the profile names and the workflow does not have: Snakemake passes over them in silence."""
    return sorted(set(profile.of_rule) - set(_rules()))


def _rules() -> dict[str, str]:
    """The text of each rule that makes something."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk")))
    return dict(re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, flags=re.MULTILINE | re.DOTALL))
