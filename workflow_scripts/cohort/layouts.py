"""How a cohort lies on disk: which file is what, and whose it is. Reads names, not images."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..base.cli import log
from ..base.errors import BadCase, UserError
from ..study.dataset import EXTENSIONS, Dataset, Layout
from ..study.voxels import FOREGROUND, MASK

TEST_IMAGES = "imagesTs"  # folder of images without masks
TWICE = "Keep one of them, or give the other another id"


@dataclass
class CaseFiles:
    """The files of one case, unread. `channels` says which channel of an image of all channels is which modality."""

    case_id: str
    patient_id: str
    layout: str
    paths: dict[str, Path]  # modality, MASK or FOREGROUND -> file
    channels: dict[str, int] = field(default_factory=dict)


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
            refused.append(BadCase(folder.name, folder, reason, "Give yourself permission to list it", "unreadable"))
            continue
        folders = []
        for entry in entries:
            if entry.name.startswith("."):  # macOS leaves ._<name>.nii.gz, which are no images
                continue
            try:
                entry.name.encode()
            except UnicodeEncodeError:
                shown = os.fsencode(entry.path).decode("utf-8", "backslashreplace")
                what = "the name is not valid UTF-8"
                refused.append(BadCase(Path(shown).name, shown, what, "Rename it", "unreadable"))
                continue
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # a link to itself
                reason = f"it cannot be read ({error.strerror})"
                refused.append(BadCase(entry.name, entry.path, reason, "Remove it, or mend the link", "unreadable"))
                continue
            if is_folder:
                folders.append(Path(entry.path))
            else:
                yield Path(entry.path)
        todo.extend(reversed(folders))


def images_below(root: Path) -> Iterator[Path]:
    """The files below a folder that cases are read from, sorted."""
    return (path for path in _walk(root, []) if _is_image(path) or path.name == "dataset.json")


def name_of(path: Path) -> str:
    """The name that says what an image is: its own, or that of a folder that is called like an image and holds it."""
    return path.parent.name if _is_image(path.parent) and _is_image(path) else path.name


def _named_cases(files: list[Path], root: Path, layouts: Mapping[str, Layout]) -> dict[str, list[tuple]]:
    """case id -> [(layout, part, path)] for all files whose name fits one of the layouts."""
    cases: dict[str, list[tuple[str, str, Path]]] = {}
    by_file = {name: layout for name, layout in layouts.items() if layout.pattern}
    # Layouts of the same names are told apart by the folders above a file.
    folders: dict[re.Pattern, set[str]] = {}
    for layout in by_file.values():
        folders.setdefault(layout.pattern, set()).update(layout.folders)
    twins = [layout.pattern for layout in by_file.values()]
    for path in files:
        above = {part.upper() for part in (root.name, *path.relative_to(root).parts[:-1])}
        for name, layout in by_file.items():
            if twins.count(layout.pattern) > 1 and bool(layout.folders) != bool(folders[layout.pattern] & above):
                continue
            match = layout.pattern.fullmatch(name_of(path))
            if match and layout.takes(match["case"]):
                cases.setdefault(match["case"], []).append((name, layout.part_of(match["part"]), path))
                break
    return cases


def _channels(folder: Path, layout: Layout, levels: Mapping[int, int]) -> dict[str, int]:
    """Modality -> channel of the images, from dataset.json beside their folder if there is one and the layout knows its names.

    Raises UserError if it names other channels, or regions of other labels than the layout's `levels` (label -> level).
    """
    path = folder / "dataset.json"
    if not layout.channel_names or not path.is_file():
        return {name: index for index, name in enumerate(layout.channels)}
    try:
        content = json.loads(path.read_text("utf-8"))
        names = content.get("channel_names") or content["modality"]
        found = {layout.channel_names[str(name).lower()]: int(index) for index, name in names.items()}
        regions = [set(labels) for labels in content.get("labels", {}).values() if isinstance(labels, list)]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        known = ", ".join(sorted(layout.channel_names))
        what = f"{path} does not say which channel is which ({type(error).__name__}: {error})"
        raise UserError(f'{what}. Write "channel_names": {{"0": ...}}; names known: {known}') from None
    expected = [{label for label, level in levels.items() if level > place} for place in range(max(levels.values()))]
    if regions and sorted(map(sorted, regions)) != sorted(map(sorted, expected)):
        what = f"{path} has regions of labels {regions}, not {expected}"
        raise UserError(f"{what}. Give the cases a data set of their own (`dataset:`), with these labels")
    return found


def _cases_of_images(
    files: list[Path], name: str, dataset: Dataset, left_out: dict[Path, str], annotated: bool
) -> list[CaseFiles]:
    """The cases of a layout that keeps its images in one folder, all channels of a case in one file or each in a numbered
    one, beside a folder of masks. A folder whose channels are not the data set's goes to `left_out`, with the reason."""
    layout, there = dataset.layouts[name], set(files)
    cases: dict[Path, CaseFiles] = {}
    channels: dict[Path, dict[str, int]] = {}
    for path in files:
        match = re.fullmatch(rf"(?P<case>.+?)(_(?P<channel>\d{{4}}))?{EXTENSIONS}", path.name)
        folder = path.parent.parent
        if path.parent.name not in (layout.images, *[TEST_IMAGES] * (not annotated)) or not match or folder in left_out:
            continue
        masks = {
            case: [
                mask for suffix in (".nii.gz", ".nii") if (mask := folder / layout.masks / f"{case}{suffix}") in there
            ]
            for case in (match["case"], re.sub(EXTENSIONS, "", path.name))
        }
        whole_name, case_id = re.sub(EXTENSIONS, "", path.name), match["case"]
        if layout.numbered != bool(match["channel"] and not masks[whole_name]):
            continue
        case_id = case_id if layout.numbered else whole_name
        if folder not in channels:
            try:
                channels[folder] = _channels(folder, layout, dataset.levels_of(name))
            except UserError as error:
                left_out[folder] = str(error)
                continue
        case = cases.setdefault(folder / case_id, CaseFiles(case_id, dataset.patient_of(case_id), name, {}))
        if layout.numbered:
            case.paths |= {part: path for part, index in channels[folder].items() if index == int(match["channel"])}
        else:
            case.paths, case.channels = dict.fromkeys(channels[folder], path), dict(channels[folder])
        if masks[case_id]:
            case.paths[MASK] = masks[case_id][0]
    return [case for case in cases.values() if case.paths]


def _assemble(case_id: str, items: list[tuple[str, str, Path]], dataset: Dataset) -> CaseFiles:
    """One case of its files. Raises BadCase if a part is there twice."""
    paths: dict[str, Path] = {}
    for _, part, path in items:
        if part in paths:
            files = f"{paths[part]}, {path}"
            reason = f"the case id is there more than once ({part} is in two files)"
            raise BadCase(case_id, files, reason, TWICE, "duplicate")
        paths[part] = path
    return CaseFiles(case_id, dataset.patient_of(case_id), items[0][0], paths)


def parts_of(dataset: Dataset, modalities: Sequence[str], annotated: bool = True) -> list[str]:
    """What every case must have: its modalities, its mask if it is `annotated`, and its foreground where that is given."""
    return [*modalities, *[MASK] * annotated, *([FOREGROUND] if dataset.foreground.rule == "mask" else [])]


def _check_complete(case: CaseFiles, parts: Sequence[str], layout: Layout) -> None:
    missing = [name for name in parts if name not in case.paths]
    if missing:
        folder = next(iter(case.paths.values())).parent
        what = f"the tumour mask ({MASK})" if missing == [MASK] else ", ".join(missing)
        there = sorted(path.name for path in folder.iterdir() if _is_image(path))
        strays = [name for name in there if folder / name not in case.paths.values()] if layout.files else []
        if strays and len(there) < 20:
            what += f"; beside its files lies {', '.join(strays[:3])}, of another name"
        raise BadCase(case.case_id, folder, f"missing {what}", f"Expected {layout.example}", "incomplete")


def find_cases(
    root: str | os.PathLike, dataset: Dataset, modalities: Sequence[str], layout: str = "auto", annotated: bool = True
) -> tuple[list[CaseFiles], list[BadCase], list[Path]]:
    """Find the cases below a folder, however deep, by file name alone.

    root : the cohort's folder; several layouts may lie in it side by side
    modalities : the modalities every case must have (of the data set's)
    layout : "auto", or the name of one of the data set's layouts, to take only files named that way
    annotated : they must have masks; else masks are left out where there are any, and folders of test images are read too

    Returns complete cases sorted by id; what was refused: incomplete cases, ids that are there twice, unreadable
    folders; and the NIfTI files that belong to no case (such as test images without masks).

    Raises UserError if the folder is missing or holds no case at all; the message says what it holds instead.
    """
    root = Path(root)
    if layout != "auto" and layout not in dataset.layouts:
        raise UserError(f"layout {layout!r} is not known: write auto, or one of {', '.join(dataset.layouts)}")
    if unknown := [name for name in modalities if name not in dataset.modalities]:
        raise UserError(f"modality {unknown[0]!r} is not known: choose among {', '.join(dataset.modalities)}")
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"data_root {root} {what}: give the folder that holds the cases")
    refused: list[BadCase] = []
    files = list(_walk(root, refused))
    wanted = {
        name: item for name, item in dataset.layouts.items() if (layout == "auto" and not item.asked) or layout == name
    }
    candidates: dict[str, list[CaseFiles]] = {}
    left_out: dict[Path, str] = {}
    for name, item in wanted.items():
        for case in _cases_of_images(files, name, dataset, left_out, annotated) if item.images else ():
            candidates.setdefault(case.case_id, []).append(case)
    named = _named_cases(files, root, wanted)
    used = {path for items in named.values() for _, _, path in items}
    used |= {path for cases in candidates.values() for case in cases for path in case.paths.values()}
    found: list[CaseFiles] = []
    for case_id in sorted({*named, *candidates}):
        try:
            cases = candidates.get(case_id, [])
            if case_id in named:
                cases = [*cases, _assemble(case_id, named[case_id], dataset)]
            if len(cases) > 1:
                paths = ", ".join(str(next(iter(case.paths.values()))) for case in cases)
                raise BadCase(case_id, paths, "the case id is there more than once", TWICE, "duplicate")
            _check_complete(cases[0], parts_of(dataset, modalities, annotated), dataset.layouts[cases[0].layout])
            if not annotated:
                cases[0].paths.pop(MASK, None)
            found.append(cases[0])
        except BadCase as error:
            refused.append(error)
    found = keep_apart(found, refused)
    for folder, reason in left_out.items():
        if not found and not refused:
            raise UserError(reason)
        log.warning("%s is left out: %s", folder, reason)
    if not found and not refused:
        raise UserError(_nothing_found(root, files, layout, dataset))
    return found, refused, [path for path in files if _is_image(path) and path not in used]


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def keep_apart(found: list[CaseFiles], refused: list[BadCase]) -> list[CaseFiles]:
    """The cases whose files cannot be taken for those of another case: of A and A_seg, and of a and A, the first stays."""
    kept: dict[str, CaseFiles] = {}
    for case in sorted(found, key=lambda case: (len(case.case_id), case.case_id)):
        name = case.case_id.lower()
        if twin := kept.get(name) or kept.get(name.removesuffix(f"_{MASK}")):
            what = f"the case id cannot be told from {twin.case_id} in names of files"
            path = next(iter(case.paths.values())).parent
            refused.append(BadCase(case.case_id, path, what, "Give one of them another id", "duplicate"))
        else:
            kept[name] = case
    return sorted(kept.values(), key=lambda case: case.case_id)


def _nothing_found(root: Path, files: list[Path], layout: str, dataset: Dataset) -> str:
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
        others = [name for name, item in dataset.layouts.items() if _named_cases(files, root, {name: item})]
        folders = {path.parent.name for path in images}
        others += [name for name, item in dataset.layouts.items() if item.images in folders]
        hint = f" Its files look like {' or '.join(others)}: set `layout: auto`." if others else ""
        return f"data_root {root} {held}. layout {layout} needs {dataset.layouts[layout].example}.{hint}"
    forms = "\n".join(f"    {name}: {item.example}" for name, item in dataset.layouts.items())
    return f"data_root {root} {held}. Give the folder that holds the cases, named in one of these ways:\n{forms}"
