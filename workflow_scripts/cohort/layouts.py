"""How BraTS cohorts lie on disk: which file is what, whose it is, and what its labels mean. Reads names, not images."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..base.errors import BadCase, UserError
from .regions import LEVEL

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
_OEDEMA, _CORE, _ENHANCING = LEVEL["whole_tumor"], LEVEL["tumor_core"], LEVEL["enhancing_tumor"]


@dataclass(frozen=True)
class Layout:
    """One way of naming files. `levels` maps label to level (0: left out of the tumour); `left_out` names those."""

    name: str
    example: str
    pattern: re.Pattern | None
    parts: Mapping[str, str]
    levels: Mapping[int, int]
    left_out: Mapping[int, str] = field(default_factory=dict)


def _pattern(separator: str, parts: Sequence[str]) -> re.Pattern:
    return re.compile(rf"(?P<case>.+){separator}(?P<part>{'|'.join(parts)})\.nii(\.gz)?", re.IGNORECASE)


_OLD = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f", "seg": "seg"}
_NEW = {name: name for name in (*MODALITIES, "seg")}
_OLD_LEVELS = {1: _CORE, 2: _OEDEMA, 4: _ENHANCING}
_NEW_LEVELS = {1: _CORE, 2: _OEDEMA, 3: _ENHANCING, 4: 0}

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("brats2018", "HGG/<case>/<case>_{t1,t1ce,t2,flair,seg}.nii.gz", _pattern("_", _OLD), _OLD, _OLD_LEVELS),
        Layout("brats2021", "<case>/<case>_{t1,t1ce,t2,flair,seg}.nii.gz", _pattern("_", _OLD), _OLD, _OLD_LEVELS),
        Layout(
            "brats2023",
            "<case>/<case>-{t1n,t1c,t2w,t2f,seg}.nii.gz",
            _pattern("-", _NEW),
            _NEW,
            _NEW_LEVELS,
            {4: "resection cavity"},
        ),
        Layout(
            "decathlon",
            "imagesTr/<case>.nii.gz with labelsTr/<case>.nii.gz",
            None,
            {},
            {1: _OEDEMA, 2: _CORE, 3: _ENHANCING},
        ),
    )
}
DECATHLON_CHANNELS = ("t2f", "t1n", "t1c", "t2w")  # FLAIR, T1w, t1gd, T2w: order of Task01 without a dataset.json
_DECATHLON_NAMES = {"flair": "t2f", "t1w": "t1n", "t1": "t1n", "t1gd": "t1c", "t1ce": "t1c", "t2w": "t2w", "t2": "t2w"}


@dataclass
class CaseFiles:
    """The files of one case, unread. `channels` says which channel of a 4D file is which modality (Decathlon)."""

    case_id: str
    layout: str
    paths: dict[str, Path]  # modality or "seg" -> file
    channels: dict[str, int] = field(default_factory=dict)

    @property
    def patient_id(self) -> str:
        return patient_of(self.case_id)


def patient_of(case_id: str) -> str:
    """The patient of a case: since BraTS 2023 ids end in the time point (``BraTS-GLI-00000-001``), earlier in none."""
    match = re.fullmatch(r"(.+-\d{4,})-\d{3}", case_id)
    return match[1] if match else case_id


def first_of_each_patient(case_ids: Iterable[str]) -> list[str]:
    """The first case of each patient by id, sorted: time points of one patient are no independent cases."""
    first: dict[str, str] = {}
    for case_id in sorted(case_ids):
        first.setdefault(patient_of(case_id), case_id)
    return list(first.values())


def _walk(root: Path, refused: list[BadCase]) -> Iterator[Path]:
    """All files below `root`, sorted, links followed (each folder once), hidden ones left out.

    A folder that cannot be listed, or a name that is no text, goes to `refused`.
    """
    todo, seen = [root], set()
    while todo:
        folder = todo.pop()
        try:
            real = folder.resolve()
            if real in seen:
                continue
            seen.add(real)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise UserError(f"data_root {root} cannot be read ({error.strerror})") from None
            reason = f"the folder cannot be read ({error.strerror})"
            refused.append(BadCase(folder.name, folder, reason, "Give yourself permission to list it"))
            continue
        folders = []
        for entry in entries:
            if entry.name.startswith("."):  # macOS leaves ._<name>.nii.gz, which are no images
                continue
            try:
                entry.name.encode()
            except UnicodeEncodeError:
                shown = os.fsencode(entry.path).decode("utf-8", "backslashreplace")
                refused.append(BadCase(Path(shown).name, shown, "the name is not valid UTF-8", "Rename it"))
                continue
            if entry.is_dir():
                folders.append(Path(entry.path))
            else:
                yield Path(entry.path)
        todo.extend(reversed(folders))


def _named_cases(files: list[Path], root: Path, wanted: Sequence[str]) -> dict[str, list[tuple[str, str, Path]]]:
    """case id -> [(layout, part, path)] for all files whose name fits one of the layouts `wanted`."""
    cases: dict[str, list[tuple[str, str, Path]]] = {}
    layouts = [LAYOUTS[name] for name in wanted if LAYOUTS[name].pattern]
    for path in files:
        graded = {"HGG", "LGG"} & {part.upper() for part in (root.name, *path.relative_to(root).parts[:-1])}
        for layout in layouts:
            other = "brats2018" if layout.name == "brats2021" else "brats2021"
            if layout.parts is _OLD and other in wanted and (layout.name == "brats2018") != bool(graded):
                continue  # same names: the HGG and LGG folders tell them apart
            if match := layout.pattern.fullmatch(path.name):
                part = layout.parts[match["part"].lower()]
                cases.setdefault(match["case"], []).append((layout.name, part, path))
                break
    return cases


def _decathlon_channels(folder: Path) -> dict[str, int]:
    """Modality -> channel of the 4D images, from dataset.json beside imagesTr if there is one."""
    path = folder / "dataset.json"
    if not path.is_file():
        return {name: index for index, name in enumerate(DECATHLON_CHANNELS)}
    try:
        names = json.loads(path.read_text("utf-8"))["modality"]
        channels = {_DECATHLON_NAMES[str(name).lower()]: int(index) for index, name in names.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        known = ", ".join(sorted(_DECATHLON_NAMES))
        what = f"{path} does not say which channel is which ({type(error).__name__}: {error})"
        raise UserError(f'{what}. Write "modality": {{"0": "FLAIR", ...}}; names known: {known}') from None
    return channels


def _decathlon_cases(files: list[Path]) -> dict[str, list[CaseFiles]]:
    cases: dict[str, list[CaseFiles]] = {}
    channels: dict[Path, dict[str, int]] = {}
    there = set(files)
    for path in files:
        match = re.fullmatch(r"(?P<case>.+?)\.nii(\.gz)?", path.name)
        if path.parent.name != "imagesTr" or not match:
            continue
        folder = path.parent.parent
        if folder not in channels:
            channels[folder] = _decathlon_channels(folder)
        paths = dict.fromkeys(channels[folder], path)
        masks = [folder / "labelsTr" / f"{match['case']}{suffix}" for suffix in (".nii.gz", ".nii")]
        if present := [mask for mask in masks if mask in there]:
            paths["seg"] = present[0]
        case = CaseFiles(match["case"], "decathlon", paths, dict(channels[folder]))
        cases.setdefault(match["case"], []).append(case)
    return cases


def _assemble(case_id: str, items: list[tuple[str, str, Path]]) -> CaseFiles:
    """One case of its files. Raises BadCase if a part is there twice."""
    paths: dict[str, Path] = {}
    for _, part, path in items:
        if part in paths:
            files = f"{paths[part]}, {path}"
            reason = f"the case id is there more than once ({part} is in two files)"
            raise BadCase(case_id, files, reason, "Keep one of them, or give the other another id")
        paths[part] = path
    return CaseFiles(case_id, items[0][0], paths)


def _check_complete(case: CaseFiles, modalities: Sequence[str]) -> None:
    missing = [name for name in (*modalities, "seg") if name not in case.paths]
    if missing:
        folder = next(iter(case.paths.values())).parent
        what = "the tumour mask (seg)" if missing == ["seg"] else ", ".join(missing)
        raise BadCase(case.case_id, folder, f"missing {what}", f"Expected {LAYOUTS[case.layout].example}")


def find_cases(
    root: str | os.PathLike, modalities: Sequence[str], layout: str = "auto"
) -> tuple[list[CaseFiles], list[BadCase], list[Path]]:
    """Find the cases below a folder, however deep, by file name alone.

    Parameters
    ----------
    root : the cohort's folder; several layouts may lie in it side by side
    modalities : the modalities every case must have (of MODALITIES)
    layout : "auto", or the name of one of LAYOUTS, to take only files named that way

    Returns
    -------
    Complete cases sorted by id; what was refused: incomplete cases, ids that are there twice, unreadable folders; and
    the NIfTI files that belong to no case (such as the Decathlon's imagesTs, which has no masks).

    Raises UserError if the folder is missing or holds no case at all; the message says what it holds instead.
    """
    root = Path(root)
    if layout != "auto" and layout not in LAYOUTS:
        raise UserError(f"layout {layout!r} is not known: write auto, or one of {', '.join(LAYOUTS)}")
    if unknown := [name for name in modalities if name not in MODALITIES]:
        raise UserError(f"modality {unknown[0]!r} is not known: choose among {', '.join(MODALITIES)}")
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"data_root {root} {what}: give the folder that holds the cases")
    refused: list[BadCase] = []
    files = list(_walk(root, refused))
    wanted = list(LAYOUTS) if layout == "auto" else [layout]
    decathlon = _decathlon_cases(files) if "decathlon" in wanted else {}
    named = _named_cases(files, root, wanted)
    found: list[CaseFiles] = []
    for case_id in sorted({*named, *decathlon}):
        try:
            candidates = list(decathlon.get(case_id, []))
            if case_id in named:
                candidates.append(_assemble(case_id, named[case_id]))
            if len(candidates) > 1:
                paths = ", ".join(str(next(iter(case.paths.values()))) for case in candidates)
                what = "Keep one of them, or give the other another id"
                raise BadCase(case_id, paths, "the case id is there more than once", what)
            _check_complete(candidates[0], modalities)
            found.append(candidates[0])
        except BadCase as error:
            refused.append(error)
    if not found and not refused:
        raise UserError(_nothing_found(root, files, layout))
    used = {path for items in named.values() for _, _, path in items}
    used |= {path for cases in decathlon.values() for case in cases for path in case.paths.values()}
    return found, refused, [path for path in files if _is_image(path) and path not in used]


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _nothing_found(root: Path, files: list[Path], layout: str) -> str:
    images = [path for path in files if _is_image(path)]
    if not files:
        held = "holds no files"
    elif not images:
        held = f"holds {len(files)} files, but no NIfTI image (for example {files[0].relative_to(root)})"
    else:
        held = (
            f"holds {len(images)} NIfTI images, but none named as expected (for example {images[0].relative_to(root)})"
        )
    if layout != "auto":
        others = [name for name in LAYOUTS if _named_cases(files, root, [name])]
        others += ["decathlon"] if any(path.parent.name == "imagesTr" for path in images) else []
        hint = f" Its files look like {' or '.join(others)}: set `layout: auto`." if others else ""
        return f"data_root {root} {held}. layout {layout} needs {LAYOUTS[layout].example}.{hint}"
    forms = "\n".join(f"    {item.name}: {item.example}" for item in LAYOUTS.values())
    return f"data_root {root} {held}. Give the folder that holds the cases, named in one of these ways:\n{forms}"
