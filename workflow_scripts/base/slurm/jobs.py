"""Small jobs that look around on a compute node, all at once, and end for certain.

They go through ``srun``: it brings a job's output back without a shared file system, and shares are what is in doubt.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from . import probe
from .plan import Ask
from .profile import Profile
from .queries import ask as ask_slurm

MEMORY_MB = {False: 2000, True: 3000}  # of a probe without and with a GPU: importing torch, and CUDA's context
# Another Python tells at least what the node sees; the name stays the reason.
START = """
for python in "$1" python3; do
  command -v "$python" >/dev/null 2>&1 && exec "$python" -c "$2" "$3"
done
echo 'MARK{"host": "'"$SLURMD_NODENAME"'"}'
""".replace("MARK", probe.MARK)


@dataclass(frozen=True)
class Place:
    """Where jobs go: what their resources say about it, as options of Slurm's commands."""

    partition: str = ""
    account: str = ""
    options: tuple[str, ...] = ()
    gpu: bool = False

    def command_line(self) -> list[str]:
        named = {"--partition": self.partition, "--account": self.account}
        return [*(f"{option}={value}" for option, value in named.items() if value), *self.options]


def place_of(ask: Ask, profile: Profile) -> Place:
    """The place of a rule's jobs, with one GPU of the right kind if the rule asks for any."""
    get = ask.resources.get
    options = [f"--constraint={get('constraint')}"] if get("constraint") else []
    for option in ("qos", "reservation"):
        value = profile.options.get(f"slurm-{option}") or get(option)
        options += [f"--{option}={value}"] if value else []
    if ask.gpus:
        gres, model = get("gres"), get("gpu_model")
        options.append(f"--gres={gres}" if "gpu" in str(gres or "") else f"--gpus={f'{model}:1' if model else 1}")
    return Place(ask.partition, ask.account, tuple(options), bool(ask.gpus))


@dataclass
class Outcome:
    """What came of a probe: the parts that it said, and why there are no more of them.

    `trouble` is None (it ended well), ``refused`` (by Slurm), ``waiting`` (it never started), ``running`` (it did not
    end), ``silent`` (it ended and nothing came back) or ``failed``; `words` is what Slurm says about it.
    """

    place: Place
    seen: dict = field(default_factory=dict)
    trouble: str | None = None
    words: str = ""
    seconds: float = 0.0


def run_probes(places: Sequence[Place], task: dict, timeout_s: float) -> list[Outcome]:
    """A probe in each place, at the same time. None outlasts `timeout_s`: what still waits or runs is cancelled."""
    with ThreadPoolExecutor(max(len(places), 1)) as pool:
        return list(pool.map(lambda place: _run_probe(place, {**task, "gpu": place.gpu}, timeout_s), places))


def _environment() -> dict[str, str]:
    """Inside a job's allocation, srun would start a step of that job: its variables are left out."""
    inside = "SLURM_JOB_ID" in os.environ
    keep = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {
        name: value for name, value in os.environ.items() if not (inside and name.startswith("SLURM_")) or name in keep
    }


def _run_probe(place: Place, task: dict, timeout_s: float) -> Outcome:
    outcome = Outcome(place)
    name = f"sliceaug-check-{os.getpid()}-{id(outcome):x}"
    minutes = max(5, math.ceil(timeout_s / 60) + 2)
    command = ["srun", "--quiet", f"--job-name={name}", f"--time={minutes}", f"--mem={MEMORY_MB[place.gpu]}"]
    command += ["--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--chdir=/", "--input=none", *place.command_line()]
    source = Path(probe.__file__).read_text(encoding="utf-8")
    command += ["sh", "-c", START, "sh", sys.executable, source, json.dumps(task)]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=_environment(), text=True
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
            outcome.trouble, outcome.words = _why_late(name)
        finally:
            _end(process, name)
        outcome.seconds = time.monotonic() - started
        out.seek(0)
        for line in out.read().splitlines():
            if line.startswith(probe.MARK):
                outcome.seen.update(json.loads(line.removeprefix(probe.MARK)))
        errors.seek(0)
        if code:
            outcome.trouble = "failed" if outcome.seen else "refused"
            outcome.words = _last_words(errors.read())
    return outcome


def _why_late(name: str) -> tuple[str, str]:
    """Whether a job waits or runs, and what Slurm says about it."""
    try:
        answer = ask_slurm("squeue", "--noheader", f"--name={name}", "--states=all", "--format=%T|%r|%S|%N").strip()
    except UserError as error:
        return "waiting", str(error)
    state, reason, start, nodes = answer.splitlines()[0].split("|") if answer else ("", "", "", "")
    if state == "PENDING":
        return "waiting", reason + (f"; Slurm expects it to start at {start}" if start[:1].isdigit() else "")
    return ("running", f"on {nodes}") if state in ("RUNNING", "CONFIGURING", "COMPLETING") else ("silent", state)


def _end(process: subprocess.Popen, name: str) -> None:
    """No job and no process stays behind, also after an interruption."""
    if process.poll() is not None:
        return
    try:
        ask_slurm("scancel", f"--name={name}")
        process.wait(10)
    except (UserError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def _last_words(errors: str) -> str:
    """What srun says, without its own name; the first lines say the cause, later ones that it gives up."""
    lines = [line.removeprefix("srun: ").removeprefix("error: ").strip() for line in errors.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))[:400]
