"""What a compute node lacks: a small job says it, a JSON list (kind, sentence, node) a line.

Only the standard library, and nothing newer than Python 3.8: its source also runs where the Python is the wrong one.
Argument: a JSON object, the `task` of `main`. A kind is error, warning, gpu (an error, unless the study may do without) or
row: a line on what was seen.
"""

import contextlib
import fcntl
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARK = "sliceaug-node: "  # what a node prints besides (prologs, login banners) has none
SHOWN = 4  # names in a sentence; the rest is a number
SHARED_PYTHON = "make the virtual environment, and the Python it comes from, in a folder that all nodes share"


def some(names):
    """The first names, and how many more."""
    names = list(dict.fromkeys(names))
    more = len(names) - SHOWN
    return ", ".join(names) if more <= 0 else "{} and {} more".format(", ".join(names[:SHOWN]), more)


def normalised(name):
    """A package's name as the index compares names."""
    return name.lower().replace("_", "-").replace(".", "-")


def packages():
    """Versions of the installed packages, by normalised name, without a build's suffix (``+cu128``)."""
    from importlib.metadata import distributions

    found = {}
    for item in distributions():
        if item.metadata["Name"]:
            found.setdefault(normalised(item.metadata["Name"]), item.version.split("+")[0])
    return found


def differences(installed, wanted):
    """What is installed otherwise than wanted, in words; empty where nothing is."""
    return some(
        f"{name} is {installed[name]}, not {version}" if name in installed else f"{name} {version} is missing"
        for name, version in wanted.items()
        if installed.get(name) != version
    )


def say(kind, sentence):
    print(MARK + json.dumps([kind, sentence, os.environ.get("SLURMD_NODENAME") or socket.gethostname()]), flush=True)


def look_at_folder(folder, wait_s):
    """Whether the login node's new folder is seen here, can be written, and has locks."""
    results, set_it = folder.parent, "set `results:` in the config to a folder that"
    deadline = time.monotonic() + wait_s  # a network file system may show a new folder late
    while not folder.is_dir():
        if time.monotonic() > deadline:
            seen = f"the results folder {results} is not shared: node {{node}} does not see what is written to it here"
            return say("error", f"{seen}; {set_it} all nodes share")
        time.sleep(0.2)
    try:
        with (folder / "-".join(["lock", socket.gethostname(), str(os.getpid())])).open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if os.access(str(folder), os.W_OK):
            say(
                "warning",
                f"the file system of {results} has no file locks on node {{node}}: never run the study twice at the same "
                "time there (on Lustre, the mount option `flock` enables them)",
            )
        else:
            why = os.strerror(error.errno)
            say(
                "error",
                f"the results folder {results} cannot be written on node {{node}} ({why}); {set_it} nodes may write to",
            )


def look_at_torch(gpu):
    """Whether torch works, and where a GPU was given, whether torch finds it and can calculate on it. The device's name."""
    try:
        import torch

        device = torch.cuda.get_device_name(0) if gpu and torch.cuda.is_available() else "no GPU"
        if device != "no GPU":
            ones = torch.ones(8, 8, device="cuda")
            if float((ones @ ones).sum()) != 512:
                raise ArithmeticError("a product of two matrices is wrong")
    except Exception as error:  # a broken or unfit build raises anything
        said = " ".join(str(error).split())[:300]
        return say("error", f"torch does not work on node {{node}}: {type(error).__name__}: {said}")
    cuda = torch.version.cuda or torch.version.hip
    if gpu and device == "no GPU":
        say("gpu", _why_no_gpu(f"this torch ({torch.__version__}) is a CPU build" if cuda is None else "", cuda))
    return device


def _why_no_gpu(build, cuda):
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
    given = next((os.environ[name] for name in names if os.environ.get(name)), None)
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    driver = None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        driver = done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
    why = [f"{build}: install its CUDA build in {sys.prefix}"] if build else []
    if driver is None:
        why.append("no driver answers there (nvidia-smi): take other nodes (`constraint`), or ask the administrators")
    elif cuda:
        why.append(f"the driver sees {driver!r}, too old for CUDA {cuda} perhaps: ask for a newer driver")
    gave = f"Slurm gave GPU {given}" if given else "Slurm started the job without naming a GPU"
    return f"{gave} on node {{node}}, but torch does not find it: {'; '.join(why)}"


def main(task):
    """`task` holds project, folder and data_root (paths; the last may be null), gpu (bool), wait_s, and of the login node
    python (path), version and packages."""
    share = "to a folder that all nodes share"
    if not (Path(task["project"]) / "Snakefile").is_file():
        folder = f"node {{node}} does not see the project's folder {task['project']}"
        say("error", f"{folder}: move it {share} (home or project space, not a local disk)")
    root = task["data_root"]
    if root and not os.access(root, os.R_OK | (os.X_OK if Path(root).is_dir() else 0)):
        say(
            "error",
            f"node {{node}} cannot read data_root {root}: move the cases {share}, and set `data_root:` to it",
        )
    look_at_folder(Path(task["folder"]), task["wait_s"])
    python = task["python"]
    if sys.executable != python:
        return say("error", f"node {{node}} does not see this Python, {python}: {SHARED_PYTHON}")
    if (here := platform.python_version()) != task["version"]:
        return say("error", f"{python} is Python {here} on node {{node}} and {task['version']} here: {SHARED_PYTHON}")
    if wrong := differences(packages(), task["packages"]):
        return say(
            "error",
            f"packages on node {{node}} differ from those here ({wrong}): {python} there is another than here; make the "
            "virtual environment in a folder that all nodes share, with `make install`",
        )
    device = look_at_torch(task["gpu"])
    folder = Path(task["folder"])
    free = shutil.disk_usage(str(folder)).free / 1e9 if folder.is_dir() else 0
    say("row", f"node {{node}}, {device}, {free:.0f} GB free for results, temporary files in {tempfile.gettempdir()}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
