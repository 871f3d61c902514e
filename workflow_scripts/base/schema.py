"""YAML settings checked against a JSON schema, with errors that show the line to write."""

from __future__ import annotations

import copy
import difflib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from .errors import UserError
from .provenance import ROOT

CONFIG = ROOT / "config"
# libyaml's where PyYAML has it, ten times faster: every job of a study reads the configuration.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def merge(base: dict, override: dict) -> dict:
    """A copy of `base` in which the keys of `override` replace its own, mapping by mapping; lists whole."""
    merged = copy.deepcopy(base)
    for key, value in override.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


@cache
def read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except yaml.YAMLError as error:
        raise UserError(f"{path.relative_to(ROOT)} is no valid YAML: {error}") from None


def lines_of(path: list, value: Any) -> str:
    """The YAML lines that set `value` at `path`, indented for a message."""
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(path)]
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    lines[-1] += " " + text.removesuffix("...\n").strip()
    return "\n".join(f"    {line}" for line in lines)


def _lookup(tree: Any, path: list) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _sentence(error: jsonschema.ValidationError, defaults: dict, where: str) -> str:
    path = [key for key in error.absolute_path if isinstance(key, str)]
    name = ".".join(path)
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        unknown = sorted(set(error.instance) - set(known))
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        place = f"under {name!r}" if name else "at the top"
        return f"{where}: unknown key {unknown[0]!r} {place}.{hint} Known keys there: {', '.join(known)}."
    if error.validator == "required":
        missing = sorted(set(error.schema["required"]) - set(error.instance))
        path, what = [*path, missing[0]], f"key {'.'.join([*path, missing[0]])!r} is missing"
    else:
        what = f"{name or 'the file'} is {error.instance!r}, but {_rule(error)}"
    try:
        return f"{where}: {what}. Write, for example:\n{lines_of(path, _lookup(defaults, path))}"
    except (KeyError, TypeError):
        return f"{where}: {what}."


def _rule(error: jsonschema.ValidationError) -> str:
    value = error.validator_value
    words = {
        "type": lambda: f"must be {' or '.join([value] if isinstance(value, str) else value)}",
        "enum": lambda: f"must be one of {', '.join(map(str, value))}",
        "minimum": lambda: f"must be at least {value}",
        "maximum": lambda: f"must be at most {value}",
        "exclusiveMinimum": lambda: f"must be greater than {value}",
        "exclusiveMaximum": lambda: f"must be less than {value}",
        "minItems": lambda: f"must have at least {value} entries",
        "maxItems": lambda: f"must have at most {value} entries",
        "uniqueItems": lambda: "must not name anything twice",
        "multipleOf": lambda: f"must be a multiple of {value}",
        "pattern": lambda: f"must match {value}",
        "minLength": lambda: "must not be empty",
    }
    return words.get(error.validator, lambda: error.message)()


def _retype(config: dict, validator: jsonschema.Draft202012Validator) -> None:
    """Read numbers and nulls where they stand as text, in place: so they come from Snakemake's command line."""
    for error in list(validator.iter_errors(config)):
        value = yaml.safe_load(error.instance) if isinstance(error.instance, str) else error.instance
        if value != error.instance and error.absolute_path:
            *path, last = error.absolute_path
            _lookup(config, path)[last] = value


def check_schema(config: dict, schema: str, defaults: dict, where: str) -> None:
    """Raise UserError for the outermost fault of `config`; text that stands for a number becomes that number."""
    validator = jsonschema.Draft202012Validator(read_yaml(CONFIG / "schemas" / schema))
    _retype(config, validator)
    errors = sorted(validator.iter_errors(config), key=lambda error: (len(error.absolute_path), str(error.path)))
    if errors:
        raise UserError(_sentence(errors[0], defaults, where))


def fail(path: list, value: Any, what: str) -> None:
    """Raise UserError: what is wrong, and the YAML lines that set `value` at `path`."""
    raise UserError(f"config: {what}. Write, for example:\n{lines_of(path, value)}")
