"""Small jobs that look around on the compute nodes: through Snakemake and its executor, as the study's jobs will be."""

import json
import math
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..base.allocation import ask_slurm
from ..base.errors import UserError
from . import node_report

MEMORY_MB = {False: 2000, True: 3000}  # of a probe without and with a GPU: importing torch, and CUDA's context
SIZES = ("nodes", "tasks", "tasks_per_node", "tasks_per_gpu", "cpus_per_task", "cpus_per_gpu", "mpi", "launcher")
SIZES += ("runtime", "tmpdir", "disk", "disk_mb", "disk_mib")
SIZES += ("mem", "mem_mb", "mem_mib", "mem_mb_per_cpu", "node_mem_mb")
SNAKEFILE = """
rule look:
    output: "report"
    resources: **{resources}
    shell: {command}
"""
# Another Python tells at least what the node sees; the name stays the reason.
ANY_PYTHON = 'for p in "$1" python3; do command -v "$p" >/dev/null 2>&1 && exec "$p" -c "$2" "$3"; done'


def place(resources: Mapping[str, object]) -> dict[str, object]:
    """Where jobs with these resources go: what is left of them without sizes, one GPU in place of several."""
    kept = {
        name: value
        for name, value in resources.items()
        if name not in SIZES and name[0] != "_" and value not in ("", 0)
    }
    return kept | ({"gpu": 1} if kept.get("gpu") else {})


@dataclass
class Outcome:
    """What came of a probe: what `node_report` said, (kind, sentence, node), and the fault, if it did not end well."""

    said: list[tuple[str, str, str]] = field(default_factory=list)
    fault: str = ""
    seconds: float = 0.0


@contextmanager
def shared_folder(results: Path) -> Iterator[Path]:
    """A new folder in `results`, removed at the end with all that was made for it. Raises UserError if it cannot be written."""
    results = results.absolute()
    made = [path for path in (results, *results.parents) if not path.exists()]
    folder = results / f".slurm-check-{secrets.token_hex(4)}"
    try:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"the results folder {results} cannot be written here ({os.strerror(error.errno)}): set `results:` in the "
                "config to a folder that can be written, and that all nodes share"
            ) from None
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()


def look(resources: Mapping[str, object], profile: Path, task: dict, timeout_s: float) -> Outcome:
    """A job with the resources of a `place`, through ``snakemake --profile``; it and what it needs ends within the time."""
    gpu = bool(resources.get("gpu") or resources.get("gpu_model") or "gpu" in str(resources.get("gres")))
    folder, text = Path(task["folder"]) / secrets.token_hex(4), json.dumps({**task, "gpu": gpu})
    folder.mkdir()
    sizes = {"mem_mb": MEMORY_MB[gpu], "runtime": max(5, math.ceil(timeout_s / 60) + 2)}
    command = shlex.join([sys.executable, node_report.__file__, text]) + " > report"
    command = repr(command.replace("{", "{{").replace("}", "}}"))
    source = SNAKEFILE.format(resources={**resources, **sizes}, command=command)
    (folder / "Snakefile").write_text(source, encoding="utf-8")
    name = f"sliceaug-check-{folder.name}"
    snakemake = [sys.executable, "-m", "snakemake", "--profile", profile.absolute(), "--workflow-profile", "none"]
    snakemake += ["--snakefile", folder / "Snakefile", "--directory", folder, "--retries", "0"]
    snakemake += ["--slurm-jobname-prefix", name, "--slurm-logdir", folder / "slurm"]
    snakemake += ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
    outcome, started, late = Outcome(), time.monotonic(), ""
    with (folder / "said").open("w+", encoding="utf-8") as said:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        process = subprocess.Popen([str(word) for word in snakemake], **pipes, env=_environment())
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            late = _why_late(name, timeout_s)
        finally:
            _end(process, name)
        said.seek(0)
        words = said.read()
    outcome.seconds = time.monotonic() - started
    if late:
        outcome.fault = late
    elif process.returncode == 0:
        outcome.said = _parts((folder / "report").read_text(encoding="utf-8"))
    elif "has been submitted" not in words:
        outcome.fault = f"was refused: {_reason(words)!r}"
    elif "MissingOutputException" in words:
        outcome.fault = "ended well, and what it wrote is not seen here within latency-wait: raise that in the profile"
    else:
        logs = "".join(path.read_text(errors="replace") for path in folder.glob("slurm/**/*.log"))
        outcome.said = _look_directly(resources, task, name, timeout_s)
        if not any(kind == "error" for kind, *_ in outcome.said):
            outcome.fault = f"failed: {_reason(logs or words)!r}"
    return outcome


def _look_directly(resources: Mapping[str, object], task: dict, name: str, timeout_s: float) -> list:
    """What the same place's nodes see where the executor's job failed: by srun, which needs no shared folder to answer."""
    options = {"slurm_partition": "partition", "slurm_account": "account", "constraint": "constraint", "qos": "qos"}
    command = ["srun", "--quiet", "--time=5", "--nodes=1", "--ntasks=1", "--chdir=/", f"--mem={MEMORY_MB[False]}"]
    command += [
        f"--job-name={name}",
        *(f"--{options[key]}={value}" for key, value in resources.items() if key in options),
    ]
    source = Path(node_report.__file__).read_text(encoding="utf-8")
    command += ["sh", "-c", ANY_PYTHON, "sh", sys.executable, source, json.dumps({**task, "gpu": False})]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **pipes, env=_environment(), text=True)
    try:
        return _parts(process.communicate(timeout=timeout_s)[0])
    except subprocess.TimeoutExpired:
        return []
    finally:
        _end(process, name)


def _parts(text: str) -> list[tuple[str, str, str]]:
    lines = [line for line in text.splitlines() if line.startswith(node_report.MARK)]
    return [tuple(json.loads(line.removeprefix(node_report.MARK))) for line in lines]


def _environment() -> dict[str, str]:
    """Inside a job's allocation, srun would start a step of that job: its variables are left out."""
    inside = "SLURM_JOB_ID" in os.environ
    keep = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {key: value for key, value in os.environ.items() if not (inside and key.startswith("SLURM_")) or key in keep}


def _jobs(name: str) -> list[list[str]]:
    """Number, state, reason, expected start and nodes of the jobs whose name starts with `name`."""
    rows = ask_slurm("squeue", "--noheader", "--me", "--format=%j|%i|%T|%r|%S|%N").splitlines()
    return [row.split("|")[1:] for row in rows if row.startswith(name)]


def _why_late(name: str, seconds: float) -> str:
    """Whether a job waits or runs, and what Slurm says about it."""
    try:
        jobs = _jobs(name) or [["", "PENDING", "it is not in the queue", "", ""]]
    except UserError as error:
        jobs = [["", "PENDING", str(error), "", ""]]
    _, state, reason, start, nodes = jobs[0]
    if state != "PENDING":
        slow = "Python or the file system is slow there, try `--timeout-s 600`"
        return f"started on {nodes} and did not end in {seconds:.0f} s: {slow}. It was cancelled"
    reason += f"; Slurm expects it to start at {start}" if start[:1].isdigit() else ""
    return (
        f"did not start in {seconds:.0f} s: Slurm says {reason!r}. If the cluster is busy, wait longer (`--timeout-s 1800`); "
        "if it is a limit, go elsewhere. It was cancelled"
    )


def _end(process: subprocess.Popen, name: str) -> None:
    """No job and no process stays behind, also after an interruption."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        with suppress(UserError):
            for job in _jobs(name):
                ask_slurm("scancel", job[0])


def _reason(text: str) -> str:
    """What Slurm said to the executor; else the lines from the first that names an error on."""
    if found := re.search(r"The error message was '(.*?)'\.$", text, flags=re.DOTALL | re.MULTILINE):
        return " ".join(found[1].replace("sbatch: error: ", "").split())
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if re.search(r"error|not found|No such file", line, re.I)), -3)
    return " ".join(lines[first:])[:400]
