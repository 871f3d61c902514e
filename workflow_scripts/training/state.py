"""The folder in which a training keeps what it needs to resume, and the digest that names it."""

from __future__ import annotations

import os
from pathlib import Path

from ..base.errors import UserError
from ..base.files import sha256_file, sha256_json
from ..base.provenance import code_digest
from . import srun
from .lock import FolderLock, wait_for_job

# Keys that change neither the weights nor the loss curve: a run may resume with other values.
HARMLESS = ("checkpoint_minutes", "prefetch_batches")


def _without_harmless(value):
    if isinstance(value, dict):
        return {key: _without_harmless(item) for key, item in value.items() if key not in HARMLESS}
    return value


def run_digest(config: dict, module: str, *input_files: str | os.PathLike) -> str:
    """Digest (16 hex digits) of everything a training depends on: settings, code, and the bytes of its input files.

    Parameters
    ----------
    config : dict
        The stage's settings; anything else that JSON can say may be added (case ids, content digests).
    module : str
        The program, e.g. "workflow_scripts.programs.generator.train_generator".
    input_files
        Small files that the training reads. A missing one raises UserError.
    """
    for file in input_files:
        if not Path(file).is_file():
            raise UserError(f"missing file {file}: run the stage that makes it again")
    inputs = [sha256_file(file) for file in input_files]
    return sha256_json({"config": _without_harmless(config), "code": code_digest(module), "inputs": inputs})[:16]


class StateFolder:
    """``<root>/<stage>/<digest>``, held by one process at a time (see `lock.FolderLock`).

    Attributes
    ----------
    folder : Path

    Raises
    ------
    UserError
        If another process holds the folder for longer than `wait_seconds` (a stopped job may still be saving).
    """

    def __init__(self, root: str | os.PathLike, stage: str, digest: str, wait_seconds: float = 15.0):
        self.folder = Path(root) / stage / digest
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = None
        if srun.rank() > 0:
            wait_for_job(self.folder / ".lock")  # the first task of this job holds it for all
            return
        self._lock = FolderLock(self.folder / ".lock", wait_seconds)
        for left_over in self.folder.glob(".writing-*"):  # of a process that was killed while it wrote
            left_over.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock:
            self._lock.release()

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_) -> None:
        self.close()
