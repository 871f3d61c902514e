"""What a compute node sees: a small job prints it, a JSON line a part.

Only the standard library, and nothing newer than Python 3.8: its source also runs where the Python is the wrong one.
Argument: a JSON object with ``project``, ``folder`` and ``data_root`` (paths; the last may be null), ``gpu`` (bool).
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
WAIT_SECONDS = 10.0  # a network file system may show a new folder late


def packages():
    """Versions of the installed packages, by normalised name, without a build's suffix (``+cu128``)."""
    from importlib.metadata import distributions

    found = {}
    for item in distributions():
        if item.metadata["Name"]:
            found.setdefault(normalised(item.metadata["Name"]), item.version.split("+")[0])
    return found


def normalised(name):
    """A package's name as the index compares names."""
    return name.lower().replace("_", "-").replace(".", "-")


def look_at_folder(folder):
    """Whether the login node's new folder is seen here, can be written, and has locks; free gigabytes."""
    seen = {"sees": False, "writes": None, "locks": None, "free_gb": None}
    deadline = time.monotonic() + WAIT_SECONDS
    while not folder.is_dir():
        if time.monotonic() > deadline:
            return seen
        time.sleep(0.2)
    seen["sees"] = True
    seen["free_gb"] = round(shutil.disk_usage(str(folder)).free / 1e9, 1)
    try:
        with (folder / "-".join(["lock", socket.gethostname(), str(os.getpid())])).open("w") as stream:
            seen["writes"] = True
            with contextlib.suppress(OSError):
                seen["locks"] = False
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                seen["locks"] = True
    except OSError as error:
        seen["writes"], seen["error"] = False, os.strerror(error.errno)
    return seen


def look_at_gpu():
    """What Slurm gave, and what the driver sees."""
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
    given = next((os.environ[name] for name in names if os.environ.get(name)), None)
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    driver = None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        driver = done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
    return {"given": given, "driver": driver}


def look_at_torch(gpu):
    """Version and CUDA version of torch; with `gpu`, the name of the GPU that it finds and can calculate on; or the error."""
    seen = {}
    try:
        import torch

        seen = {"version": torch.__version__, "cuda": torch.version.cuda or torch.version.hip, "device": None}
        if gpu and torch.cuda.is_available():
            seen["device"] = torch.cuda.get_device_name(0)
            ones = torch.ones(8, 8, device="cuda")
            if float((ones @ ones).sum()) != 512:
                raise ArithmeticError("a product of two matrices is wrong")
    except Exception as error:  # a broken or unfit build raises anything
        seen["error"] = "{}: {}".format(type(error).__name__, " ".join(str(error).split())[:300])
    return seen


def say(part, value):
    print(MARK + json.dumps({part: value}), flush=True)


def main():
    asked = json.loads(sys.argv[1])
    say("host", os.environ.get("SLURMD_NODENAME") or socket.gethostname())
    say("python", {"path": sys.executable, "version": platform.python_version()})
    say("project", (Path(asked["project"]) / "Snakefile").is_file())
    say("temporary_folder", tempfile.gettempdir())
    if asked["data_root"]:
        say("data_root", os.access(asked["data_root"], os.R_OK | os.X_OK))
    say("folder", look_at_folder(Path(asked["folder"])))
    say("packages", packages())
    if asked["gpu"]:
        say("gpu", look_at_gpu())
    say("torch", look_at_torch(asked["gpu"]))


if __name__ == "__main__":
    main()
