"""A Snakemake profile for Slurm, read as far as it says where jobs go."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError


@dataclass(frozen=True)
class Profile:
    """What a profile says about jobs: resources of every job, and of single rules."""

    path: Path
    default: dict[str, Any] = field(default_factory=dict)
    of_rule: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def resources(self, rule: str | None = None) -> dict[str, Any]:
        """Resources of a job of `rule`, as far as the profile decides them."""
        return {**self.default, **self.of_rule.get(rule, {})}

    @property
    def frees_jobs(self) -> bool:
        """Whether this machine's cores and cards, which profiles/default gives, leave the cluster's jobs alone."""
        scopes = _pairs(self.path, "set-resource-scopes", self.options.get("set-resource-scopes"))
        return scopes.get("gpu") == "local"

    def where(self, value: object) -> str:
        """The file, and the first line that holds `value` outside a comment."""
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            if re.search(rf"[:=]\s*['\"]*{re.escape(str(value))}\b", line.split(" #")[0]) and line.strip()[:1] != "#":
                return f"{self.path}, line {number}"
        return str(self.path)


def find_profile(name: str) -> Path:
    """The file that ``snakemake --profile <name>`` reads. Raises UserError where there is none."""
    from snakemake.cli import get_profile_dir

    found = get_profile_dir(name)
    if found is None:
        raise UserError(
            f"there is no profile {name!r}: {name}/config.yaml is missing. Run this in the project's folder, or name the "
            "profile's folder: make slurm-check PROFILE=<folder>"
        )
    path = found[1]
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def read_profile(path: Path) -> Profile:
    """Read a profile: resources as a mapping or as a list of ``key=value`` and ``rule:key=value``.

    Raises UserError for a file that cannot be read, is no YAML mapping, or has resources in another form.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {os.strerror(error.errno)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is empty or no mapping: it must hold lines such as `executor: slurm`")
    default = _pairs(path, "default-resources", content.pop("default-resources", None))
    of_rule = _rules(path, content.pop("set-resources", None))
    return Profile(path, default, of_rule, content)


def _pairs(path: Path, key: str, value: Any) -> dict[str, Any]:
    """A mapping, from a mapping or from a list of ``name=value``; entries without a value are left out."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(item, str) and "=" in item for item in value):
        value = {name: yaml.safe_load(text) for name, _, text in (item.partition("=") for item in value)}
    if not isinstance(value, dict | None):
        raise UserError(f"{path}: {key} must be a mapping, with lines such as `  slurm_partition: gpu`")
    return {name: item for name, item in (value or {}).items() if item is not None}


def _rules(path: Path, value: Any) -> dict[str, dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(item, str) and ":" in item for item in value):
        rules: dict[str, list[str]] = {}
        for item in value:
            rule, _, pair = item.partition(":")
            rules.setdefault(rule, []).append(pair)
        value = rules
    if not isinstance(value, dict | None):
        raise UserError(
            f"{path}: set-resources must be a mapping, with lines such as `  train_autoencoder: {{gpu: 1}}`"
        )
    return {rule: _pairs(path, f"set-resources of {rule}", pairs) for rule, pairs in (value or {}).items()}
