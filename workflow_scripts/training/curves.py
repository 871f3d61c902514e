"""The loss curve of a training: rows of loss.csv, and TensorBoard events for the eye."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.cli import log
from ..base.files import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CURVE = "loss.csv"


class Curves:
    """Rows of numbers by step. The rows are part of the checkpoint: loss.csv is made anew from them on a resume.

    folder : gets ``loss.csv`` and ``tensorboard/``
    columns : after ``step``
    rows : of an earlier run, each [step, value, ...]
    """

    def __init__(self, folder: Path, columns: list[str], rows: list[list[float]] | None = None):
        self.folder, self.columns, self.rows = folder, columns, [list(row) for row in rows or []]
        self._events: SummaryWriter | None = None
        self._warned = False
        self.write()

    def text(self) -> str:
        """The content of loss.csv: floats in the shortest form that reads back to the same number, no times."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["step", *self.columns])
        writer.writerows([[row[0], *map(repr, row[1:])] for row in self.rows])
        return stream.getvalue()

    def write(self) -> None:
        """Write loss.csv whole."""
        write_text(self.folder / CURVE, self.text())

    def add(self, step: int, values: list[float]) -> None:
        """Add the row of `step`. A full disk loses no row (the checkpoint holds them) and does not stop the run."""
        self.rows.append([step, *values])
        try:
            with (self.folder / CURVE).open("a", encoding="utf-8") as stream:
                stream.write(",".join([str(step), *map(repr, values)]) + "\n")
            self._event(step, values)
        except OSError as error:
            if not self._warned:
                log.warning("%s: %s; the training goes on", self.folder / CURVE, error.strerror or error)
            self._warned = True

    def _event(self, step: int, values: list[float]) -> None:
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            # Events of steps that are made again are hidden by TensorBoard.
            self._events = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step)
        for name, value in zip(self.columns, values, strict=True):
            self._events.add_scalar(name, value, step)
        self._events.flush()

    def close(self) -> None:
        """End the TensorBoard file."""
        if self._events is not None:
            self._events.close()
