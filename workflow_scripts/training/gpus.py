"""Which of a machine's GPUs a program uses, where no scheduler has said so: those that no other program has taken."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from ..base.cli import log

_taken: list = []  # open files: a lock ends with its process, however that ends


def take_gpus(count: int, on_machine: int) -> None:
    """Take `count` of the machine's `on_machine` GPUs, for as long as this process lives: sets CUDA_VISIBLE_DEVICES.

    Nothing happens in a cluster job or where CUDA_VISIBLE_DEVICES is set (somebody has chosen), where some were taken
    before, and where all are wanted. Must be called before CUDA is used. With too few free ones the first are shared,
    and the log says so.
    """
    if _taken or "CUDA_VISIBLE_DEVICES" in os.environ or "SLURM_JOB_ID" in os.environ or on_machine <= count:
        return
    free = []
    for gpu in range(on_machine):
        file = Path(tempfile.gettempdir(), f"sliceaug-{os.getuid()}-card-{gpu}.lock").open("w")  # noqa: SIM115 - held
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _taken.append(file)
        free.append(gpu)
        if len(free) == count:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, free))
            return
    release_gpus()
    log.warning(
        "%d of this machine's %d GPUs are wanted, and not as many are free: sharing. Lower `resources: gpu` in "
        "profiles/default/config.yaml",
        *(count, on_machine),
    )


def release_gpus() -> None:
    """Let go of them, as the end of the process does."""
    while _taken:
        _taken.pop().close()
