"""A data set whose channels and labels a JSON file beside the cases names, in either of its two forms:

    {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": [1, 2], "lesion": 2}, "regions_class_order": [1, 2]}
    {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ", "2": "lesion"}}

Masks are nested (see `cohort.regions`), so that labels become a chain of regions, each within the one before it.
"""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base.errors import UserError
from .voxels import FOREGROUND, MASK

ENDINGS = (".nii", ".nii.gz")
MOST_UNASKED = 4  # plain labels that are nested by their numbers alone; with more the user says which are studied
LONGEST = 60  # characters of a name
IGNORED = "ignore"  # label of voxels that nobody annotated
GIVEN_BY_FILE = ("modalities", "remarks")


def described(template: Mapping[str, Any], title: str, data_root: str | None, asked: list[str] | None) -> dict:
    """The content of a data set's file, with what the file beside the cases says.

    template : the content of the YAML file, with `described_by`; of `intensity.window` the channels count that there are
    title : the YAML file, for messages
    data_root : folder of the cases, or the table that names them
    asked : the study's `regions`; None: the template's, or by the rule below

    Regions by default: those of the file where it has regions, which must be nested; else wholes of the labels, from all of
    them to the last alone. `asked` takes names of labels or regions, from the outside in: a region then is what its name
    and the names behind it hold, and labels that none of them holds are left out.

    Raises UserError that names the file and says what to write.
    """
    if wrong := [name for name in GIVEN_BY_FILE if name in template]:
        raise UserError(f"{title}: {wrong[0]} and described_by do not go together: the file named there says it")
    path = _find(str(template["described_by"]), title, data_root)
    content = _read(path)
    channels = _channels(content, path)
    named = _labels(content, path)
    regions, sets, remarks = _chain(named, list(asked or template.get("regions") or []), path)
    levels = {label: sum(label in inside for inside in sets) for label in sorted(set().union(*named.values()))}
    labels = {label: regions[level - 1] for label, level in levels.items() if level}
    left_out = {label: _holder(named, label) for label, level in levels.items() if not level}
    layouts = {}
    for name, layout in dict(template.get("layouts") or {}).items():
        by_parts = (
            {"parts": {word: word for word in (*channels, MASK)}} if "files" in layout else {"channels": channels}
        )
        layouts[name] = {**layout, **by_parts, "labels": labels, "left_out": left_out}
    intensity = dict(template.get("intensity") or {})
    window = {name: fixed for name in channels if (fixed := _by_case(intensity.get("window"), name)) is not None}
    intensity["window"] = window or None
    if len(window) == len(channels):
        intensity = {"window": window}
    readable = {region: _shown(named, inside) for region, inside in zip(regions, sets, strict=True)}
    own = {"modalities": channels, "regions": regions, "layouts": layouts, "intensity": intensity, "remarks": remarks}
    return {"region_names": readable, **template, **own}


def _find(name: str, title: str, data_root: str | None) -> Path:
    root = Path(data_root or "")
    folder = root if root.is_dir() else root.parent
    path = folder / name
    if data_root is None or not path.is_file():
        inside = sorted(found.parent.name for found in folder.glob(f"*/{name}")) if data_root else []
        hint = f"; {', '.join(inside[:3])} in it has one: name that folder" if inside else ""
        what = f"{title} takes channels and labels from {name}, and data_root {data_root} has none{hint}"
        raise UserError(f"{what}. Give the folder that holds {name}, or another data set (`dataset:`)")
    return path


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON file: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping with channel_names and labels")
    ending = content.get("file_ending", ENDINGS[-1])
    if ending not in ENDINGS:
        raise UserError(f"{path} has file_ending {ending!r}: only {' and '.join(ENDINGS)} are read. Convert the images")
    return content


def _plain(name: object, otherwise: str) -> str:
    """A name of letters, digits and _."""
    return re.sub(r"[^A-Za-z0-9]+", "_", str(name)).strip("_")[:LONGEST] or otherwise


def _by_case(window: Mapping[str, Any] | None, channel: str) -> Any:
    """The entry of a channel; upper and lower case, and a number that tells equal names apart, are the same."""
    known = {name.lower(): fixed for name, fixed in (window or {}).items()}
    return known.get(channel.lower(), known.get(re.sub(r"_\d+$", "", channel.lower())))


def _unique(names: list[str], taken: tuple[str, ...]) -> list[str]:
    """The names, those that are not unique with their number behind them; upper and lower case are the same."""
    lower = [name.lower() for name in names]
    twice = [one in taken or lower.count(one) > 1 for one in lower]
    return [
        f"{name}_{number}" if again else name for number, (name, again) in enumerate(zip(names, twice, strict=True))
    ]


def _channels(content: Mapping, path: Path) -> list[str]:
    """Names of the channels, in the order of their numbers."""
    names = content.get("channel_names") or content.get("modality")
    example = 'Write, for example, "channel_names": {"0": "CT"}'
    if not isinstance(names, dict) or not names:
        raise UserError(f"{path} names no channels. {example}")
    if sorted(names) != sorted(map(str, range(len(names)))):
        raise UserError(
            f"{path} numbers its channels {', '.join(map(str, names))}, not 0 to {len(names) - 1}. {example}"
        )
    plain = [_plain(names[str(number)], f"channel_{number}") for number in range(len(names))]
    return _unique(plain, (MASK, FOREGROUND))


def _labels(content: Mapping, path: Path) -> dict[str, frozenset[int]]:
    """Name of a label or region: its labels; without the background and voxels that nobody annotated."""
    given = content.get("labels")
    example = 'Write, for example, "labels": {"background": 0, "organ": 1, "lesion": 2}'
    if not isinstance(given, dict) or not given:
        raise UserError(f"{path} names no labels. {example}")
    if all(str(name).isdecimal() and isinstance(value, str) for name, value in given.items()):
        given = {value: int(name) for name, value in given.items()}
    found: dict[str, frozenset[int]] = {}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        if not values or any(type(one) is not int or not 0 <= one <= 255 for one in values):
            raise UserError(f"{path}: label {name!r} is {value!r}, but must be whole numbers from 0 to 255. {example}")
        if value == 0 or str(name).lower() == IGNORED:
            continue
        if 0 in values:
            raise UserError(f"{path}: region {name!r} holds 0, the background: leave it out there")
        plain = _plain(name, f"label_{values[0]}")
        if plain.lower() in map(str.lower, found):
            raise UserError(f"{path}: two labels are called {plain}: give one of them another name")
        found[plain] = frozenset(values)
    if not found:
        raise UserError(f"{path} has no label but the background. {example}")
    if equal := [(one, two) for one in found for two in found if one < two and found[one] == found[two]]:
        what = f"{path}: {' and '.join(equal[0])} hold the same labels, {_numbers(found[equal[0][0]])}"
        raise UserError(f"{what}: leave one of them out")
    return found


def _chain(
    named: Mapping[str, frozenset[int]], asked: list[str], path: Path
) -> tuple[list[str], list[frozenset[int]], list[str]]:
    """Nested regions from the outside in, the labels of each, and what to say of them."""
    by_size = sorted(named, key=lambda name: (-len(named[name]), min(named[name])))
    plain = len(set().union(*named.values())) == sum(map(len, named.values()))  # no label lies in two of them
    regions, sets = by_size, [named[name] for name in by_size]
    if plain:
        order = sorted(named, key=lambda name: min(named[name]))
        sets = [frozenset().union(*(named[name] for name in order[place:])) for place in range(len(order))]
        regions = _unique([_whole(order[place:]) for place in range(len(order))], ())
    fault = "" if plain else _fault(named, by_size)
    if plain and len(named) > MOST_UNASKED:
        fault = f"has {len(named)} labels, and masks here are nested regions. {_choose(by_size[:1])}. {_known(named)}"
    if asked and (fault or asked != regions[: len(asked)]):
        return asked, _asked(named, asked, regions, path), []
    if fault:
        raise UserError(f"{path} {fault}")
    return regions, sets, _remark(named, regions, sets, path) if plain and len(regions) > 1 else []


def _fault(named: Mapping[str, frozenset[int]], by_size: list[str]) -> str:
    """Why regions of a file, the largest first, are not nested; "" where they are."""
    for place, (outer, inner) in enumerate(itertools.pairwise(by_size), 1):
        if not named[inner] < named[outer]:
            what = f"{inner} ({_numbers(named[inner])}) does not lie in {outer} ({_numbers(named[outer])})"
            return f"has regions that are not nested: {what}. {_choose(by_size[:place])}"
    return ""


def _choose(names: list[str]) -> str:
    return f"Write which are studied, from the outside in, for example `regions: [{', '.join(names)}]`"


def _asked(
    named: Mapping[str, frozenset[int]], asked: list[str], regions: list[str], path: Path
) -> list[frozenset[int]]:
    """The labels of each region that the user asked for: its own, and those of the ones behind it."""
    if unknown := [name for name in asked if name not in named]:
        wholes = "" if set(regions) <= set(named) else f"; or the first of {', '.join(regions)}"
        raise UserError(f"regions names {unknown[0]!r}, which is not in {path}. {_known(named)}{wholes}")
    for place, inner in enumerate(asked):
        for outer in asked[:place]:
            if named[inner] & named[outer] and not named[inner] < named[outer]:
                what = f"regions: {inner} ({_numbers(named[inner])}) does not lie in {outer} ({_numbers(named[outer])})"
                raise UserError(f"{what}, both of {path}. Masks are nested, from the outside in: choose one of the two")
    return [frozenset().union(*(named[name] for name in asked[place:])) for place in range(len(asked))]


def _whole(names: list[str]) -> str:
    """What several labels together are called."""
    joined = names[0] if len(names) == 1 else f"{names[0]}_{'and' if len(names) == 2 else 'to'}_{names[-1]}"
    return joined if len(joined) <= LONGEST else f"{names[0][: LONGEST - 9]}_and_more"


def _remark(
    named: Mapping[str, frozenset[int]], regions: list[str], sets: list[frozenset[int]], path: Path
) -> list[str]:
    means = "; ".join(f"{region}: {_numbers(inside)}" for region, inside in zip(regions, sets, strict=True))
    alone = [name for name in named if named[name] not in sets]
    return [
        f"{path.name} has plain labels, which are read as nested wholes ({means}). {', '.join(alone)} alone "
        f"{'has' if len(alone) == 1 else 'have'} no score: `regions: [{alone[0]}]` studies one label, "
        f"`regions: [{', '.join(named)}]` calls each whole after its first"
    ]


def _holder(named: Mapping[str, frozenset[int]], label: int) -> str:
    return min((name for name in named if label in named[name]), key=lambda name: len(named[name]))


def _shown(named: Mapping[str, frozenset[int]], inside: frozenset[int]) -> str:
    """What tables call a region: the labels in it."""
    whole = [name for name in named if named[name] == inside]
    return (whole or [" + ".join(name for name in named if named[name] <= inside)])[0].replace("_", " ")


def _numbers(labels: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(labels)))


def _known(named: Mapping[str, frozenset[int]]) -> str:
    return f"It has {', '.join(f'{name} ({_numbers(labels)})' for name, labels in named.items())}"
