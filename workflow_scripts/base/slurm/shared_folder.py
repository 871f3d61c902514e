"""A folder in the study's results that shows whether compute nodes share it."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UserError
from ..files import write_text
from .probe import NONCE


@contextmanager
def shared_folder(results: Path) -> Iterator[Path]:
    """Yield a new folder in `results` with a file that holds the folder's name; at the end everything made is removed.

    Raises UserError where `results` cannot be written.
    """
    results = results.absolute()
    made = [path for path in (results, *results.parents) if not path.exists()]
    folder = results / f".slurm-check-{secrets.token_hex(4)}"
    try:
        try:
            write_text(folder / NONCE, folder.name)
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


def appears(path: Path, seconds: float) -> bool:
    """Whether a file that another machine wrote is seen here within `seconds`."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
