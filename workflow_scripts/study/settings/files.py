"""YAML files of settings: read, and laid over one another."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ...base.errors import UserError
from ...base.provenance import PROJECT

# libyaml's where PyYAML has it, ten times faster: every job of a study reads the configuration.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def config_files(kind: str) -> dict[str, Path]:
    """The YAML files of config/<kind>/ by name: the project's, and before them those of the folder that the study runs in,
    which is another one where the workflow is a module or --directory is given."""
    folders = (PROJECT / "config" / kind, Path("config", kind).resolve())
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def merge(base: dict, override: dict) -> dict:
    """A copy of `base` in which the keys of `override` replace its own, mapping by mapping; lists whole."""
    merged = copy.deepcopy(base)
    for key, value in override.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


@cache
def read_yaml(path: Path) -> Any:
    """What the file holds. Raises UserError if it is no YAML, or no text in UTF-8."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no valid YAML: {error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8: save it in that encoding") from None
