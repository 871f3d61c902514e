"""What a section of the report is made of. All text here is text, never markup: the template escapes it."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ...base.errors import UserError
from ...base.files import read_tsv
from ..registry import FIGURES, TABLES
from ..tables.cells import read_mixed_csv
from ..tables.text import Table as StudyTable

_ABSENT = object()
_NUMBER_FIRST = re.compile(r"[<>]?\s*[-+]?\d")


@dataclass(frozen=True)
class Run:
    """What the sections are made from.

    table : the augmentation-ratio table, as of ``read_ratio_table``
    files : the files of every option of ``report.FILES``, by its name; none where it was not given
    config : the whole configuration of the run; {} where it is not known
    simulated : whether the cohort is the embedded simulation
    """

    table: pd.DataFrame
    files: dict[str, list[Path]] = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    simulated: bool = False

    def paths(self, name: str) -> list[Path]:
        """The files of the option `name`; [] where it was not given."""
        return [Path(file) for file in self.files.get(name, [])]

    def csv(self, name: str) -> pd.DataFrame | None:
        """The one CSV of the option `name`, numbers as numbers and words as text; None where it was not given."""
        found = self.paths(name)
        return read_mixed_csv(found[0]) if found else None

    def labelled(self, name: str) -> list[tuple[str, pd.DataFrame]]:
        """TSV tables of the option `name` with the folders that tell them apart: ("n_real~20 / slice_ldm", table)."""
        tables = []
        for file in self.paths(name):
            parts = file.resolve().parts[:-1]
            size = [part for part in parts if part.startswith("n_real~")][-1:]
            tables.append((" / ".join([*size, parts[-1]]), read_tsv(file)))
        return tables

    def figures(self, name: str) -> list[Figure]:
        """The figures of that name: of n_real~20/<name>_slice_ldm.png with 20 and slice_ldm in its words."""
        found, drawn = [], FIGURES[name]
        for path in self.paths("figures"):
            system = path.stem.removeprefix(name).removeprefix("_")
            if path.stem in (name, f"{name}_{system}"):
                caption, alt = drawn.says(
                    self.simulated, system=system, n_real=path.parent.name.removeprefix("n_real~")
                )
                found.append(Figure(path, alt, caption, f"reporting.make_figure {name}", self.settings(*drawn.said)))
        return found

    def settings(self, *keys: str) -> list[tuple[str, object]]:
        """(key, value) of dotted keys of the configuration; those that it does not hold are left out."""
        found = []
        for key in keys:
            value: object = self.config
            for part in key.split("."):
                value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
            if value is not _ABSENT:
                found.append((key, value))
        return found


class Block:
    """What the templates know by its kind."""

    @property
    def kind(self) -> str:
        return type(self).__name__


@dataclass(frozen=True)
class Text(Block):
    """A paragraph."""

    text: str


class Caution(Text):
    """A paragraph that must not be overlooked."""


class Heading(Text):
    """A heading below the section's title."""


@dataclass(frozen=True)
class Notes(Block):
    """What the numbers are: a list of sentences in small print."""

    sentences: Sequence[str]


class Code(Text):
    """Text whose line breaks count."""


@dataclass(frozen=True)
class Table(Block):
    """A table whose columns readers sort.

    name : what it is, for those who do not see it
    frame : cells as they are shown
    text_columns : so many at the left are words; of the others those with a cell that begins with a number are numbers
    group : column whose values head groups of rows; sorting stays within a group
    narrow : cells break, so that it fits a phone without scrolling sideways
    """

    name: str
    frame: pd.DataFrame
    text_columns: int = 1
    group: str | None = None
    narrow: bool = False

    @property
    def header(self) -> list[str]:
        return [name for name in self.frame.columns if name != self.group]

    @property
    def numbers(self) -> list[bool]:
        """For each column of `header` whether it is set and sorted as numbers."""
        return [
            place >= self.text_columns and any(_NUMBER_FIRST.match(str(cell)) for cell in self.frame[name])
            for place, name in enumerate(self.header)
        ]

    @property
    def groups(self) -> list[tuple[str, list[list]]]:
        if self.group is None:
            return [("", self.frame.to_numpy(dtype=object).tolist())]
        parts = self.frame.groupby(self.group, sort=False)
        return [(str(name), part.drop(columns=self.group).to_numpy(dtype=object).tolist()) for name, part in parts]


@dataclass(frozen=True)
class Figure(Block):
    """A PNG or SVG file, which the report takes in.

    alt : what one would see
    caption : what it shows, in a sentence or two
    program : of ``workflow_scripts.programs``, that drew it
    settings : the configuration that made it: (dotted key, value)
    """

    path: Path
    alt: str
    caption: str
    program: str
    settings: Sequence[tuple[str, object]] = ()

    @property
    def uri(self) -> str:
        return data_uri(self.path)

    @property
    def command(self) -> str:
        return _snakemake([self.path])


@dataclass(frozen=True)
class MadeBy(Block):
    """What made the numbers above: the program of ``workflow_scripts.programs``, its settings, the files for Snakemake."""

    program: str
    settings: Sequence[tuple[str, object]] = ()
    targets: Sequence[Path] = ()

    @property
    def command(self) -> str:
        return _snakemake(self.targets) if self.targets else ""


RUN_FILE = "run.yaml"
"""What readers save the configuration of the run as; every command of the report asks for it."""


def _snakemake(targets: Sequence[Path]) -> str:
    """The command, typed in the folder of the project, that makes files of the run again."""
    return f".venv/bin/snakemake --cores all --configfile {RUN_FILE} --force {shlex.join(map(str, targets))}"


@dataclass(frozen=True)
class Viewer(Block):
    """The volume viewer, at most one a report.

    cases : as of ``viewer_volumes.pack``, each with a ``label``
    modalities : the first one is shown first
    regions : (name, colour as #rrggbb), the outermost first
    niivue : NiiVue's JavaScript, gzip and base64
    """

    cases: Sequence[dict]
    modalities: Sequence[str]
    regions: Sequence[tuple[str, str]]
    niivue: str

    @property
    def about(self) -> dict:
        """What the page's script needs to know, apart from the volumes."""
        return {
            "cases": [{"label": case["label"], "voxel": case["voxel"]} for case in self.cases],
            "regions": [{"name": name, "colour": colour} for name, colour in self.regions],
        }


@dataclass(frozen=True)
class Details(Block):
    """Blocks that open on demand."""

    summary: str
    blocks: Sequence[object]


@dataclass(frozen=True)
class Section:
    """One part of the report: `id` is its anchor (letters), `blocks` any of the classes above, in reading order."""

    id: str
    title: str
    blocks: Sequence[object]


def table_blocks(run: Run, name: str, made: StudyTable, cautions: Sequence[str] = ()) -> list:
    """A table of the study, what its numbers are, and what made it; [] where its file was not given.

    cautions : sentences that stand elsewhere, and are no notes here
    """
    frame = run.csv(name)
    if frame is None:
        return []
    shown = []
    for heading, part in made.parts(frame, {}):
        shown += [Heading(heading), Table(f"{name}: {heading}", part)] if heading else [Table(made.title, part)]
    notes = [sentence for sentence in made.notes(frame, run.simulated) if sentence not in cautions]
    return [
        *shown,
        Notes(notes),
        MadeBy(f"reporting.make_table {name}", run.settings(*TABLES[name].said), run.paths(name)),
    ]


def data_uri(path: str | Path) -> str:
    """A PNG or SVG file as a data: address. Raises UserError if it is missing or another format."""
    path = Path(path)
    kinds = {".png": "image/png", ".svg": "image/svg+xml"}
    if path.suffix not in kinds:
        raise UserError(f"figure {path} is neither PNG nor SVG")
    try:
        payload = base64.b64encode(path.read_bytes()).decode()
    except FileNotFoundError:
        raise UserError(f"missing figure {path}: run the stage that makes it again") from None
    return f"data:{kinds[path.suffix]};base64,{payload}"


def text_uri(text: str) -> str:
    """Text as a data: address."""
    return f"data:text/plain;charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"
