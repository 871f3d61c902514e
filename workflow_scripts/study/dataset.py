"""A data set as data: what its channels, labels, files and patients are called, and what its voxels mean.

``config/datasets/<name>.yaml`` holds one; no other code knows a modality's or a region's name.
"""

import difflib
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from ..base.errors import UserError
from .described import described
from .settings.base import Block, Fault, Unique, Words, key, read_block
from .settings.files import config_files, merge, read_yaml
from .voxels import FOREGROUND, MASK, Bounds, Foreground, Intensity, Lesions, Name

EXAMPLE = "(P[0-9]+)_[0-9]+"  # of Patterns, and what messages say of it
READ = "the line below reads P012_2 as a case of the patient P012, which ( ) stands around; [0-9]+ is a number"
EXTENSIONS = r"\.nii(\.gz)?"

FilePart = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64),
    Words("a name of letters, digits, _, . and -"),
]
FileName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.-]*(\{case\}[A-Za-z0-9_.-]*\{part\}|\{part\}[A-Za-z0-9_.-]*\{case\})[A-Za-z0-9_.-]*$"),
    Words("a file's name without .nii or .nii.gz, with {case} and {part} in it"),
]
# JSON has no numbers as keys
Label = Annotated[int, BeforeValidator(lambda v: int(v) if isinstance(v, str) and v.isdecimal() else v)]
_LISTED = BeforeValidator(lambda v: [v] if isinstance(v, str) else v or [])
Patterns = Annotated[
    list[str], _LISTED, Words("how ids are written, such as P[0-9]+_[0-9]+ for P012_2, or several such")
]
Colour = Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$"), Words("a colour such as '#D55E00'")]
Names = Annotated[list[Name], Field(min_length=1, max_length=100), Unique]


def _check_pattern(place: list[str], pattern: str) -> int:
    """Number of groups of a regular expression. Raises Fault."""
    try:
        return re.compile(pattern).groups
    except re.error as error:
        raise Fault(place, EXAMPLE, f"is {pattern!r}, which no id can be compared with ({error}): {READ}") from None


class Unsure(Block):
    """Labels that, over all cases of a cohort, speak for another meaning than the layout's: without `layout` the run stops."""

    present: list[int] = key([], "labels", "that some case has")
    absent: list[int] = key(meaning="labels that no case has")
    instead: str = key(meaning="layout that such masks may be of")


class Layout(Block):
    """One way of storing a case: a file a part (`files`, `parts`), or one image of all channels (`images`, `masks`)."""

    example: str = key(meaning="how files of this form are named, for messages")
    files: FileName | None = key(None, "", "name of a case's files", examples=["'{case}_{part}'"])
    parts: dict[FilePart, Name] = key(
        {}, "", f"word in a file's name: what the file holds, a modality, {MASK} (the labels) or {FOREGROUND}"
    )
    cases: Patterns = key([], "patterns", "of the case ids that it takes; none: all")
    asked: bool = key(False, "", "whether it is read only where `layout` names it")
    folders: list[str] = key([], "", "folders that tell this layout from another one of the same file names")
    images: FilePart | None = key(None, "", "folder of images that hold all channels, named by their case")
    masks: FilePart | None = key(None, "", "folder of their masks, of the same names")
    numbered: bool = key(False, "", "whether `images` has a file a channel, <case>_0000 and so on, as nnU-Net has")
    channels: list[Name] = key([], "", "modality of each channel, where no dataset.json beside the folders says it")
    channel_names: dict[str, Name] = key({}, "", "what dataset.json calls a channel, in lower case: modality")
    labels: dict[Label, Name] = key(meaning="label in the mask: innermost region that it lies in")
    left_out: dict[Label, str] = key({}, "", "label that lies in no region: what it is")
    unsure: Unsure | None = key(None, "", "labels that speak for another layout of the same names")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.files is None) == (self.images is None) or (self.images is None) != (self.masks is None):
            raise Fault(["files"], "{case}_{part}", "and `parts` must be there, or `images` and `masks`, not both")
        if self.files is not None and MASK not in self.parts.values():
            raise Fault(["parts"], self.parts | {"mask": MASK}, f"does not say which file is the mask ({MASK})")
        for pattern in self.cases:
            _check_pattern(["cases"], pattern)
        known = [*self.labels, *self.left_out]
        if not self.labels or len(known) > len(set(known)) or not 1 <= min(known) <= max(known) <= 255:
            raise Fault(["labels"], {1: "lesion"}, "must name a label, from 1 to 255, and none that left_out names")
        return self

    @cached_property
    def pattern(self) -> re.Pattern | None:
        """Of a file's name, with the groups case and part; upper and lower case are the same."""
        if self.files is None:
            return None
        name = re.escape(self.files).replace(r"\{case\}", "(?P<case>.+)")
        parts = "|".join(map(re.escape, self.parts))
        return re.compile(name.replace(r"\{part\}", f"(?P<part>{parts})") + EXTENSIONS, re.IGNORECASE)

    def takes(self, case_id: str) -> bool:
        """Whether a case of that id can be of this layout."""
        return not self.cases or any(re.fullmatch(pattern, case_id, re.IGNORECASE) for pattern in self.cases)

    def part_of(self, word: str) -> str:
        """The modality, mask or foreground that a word of a file's name stands for."""
        return {name.lower(): part for name, part in self.parts.items()}[word.lower()]


class Written(Block):
    """How cases are written: what a volume's sidecar and a model's contract carry, so that a model needs no config."""

    files: FileName = key(meaning="name of a case's files")
    parts: dict[Name, FilePart] = key(meaning="modality or mask: word in its file's name")
    labels: Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=2), Unique] = key(
        meaning="label of each level, that of the background first"
    )
    background: bool = key(True, "", "false where the whole volume is foreground")

    def file_of(self, case_id: str, part: str) -> str:
        """File name of a modality, or of the mask, of a case."""
        return self.files.replace("{part}", self.parts[part]).replace("{case}", case_id) + ".nii.gz"


class Dataset(Block):
    """config/datasets/*.yaml

    Levels of a mask are 0 (outside) to R: level i + 1 lies in region i and in all regions before it.
    """

    described_by: FilePart | None = key(
        None,
        "",
        "file beside the cases, such as dataset.json, that names channels and labels: then neither modalities nor the "
        "layouts' parts, channels and labels are given here, and `regions` only to choose among labels",
    )
    modalities: Names = key(meaning="image channels, in the order in which they are kept")
    regions: Names = key(meaning="nested regions, from the outside in; the first is the whole tumour")
    layouts: Annotated[dict[FilePart, Layout], Field(min_length=1)] = key(meaning="ways of storing a case, by name")
    written_as: str = key(meaning="layout of synthetic cases and predictions, one with `files`")
    patient: Patterns = key(
        [],
        "patterns",
        "of case ids, whose groups are the patient; the first that fits counts; an id that none fits is the patient",
    )
    foreground: Foreground = key(Foreground(), "", "which voxels are looked at")
    intensity: Intensity = key(Intensity(percentiles=[0.5, 99.5]), "", "which values are told apart")
    bounds: Bounds = key(Bounds(), "", "what no case can be")
    lesions: Lesions = key(Lesions(), "", "lesion-wise scores")
    figure_modality: Name | None = key(None, "", "that figures show; null: the first")
    remarks: list[str] = key([], "", "sentences that every cohort of it is told with")
    region_names: dict[Name, str] = key({}, "", "region: what tables call it")
    region_colours: dict[Name, Colour] = key({}, "", "region: its colour", examples=["{lesion: '#D55E00'}"])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for place, names, known in self._names():
            if unknown := [name for name in names if name not in known]:
                raise Fault(place, list(known), f"names {unknown[0]!r}, which is none of {', '.join(known)}")
        for key_of, own in (("modalities", self.modalities), ("regions", self.regions)):
            if reserved := [name for name in own if name in (MASK, FOREGROUND)]:
                raise Fault([key_of], ["image"], f"names {reserved[0]!r}, which is another part of a case")
        rule = self.intensity
        if rule.spreads is rule.percentiles is None and set(rule.window or {}) != set(self.modalities):
            what = "needs every modality, where neither spreads nor percentiles are given for the others"
            raise Fault(["intensity", "window"], {self.modalities[0]: [0, 1]}, what)
        for pattern in self.patient:
            if not _check_pattern(["patient"], pattern):
                what = f"is {pattern!r}, which does not say which part of an id is the patient: {READ}"
                raise Fault(["patient"], EXAMPLE, what)
        for name, layout in self.layouts.items():
            if layout.unsure and layout.unsure.instead not in self.layouts:
                raise Fault(["layouts", name, "unsure", "instead"], name, "must be a layout")
        self._check_written()
        return self

    def _names(self) -> Iterable[tuple[list[str], Iterable[str], Iterable[str]]]:
        """(key, the names that it uses, those that it may use)"""
        yield ["figure_modality"], [self.figure_modality or self.modalities[0]], self.modalities
        yield ["region_names"], self.region_names, self.regions
        yield ["region_colours"], self.region_colours, self.regions
        yield ["intensity", "window"], self.intensity.window or [], self.modalities
        for name, layout in self.layouts.items():
            yield ["layouts", name, "labels"], layout.labels.values(), self.regions
            yield ["layouts", name, "parts"], layout.parts.values(), [*self.modalities, MASK, FOREGROUND]
            yield ["layouts", name, "channels"], layout.channels, self.modalities
            yield ["layouts", name, "channel_names"], layout.channel_names.values(), self.modalities

    def _check_written(self) -> None:
        written = self.layouts.get(self.written_as)
        if written is None or written.files is None:
            named = [name for name, layout in self.layouts.items() if layout.files]
            raise Fault(["written_as"], named[0] if named else None, "must be one of the layouts that have `files`")
        for part in (*self.modalities, MASK):
            if part not in written.parts.values():
                raise Fault(
                    ["layouts", self.written_as, "parts"], {part: part}, f"lack {part}, but cases are written so"
                )
        for region in self.regions:
            if region not in written.labels.values():
                raise Fault(
                    ["layouts", self.written_as, "labels"], {1: region}, f"lack {region}, but masks are written so"
                )

    def check_regions(self, regions: list[str]) -> list[str]:
        """`regions`. Raises UserError unless they are the first one or more of the data set's."""
        if not regions or list(regions) != self.regions[: len(regions)]:
            raise UserError(f"regions must be nested, the first of {', '.join(self.regions)}, not {list(regions)}")
        return regions

    def levels_of(self, layout: str) -> dict[int, int]:
        """Label -> level of a layout's masks; 0 for a label that is left out of the tumour."""
        named = self.layouts[layout]
        levels = {label: self.regions.index(region) + 1 for label, region in named.labels.items()}
        return levels | dict.fromkeys(named.left_out, 0)

    def meaning_of(self, layout: str) -> str:
        """What the labels of a layout's masks are."""
        meanings = self.layouts[layout].labels | self.layouts[layout].left_out
        return ", ".join(f"{label} is {what}" for label, what in sorted(meanings.items()))

    @property
    def written(self) -> Written:
        """How cases of this data set are written."""
        layout = self.layouts[self.written_as]
        assert layout.files is not None, "_check_written has seen to it"
        parts = {part: word for word, part in layout.parts.items() if part != FOREGROUND}
        by_label = sorted(self.levels_of(self.written_as).items(), reverse=True)
        label_of = {level: label for label, level in by_label if level}  # of several, the smallest
        labels = [0, *(label_of[level + 1] for level in range(len(self.regions)))]
        return Written(files=layout.files, parts=parts, labels=labels, background=self.foreground.rule != "none")

    def part(self, *keys: str) -> dict:
        """What a rule needs of it: how cases are stored, and the blocks `keys`. `parse_dataset` reads it back."""
        core = {"modalities", "regions", "layouts", "written_as", "patient"}
        return self.model_dump(mode="json", include=core | set(keys), exclude_defaults=True)

    def patient_of(self, case_id: str) -> str:
        """The patient of a case: cases of one patient are no independent cases."""
        for pattern in self.patient:
            if match := re.fullmatch(pattern, case_id):
                return "_".join(filter(None, match.groups())) or case_id
        return case_id


def read_dataset(name: str, data_root: str | None = None, regions: list[str] | None = None) -> Dataset:
    """The data set of a name in config/datasets/, or of a YAML file.

    data_root, regions : of the study; a data set that a file beside the cases describes needs them

    Raises UserError that says what to write.
    """
    path = file_of(name)
    content = _content(path)
    if "described_by" in content:
        content = described(content, str(path), data_root, regions)
    return parse_dataset(content, str(path))


def file_of(name: str, key_of: str = "config: dataset") -> Path:
    """The YAML file of a data set. Raises UserError if there is none; `key_of` says where the name stands."""
    files = config_files("datasets")
    path = Path(name) if name.endswith((".yaml", ".yml")) else files.get(name)
    if path is None or not path.is_file():
        known = sorted(files)
        near = (difflib.get_close_matches(name, known, 1) or known)[0]
        what = (
            f"{key_of} {name!r} is neither one of config/datasets/ ({', '.join(known)}) nor a YAML file that is there"
        )
        raise UserError(f"{what}. Write, for example:\n    {key_of.split()[-1]}: {near}")
    return path


def _content(path: Path, above: tuple[Path, ...] = ()) -> dict:
    """What a data set's file holds, over what the data set holds that it is `like`; null takes a key of that away."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must be a mapping of keys to values")
    base = content.get("like")
    if base is None:
        return content
    if path in above or not isinstance(base, str):
        raise UserError(f"{path}: like must name another data set, not {base!r}")
    own = {key: value for key, value in content.items() if key != "like"}
    return _taken_away(merge(_content(file_of(base, f"{path}: like"), (*above, path)), own))


def _taken_away(content: dict) -> dict:
    kept = {key: value for key, value in content.items() if value is not None}
    return {key: _taken_away(value) if isinstance(value, dict) else value for key, value in kept.items()}


def parse_dataset(settings: object, where: str = "dataset") -> Dataset:
    """A data set of its YAML's content. Raises UserError that names the key."""
    return read_block(Dataset, settings, title=where)


def parse_written(settings: object, where: object) -> Written:
    """How cases are written, of a sidecar or a contract. Raises UserError."""
    return read_block(Written, settings, title=str(where))
