"""Write what documents and editors know of the settings: config/schema.json, and the tables of keys in config/README.md.

Everything in them comes from the models of workflow_scripts/study/settings. `make settings` runs it.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from workflow_scripts.base.cli import run_program
from workflow_scripts.base.files import write_text
from workflow_scripts.base.provenance import ROOT
from workflow_scripts.study.settings.base import Block
from workflow_scripts.study.settings.messages import allowed, blocks_of, default_of
from workflow_scripts.study.settings.study import Study
from workflow_scripts.study.settings.systems import SYSTEM

SCHEMA, README = ROOT / "config" / "schema.json", ROOT / "config" / "README.md"
TABLES = {"config.yaml": Study, "systems": SYSTEM}
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
LISTED = ("published",)  # a list of blocks: one row


def main() -> None:
    """Write both files."""
    write_text(SCHEMA, schema_text())
    write_text(README, with_tables(README.read_text(encoding="utf-8")))


def schema_text() -> str:
    """JSON schema of config/config.yaml and what overrides it, and under ``$defs/System`` that of a system's file."""
    schema, system = (model.model_json_schema(mode="validation") for model in (Study, SYSTEM))
    definitions = schema.pop("$defs") | system.pop("$defs")
    own = {"type": "string", "description": "the system whose autoencoder it shares"}
    system["properties"]["autoencoder"]["anyOf"].append(own)
    names = schema["properties"]["systems"]
    listed = {rule: names.pop(rule) for rule in ("type", "items", "minItems")}
    settings = schema["properties"]["system_settings"]["additionalProperties"]
    names["anyOf"] = [listed, {"type": "object", "minProperties": 1, "additionalProperties": settings}]
    for block in (schema, system, *definitions.values()):
        block.pop("required", None)  # a file of overrides names only what it changes
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    whole = head | schema | {"$defs": definitions | {"System": system}}
    return json.dumps(_plain_bounds(whole), indent=1, sort_keys=True) + "\n"


def _plain_bounds(part: Any) -> Any:
    """`part` with bounds of numbers as JSON schema calls them; pydantic leaves its own words beside a validator."""
    if isinstance(part, list):
        return [_plain_bounds(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    return {BOUNDS.get(name, name): _plain_bounds(value) for name, value in part.items()}


def with_tables(text: str) -> str:
    """The README with its tables of keys made anew, each between its two markers."""
    for name, model in TABLES.items():
        begin, end = (f"<!-- {word} of the keys of {name}: made by `make settings` -->" for word in ("begin", "end"))
        before, rest = text.split(begin)
        after = rest.split(end)[1]
        text = f"{before}{begin}\n{table(model)}{end}{after}"
    return text


@dataclass
class Row:
    """One key in a table; several defaults or values where they depend on the kind of the block."""

    defaults: list[str]
    unit: str
    values: list[str]
    meaning: str


def table(model: type[Block]) -> str:
    """A Markdown table of all keys below `model`."""
    lines = ["| key | default | unit | values | meaning |", "|---|---|---|---|---|"]
    for name, row in _rows(model, _defaults(model)).items():
        cells = (f"`{name}`", ", ".join(row.defaults), row.unit, ", ".join(row.values), row.meaning)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _defaults(model: type[Block]) -> dict[str, Any]:
    return {name: default_of(model, name) for name in model.model_fields}


def _rows(model: type[Block], defaults: dict[str, Any], path: str = "") -> dict[str, Row]:
    rows = {}
    for name, field in model.model_fields.items():
        blocks, default = blocks_of(field), defaults[name]
        leaf = not blocks or name in LISTED
        if leaf or default is None:
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            shown = [] if default is ... else [f"`{_text(default)}`"]
            rows[path + name] = Row(shown, str(extra.get("unit", "")), [allowed(field)] * leaf, field.description or "")
        if not leaf:
            rows |= _rows_of_blocks(blocks, default, f"{path}{name}.")
    return rows


def _rows_of_blocks(blocks: list[type[Block]], default: Any, path: str) -> dict[str, Row]:
    """The keys within a block; where there are several kinds of it, what is other in each."""
    tables = [_rows(block, default if isinstance(default, dict) else _defaults(block), path) for block in blocks]
    merged: dict[str, Row] = {}
    for key in dict.fromkeys(key for one in tables for key in one):
        found = [one[key] for one in tables if key in one]
        row = replace(found[0])
        row.defaults = list(dict.fromkeys(text for each in found for text in each.defaults))
        row.values = list(dict.fromkeys(text for each in found for text in each.values))
        if len(found) < len(tables):
            kinds = [default_of(block, "kind") for block, one in zip(blocks, tables, strict=True) if key in one]
            row.meaning = f"{', '.join(f'`{kind}`' for kind in kinds)}: {row.meaning}"
        merged[key] = row
    return merged


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False).replace('"', "")


if __name__ == "__main__":
    run_program(main)
