"""Checkpoints of a training: each appears whole or not at all, and the one before stays until it has."""

import os
import zipfile
from pathlib import Path
from typing import IO, Any, cast

import torch

from ..base.cli import log
from ..base.files import atomic


class _Stream:
    """A file that remembers the error of a failed write: torch turns it into one that names no cause."""

    def __init__(self, stream):
        self._stream, self.error = stream, None

    def write(self, data) -> int:
        try:
            return self._stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._stream.flush()


class Checkpoints:
    """The files ``checkpoint-<steps done>.pt`` of a folder, of which the newest two are kept.

    folder : exists and belongs to this process (see `state.StateFolder`)
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint-*.pt"), reverse=True)

    def save(self, content: dict[str, Any], keep: int = 2) -> None:
        """Write `content` (tensors, numbers, text, lists and mappings of them; "step" names the file).

        Raises OSError, as the disk gave it, if it cannot be written; older checkpoints are then untouched.
        """
        path = self.folder / f"checkpoint-{content['step']:09d}.pt"
        with atomic(path) as temporary, temporary.open("wb") as file:
            stream = _Stream(file)
            try:
                torch.save(content, cast(IO[bytes], stream))  # which writes and flushes, all that torch asks of it
                file.flush()
            except Exception:
                if stream.error is not None:
                    raise stream.error from None
                raise
        for old in self._files()[keep:]:
            old.unlink(missing_ok=True)

    def refusal(self, title: str, step: int, kept: int | None, error: OSError) -> str:
        """What to say where `save` failed at `step`; `kept`: the step of the newest checkpoint there is."""
        before = f"the checkpoint of step {kept} is kept" if kept else "there is no earlier checkpoint"
        return (
            f"{title}: the checkpoint of step {step} could not be written to {self.folder} "
            f"({error.strerror or error}); {before}. Free space there"
        )

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole (every byte is checked), on the CPU; None where there is none."""
        for path in self._files():
            try:
                return self._read(path)
            except Exception as error:  # torch's reader ends foreign bytes in errors of any type
                log.warning("%s is damaged (%s): falling back to the checkpoint before it", path, str(error)[:200])
                path.unlink(missing_ok=True)
        return None

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        with zipfile.ZipFile(path) as archive:  # torch itself does not compare the checksums in its files
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"checksum of {damaged} differs")
        return torch.load(path, map_location="cpu", weights_only=True)
