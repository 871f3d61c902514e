"""Which of a machine's GPUs a program uses, where no scheduler has said so: those that no other program has taken."""

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from ..base.cli import log

_taken: list[int] = []  # open files: a lock ends with its process, however that ends


def take_gpus(count: int, on_machine: int) -> None:
    """Take `count` of the machine's `on_machine` GPUs, for as long as this process lives: sets CUDA_VISIBLE_DEVICES.

    Nothing happens in a cluster job or where CUDA_VISIBLE_DEVICES is set (somebody has chosen), where some were taken
    before, and where all are wanted. Must be called before CUDA is used. With too few free ones the first are shared,
    and the log says so.
    """
    if _taken or "CUDA_VISIBLE_DEVICES" in os.environ or "SLURM_JOB_ID" in os.environ or on_machine <= count:
        return
    free, folder = [], _private_folder()
    if folder is None:
        return
    for gpu in range(on_machine):
        try:
            file = os.open(folder / f"gpu-{gpu}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
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
        os.close(_taken.pop())


def _private_folder() -> Path | None:
    """A folder of this user's alone for the locks: under a name that others could have taken in the shared one, a link of
    theirs would be opened. None, and a warning, where somebody has taken the folder's own name."""
    folder = Path(tempfile.gettempdir(), f"sliceaug-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
        return folder
    log.warning(
        "%s is not a folder of yours alone, so programs on this machine do not tell each other which GPUs they use: remove it, "
        "or set TMPDIR or CUDA_VISIBLE_DEVICES",
        folder,
    )
    return None
