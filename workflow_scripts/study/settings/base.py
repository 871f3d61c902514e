"""What every block of settings shares: strict reading, and the few types that keys are made of."""

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    model_validator,
)

from ...base.errors import UserError


@dataclass(frozen=True)
class Words:
    """In an annotation: what a value may be, for documents and messages, where type and range do not say it."""

    text: str


class Fault(ValueError):
    """Keys that do not fit each other: raised by a validator, told to the user as `UserError`.

    path : keys below the block whose validator raises it
    value : what to write there
    """

    def __init__(self, path: list[str], value: object, what: str):
        super().__init__(what)
        self.path, self.value = path, value


def key(default: Any = ..., unit: str = "", meaning: str = "", *, defaults: dict | None = None, **rules: Any) -> Any:
    """A key of a block. Without `default` it must be given.

    unit : of a number, "" where the type says all
    meaning : a phrase for the documents
    defaults : of a key that holds a block: its values where they are other than the block's own defaults
    rules : further arguments of pydantic's Field: ge, gt, le, lt, min_length, max_length, examples
    """
    if defaults is not None:
        rules |= {"validate_default": True}
        default = defaults
    return Field(default, description=meaning, json_schema_extra={"unit": unit} | _given(defaults), **rules)


def _given(defaults: dict | None) -> dict:
    return {} if defaults is None else {"defaults": defaults}


B = TypeVar("B", bound="Block")


class Block(BaseModel):
    """Settings that belong together: read once, never changed, no unknown key, no number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def read(cls, mapping: object, where: str = "") -> Self:
        """The block that `mapping` holds; keys that are absent have their defaults.

        Text that stands for a number, as Snakemake's command line gives it, is read as that number.

        where : dotted path of the block in the configuration, for messages

        Raises UserError that names the key, its value, what it may be, and the lines to write.
        """
        return read_block(cls, mapping, where)

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_blocks(cls, data: Any) -> Any:
        """A block within this one, with the defaults that it has here."""
        if not isinstance(data, Mapping):
            return data
        merged = dict(data)
        for name, defaults in nested_defaults(cls).items():
            if isinstance(given := merged.get(name, {}), Mapping):
                merged[name] = {**defaults, **given}
        return merged


def read_block(block: type[B], mapping: object, where: str = "", title: str = "config", above: Iterable[str] = ()) -> B:
    """See `Block.read`; `title` begins the sentence, and the keys of `above` enclose the lines to write."""
    path = where.split(".") if where else []
    from . import messages

    if not isinstance(mapping, Mapping):
        what = f"{where or 'the file'} is {messages.shown(mapping)}, but must be a mapping of keys to values."
        raise UserError(f"{title}: {what}")
    data = copy.deepcopy(dict(mapping))
    try:
        return block.model_validate(data)
    except ValidationError as error:
        for fault in error.errors():
            _retype(data, fault)
    try:
        return block.model_validate(data)
    except ValidationError as error:
        raise UserError(messages.sentence(block, data, error, path, title, [*above])) from None


def place_of(data: Any, location: Iterable) -> list:
    """The keys and indices of `location` that lead into `data`; the names that pydantic gives to kinds are left out."""
    place = []
    for step in location:
        inside = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if inside or (isinstance(data, dict) and step in data):
            place.append(step)
            data = data[step]
    return place


def _retype(data: dict, fault: Any) -> None:
    """Read the number, truth value or null that stands as text in the place of a fault."""
    *path, last = place_of(data, fault["loc"]) or [None]
    holder: Any = data
    for step in path:
        holder = holder[step]
    if last is None or not isinstance(holder[last], str) or not holder[last].strip():
        return
    try:
        value = yaml.safe_load(holder[last])
        value = float(value) if isinstance(value, str) else value  # 1e-4, which YAML 1.1 takes for text
    except (yaml.YAMLError, ValueError):
        return
    if value is None or isinstance(value, bool | int | float):
        holder[last] = value


def nested_defaults(block: type[BaseModel]) -> dict[str, dict]:
    """Defaults that `block` gives to the blocks within it, by key."""
    extras: dict[str, Any] = {name: field.json_schema_extra for name, field in block.model_fields.items()}
    return {
        name: extra["defaults"] for name, extra in extras.items() if isinstance(extra, dict) and "defaults" in extra
    }


def _as_written(value: object, read: Any) -> Any:
    """A whole number stays one: contracts and parameters of rules hold numbers as they were written."""
    number = read(value)
    return value if type(value) is int else number


def _once(values: list) -> list:
    if len(values) != len({str(value) for value in values}):
        raise ValueError("names something twice")
    return values


def _expanded(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111 (pathlib raises for ~stranger, which may be the name of a folder)


Number = Annotated[float, WrapValidator(_as_written)]
Positive = Annotated[Number, Field(gt=0)]
Weight = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Unique = AfterValidator(_once)
Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$"),
    Words("a name of letters, digits, - and _ that starts with a letter or digit"),
]
Folder = Annotated[
    str, Field(pattern=r"^[^{}\n]*[^{}\s][^{}\n]*$"), AfterValidator(_expanded), Words("a path, without { and }")
]
Digest = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$"), Words("the output of sha256sum: 64 characters of 0-9 and a-f")
]
Channels = Annotated[list[Count], Field(min_length=1)]
Size = Annotated[list[Annotated[int, Field(ge=8, le=4096)]], Field(min_length=3, max_length=3)]
# YAML reads an unquoted 32 as a number
Precision = Annotated[Literal["auto", "bf16", "32"], BeforeValidator(lambda value: "32" if value == 32 else value)]
