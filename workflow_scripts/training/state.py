"""The folder in which a training keeps what it needs to resume, and the digest that names it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from pathlib import Path

from ..base.cli import log
from ..base.errors import UserError
from ..base.files import sha256_file, sha256_json
from ..base.provenance import code_digest

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
        The program, e.g. "workflow_scripts.train_generator".
    input_files
        Small files that the training reads. A missing one raises UserError.
    """
    for file in input_files:
        if not Path(file).is_file():
            raise UserError(f"missing file {file}: run the stage that makes it again")
    inputs = [sha256_file(file) for file in input_files]
    return sha256_json({"config": _without_harmless(config), "code": code_digest(module), "inputs": inputs})[:16]


class StateFolder:
    """``<root>/<stage>/<digest>``, held by one process at a time.

    The lock is the kernel's (flock): it ends with the process that holds it, however that ends.

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
        self._lock = open(self.folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 - held until close()
        self._acquire(wait_seconds)
        for left_over in self.folder.glob(".writing-*"):  # of a process that was killed while it wrote
            left_over.unlink(missing_ok=True)

    def _acquire(self, wait_seconds: float) -> None:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
                    log.warning("%s: this file system has no locks; run one process on it at a time", self.folder)
                    break
                if time.monotonic() > deadline:
                    self._lock.seek(0)
                    holder = self._lock.read().strip() or "another process"
                    self._lock.close()
                    raise UserError(
                        f"{self.folder} is in use by {holder}, which trains the same network; "
                        "wait for it to end, or stop it, then run the same command again"
                    ) from None
                time.sleep(0.2)
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._lock.flush()

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_) -> None:
        self.close()
