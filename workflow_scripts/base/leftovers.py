"""Temporary files that a killed process left behind: recognised by their names, and swept when they are a day old."""

import os
from pathlib import Path

PREFIX = ".writing-"
MAX_AGE_SECONDS = 24 * 3600.0
_swept: set[tuple[int, Path]] = set()


def sweep(folder: Path, now: float) -> None:
    """Remove temporary files of `folder` that nobody has touched for a day, once for each process and folder.

    Age alone tells: a process number means nothing on another machine, and whoever still writes keeps its file young.

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
        try:
            if now - entry.stat(follow_symlinks=False).st_mtime > MAX_AGE_SECONDS:
                Path(entry.path).unlink()
        except OSError:  # renamed or swept by another process meanwhile, or not ours to remove
            continue
