"""The environment of the programs that the rules start: which Python, which image."""

import os
import sys
from pathlib import Path

from .provenance import ROOT


def use_project(bring_python: bool) -> None:
    """Let child processes find this package from any working directory, and this Python first on the path.

    `bring_python` is False where a deployment (conda, a container) brings its own.
    """

    def put_first(variable: str, folder: Path) -> None:
        rest = [item for item in os.environ.get(variable, "").split(os.pathsep) if item and item != str(folder)]
        os.environ[variable] = os.pathsep.join([str(folder), *rest])

    use_node_scratch()
    put_first("PYTHONPATH", ROOT)
    if bring_python:
        put_first("PATH", Path(sys.executable).parent)


# Where clusters say that a job's node-local folder is; the first that is there and can be written is used.
NODE_SCRATCH = ("SLURM_TMPDIR", "SLURM_SCRATCH", "LOCAL_SCRATCH", "SCRATCH_LOCAL", "TMP_LOCAL")


def use_node_scratch() -> None:
    """In a cluster job, let temporary files go to the node's own disk: TMPDIR, which a user's own value decides first."""
    if "SLURM_JOB_ID" not in os.environ or os.environ.get("TMPDIR", "/tmp") != "/tmp":
        return
    for variable in NODE_SCRATCH:
        folder = os.environ.get(variable)
        if folder and os.access(folder, os.W_OK | os.X_OK):
            os.environ["TMPDIR"] = folder
            return
