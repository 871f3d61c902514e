"""Temporary files that a killed process left behind: recognised by their names, and swept."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from pathlib import Path

PREFIX = ".writing-"
MAX_AGE_SECONDS = 24 * 3600.0
_OWNER = re.compile(re.escape(PREFIX) + r"([0-9a-f-]+)\.(\d+)\.")
_swept: set[tuple[int, Path]] = set()


@cache
def _here() -> str:
    """Where process numbers mean what they mean to us: this boot of this machine, this PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().split("-")[0]
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino:x}"
    except OSError:  # no Linux: the name of the machine, as hexadecimal digits
        return platform.node().encode().hex()


def temporary_prefix() -> str:
    """Start of the names of this process's temporary files: it tells others who is writing."""
    return f"{PREFIX}{_here()}.{os.getpid()}."


def _is_dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's process lives too
        return False
    return False


def sweep(folder: Path, now: float) -> None:
    """Remove stale temporary files of `folder`, once for each process and folder.

    Stale is what a dead process of this very machine was writing, and what has not been touched for a day. A process
    of another machine may be alive: its files are kept for that day, as are those of a number that lives again.

    Parameters
    ----------
    now : seconds, by the clock that dates the files (a network file system's own)
    """
    if (os.getpid(), folder) in _swept:
        return
    _swept.add((os.getpid(), folder))
    try:
        found = [entry for entry in os.scandir(folder) if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for entry in found:
        owner = _OWNER.match(entry.name)
        try:
            dead = bool(owner) and owner[1] == _here() and _is_dead(int(owner[2]))
            if dead or now - entry.stat(follow_symlinks=False).st_mtime > MAX_AGE_SECONDS:
                Path(entry.path).unlink()
        except OSError:  # renamed or swept by another process meanwhile, or not ours to remove
            continue
