"""From a wrong value to a sentence: the key, its value, what it may be, the nearest known key, and the lines to write."""

import difflib
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ...base.errors import UserError
from .base import Block, Fault, Unique, Words, nested_defaults, place_of

LONGEST_VALUE = 100  # characters of a wrong value in a message


def _outermost(error: ValidationError, data: dict) -> Any:
    """Of several faults the one nearest to the top, unknown keys first."""
    faults = error.errors()
    return min(faults, key=lambda fault: (fault["type"] != "extra_forbidden", len(place_of(data, fault["loc"]))))


def sentence(
    block: type[Block], data: dict, error: ValidationError, path: list[str], title: str, above: list[str]
) -> str:
    """What to tell the user of the fault nearest to the top; see `base.read_block`."""
    fault = _outermost(error, data)
    place = place_of(data, fault["loc"])
    owner, field, names, value = _walk(block, data, place)
    path = [*path, *names]
    if isinstance(raised := fault.get("ctx", {}).get("error"), Fault):
        path += raised.path
        return f"{title}: {_dotted(path)} {raised}. Write, for example:\n{lines_of([*above, *path], raised.value)}"
    if fault["type"] in ("extra_forbidden", "invalid_key") or fault["loc"][-1] == "[key]":
        odd = _odd_key(data, place, fault)
        if fault["loc"][-1] == "[key]" and isinstance(odd, str) and field is not None:
            holder = path[:-1] if path[-1] == odd else path
            return f"{title}: {_dotted(holder)} has {odd!r}, which is not {_allowed(get_args(_bare(field))[0])}."
        return f"{title}: {_unknown(owner, odd, path)}"
    if fault["type"] == "missing":
        name = str(fault["loc"][-1])
        path, field, what = (
            [*path, name],
            owner.model_fields[name],
            f"is missing; it must be {allowed(owner.model_fields[name])}",
        )
    elif fault["type"].startswith("union_tag"):  # a block whose keys depend on its kind
        if isinstance(value, dict):
            path, value = [*path, "kind"], value.get("kind")
        kinds = _kinds(field)
        what = f"is {shown(value)}, but must be one of {', '.join(kinds)}"
        return f"{title}: {_dotted(path)} {what}. Write, for example:\n{lines_of([*above, *path], kinds[0])}"
    elif value is None or (isinstance(value, str) and not value.strip()):
        what = "is empty (a blank line, or an unset shell variable?)"
    elif fault["type"] == "finite_number":
        what = f"holds {shown(fault['input'])}, which is no finite number; it must be {allowed(field)}"
    else:
        what = f"is {shown(value)}, but must be {allowed(field)}"
    return f"{title}: {_dotted(path)} {what}. {_advice([*above, *path], field, value)}".strip()


def _walk(block: type[Block], data: Any, place: list) -> tuple[type[Block], FieldInfo | None, list[str], Any]:
    """The innermost block on the way of `place`, the key that holds the fault, the way to it, and its value."""
    field: FieldInfo | None = None
    names: list[str] = []
    value = data
    entries: list[type[Block]] = []  # that the mapping by name holds in which the way goes on
    for step in place:
        data = data[step]
        if isinstance(step, int) and field is not None:
            continue  # an entry of a list
        if entries:
            block, value, names, entries = entries[0], data, [*names, str(step)], []
            continue
        if not isinstance(step, str) or step not in block.model_fields:
            break
        field, value, names = block.model_fields[step], data, [*names, step]
        if entries := _blocks_by_name(field):
            continue
        choices = blocks_of(field)
        if not choices:
            break
        if isinstance(data, dict | list):
            kind = data.get("kind") if isinstance(data, dict) else None
            block = next((one for one in choices if kind in _literals(one, "kind")), choices[0])
    return block, field, names, value


def _odd_key(data: Any, place: list, fault: Any) -> object:
    """The key that a fault is of: the last of its place, or, of a key that is no text, that key itself."""
    for step in place:
        if not isinstance(data, dict):
            break
        data = data[step]
    odd = [key for key in data if not isinstance(key, str)] if isinstance(data, dict) else []
    if fault["type"] == "invalid_key" and odd:
        return odd[0]
    return place[-1] if place else fault["loc"][-1]


def _bare(field: FieldInfo) -> Any:
    """A key's type without its rules."""
    return get_args(field.annotation)[0] if get_origin(field.annotation) is Annotated else field.annotation


def _blocks_by_name(field: FieldInfo) -> list[type[Block]]:
    """The block that each value of a key's mapping is, if it holds blocks by name."""
    annotation = _bare(field)
    value = get_args(annotation)[1] if get_origin(annotation) is dict else None
    return [value] if isinstance(value, type) and issubclass(value, Block) else []


def blocks_of(field: FieldInfo) -> list[type[Block]]:
    """The blocks that a key may hold, one for each kind; none for a key that holds a value."""

    def parts(annotation: Any) -> list[type[Block]]:
        if isinstance(annotation, type) and issubclass(annotation, Block):
            return [annotation]
        if get_origin(annotation) is Annotated:
            return parts(get_args(annotation)[0])
        if get_origin(annotation) in (Union, types.UnionType, list):
            return [block for part in get_args(annotation) for block in parts(part)]
        return []

    return parts(field.annotation)


def _literals(block: type[Block], name: str) -> tuple:
    return get_args(block.model_fields[name].annotation) if name in block.model_fields else ()


def _kinds(field: FieldInfo | None) -> list[str]:
    return [str(kind) for block in blocks_of(field) for kind in _literals(block, "kind")] if field else []


def _unknown(owner: type[Block], key: object, path: list[str]) -> str:
    if not isinstance(key, str):
        return f"the key {key!r} {_under(path)} is no text: keys are names, and a name of digits stands in quotes."
    known = sorted(owner.model_fields)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown key {key!r} {_under(path)}.{hint} Known keys there: {', '.join(known)}."


def _under(path: list[str]) -> str:
    return f"under {_dotted(path)!r}" if path else "at the top"


def _dotted(path: Iterable[str]) -> str:
    return ".".join(path)


def _advice(path: list[str], field: FieldInfo | None, value: object) -> str:
    """The lines to write: an example of the model's own, the number as the text that was wanted, or the default."""
    if field is None:
        return ""
    if field.examples:
        return "Write " + " or ".join(f"`{path[-1]}: {example}`" for example in field.examples) + "."
    if field.annotation is str and isinstance(value, int | float):
        example: object = str(value)
    elif field.is_required():
        return ""
    else:
        example = field.get_default(call_default_factory=True)
        example = example.model_dump() if isinstance(example, Block) else example
    return f"Write, for example:\n{lines_of(path, example)}"


def lines_of(path: list, value: Any) -> str:
    """The YAML lines that set `value` at `path`, indented for a message."""
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(path)]
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    lines[-1] += " " + text.removesuffix("...\n").strip()
    return "\n".join(f"    {line}" for line in lines)


def shown(value: object) -> str:
    """A wrong value in a message: at most `LONGEST_VALUE` characters of it."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ..."


def fail(path: list, value: Any, what: str, title: str = "config") -> None:
    """Raise UserError: what is wrong, and the YAML lines that set `value` at `path`."""
    raise UserError(f"{title}: {what}. Write, for example:\n{lines_of(path, value)}")


def allowed(field: FieldInfo | None) -> str:
    """What the value of a key may be, in words."""
    return "something else" if field is None else _allowed(field.annotation, field.metadata)


def _allowed(annotation: Any, metadata: Iterable = ()) -> str:
    rules = [rule for part in metadata for rule in (part.metadata if isinstance(part, FieldInfo) else [part])]
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _allowed(inner, [*more, *rules])
    if words := [rule.text for rule in rules if isinstance(rule, Words)]:
        return words[-1]
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        null = ["null"] if type(None) in get_args(annotation) else []
        return ", or ".join([*dict.fromkeys(_allowed(part, rules) for part in parts), *null])
    if get_origin(annotation) is Literal:
        choices = [str(choice) for choice in get_args(annotation)]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    if get_origin(annotation) is list:
        return _list_words(get_args(annotation)[0], rules)
    if get_origin(annotation) is dict and "Words(" in repr(annotation):
        name, value = (_allowed(part) for part in get_args(annotation))
        return f"a mapping of names, each {name}, to values, each {value}"
    if annotation is bool:
        return "true or false"
    if annotation in (int, float):
        return f"a {'whole ' if annotation is int else ''}number{_range_words(rules)}"
    return "text" if annotation is str else "a mapping of keys to values"


def _list_words(item: Any, rules: list) -> str:
    least = max((rule.min_length for rule in rules if isinstance(rule, annotated_types.MinLen)), default=0)
    most = min((rule.max_length for rule in rules if isinstance(rule, annotated_types.MaxLen)), default=None)
    length = f" of {least}" if least and least == most else f" of at least {least}" if least > 1 else ""
    none_twice = ", none twice" if Unique in rules else ""
    return f"a list{length}, each {_allowed(item)}{none_twice}"


def _range_words(rules: list) -> str:
    bounds = {kind: [getattr(rule, kind) for rule in rules if hasattr(rule, kind)] for kind in ("ge", "gt", "le", "lt")}
    low = str(max(bounds["ge"])) if bounds["ge"] else None
    high = str(min(bounds["le"])) if bounds["le"] else None
    if low and high:
        words = f" from {low} to {high}"
    else:
        parts = [f"of at least {low}"] if low else [f"above {value}" for value in bounds["gt"]]
        parts += [f"of at most {high}"] if high else [f"below {value}" for value in bounds["lt"]]
        words = " " + " and ".join(parts) if parts else ""
    even = [rule.multiple_of for rule in rules if hasattr(rule, "multiple_of") and rule.multiple_of]
    return words + "".join(f", a multiple of {number}" for number in even)


def default_of(block: type[Block], name: str) -> Any:
    """The value of a key where it is not given, as plain data; `...` for a key that must be given."""
    field = block.model_fields[name]
    if field.is_required():
        return ...
    if name in nested_defaults(block):
        return blocks_of(field)[0].model_validate(nested_defaults(block)[name]).model_dump()
    value = field.get_default(call_default_factory=True)
    return value.model_dump() if isinstance(value, Block) else value
