"""The configuration: checked against its schemas, the systems' files read in, and errors that show the line to write.

Imports no torch: the Snakefile calls `resolve` on every parse, also inside every cluster job.
"""

from __future__ import annotations

import copy
import difflib
import math
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from .arms import synthetic_count
from .errors import UserError
from .provenance import ROOT

CONFIG = ROOT / "config"


def merge(base: dict, override: dict) -> dict:
    """A copy of `base` in which the keys of `override` replace its own, mapping by mapping; lists whole."""
    merged = copy.deepcopy(base)
    for key, value in override.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


@cache
def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path.relative_to(ROOT)} is no valid YAML: {error}") from None


def _lines(path: list, value: Any) -> str:
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
        return f"{where}: {what}. Write, for example:\n{_lines(path, _lookup(defaults, path))}"
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


def _check_schema(config: dict, schema: str, defaults: dict, where: str) -> None:
    """Raise UserError for the outermost fault of `config`; text that stands for a number becomes that number."""
    validator = jsonschema.Draft202012Validator(_yaml(CONFIG / "schemas" / schema))
    _retype(config, validator)
    errors = sorted(validator.iter_errors(config), key=lambda error: (len(error.absolute_path), str(error.path)))
    if errors:
        raise UserError(_sentence(errors[0], defaults, where))


def load_system(name: str, overrides: dict) -> dict:
    """One system of config/systems/ with the user's overrides, checked. Raises UserError."""
    path = CONFIG / "systems" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(item.stem for item in path.parent.glob("*.yaml"))
        raise UserError(
            f"config: no system {name!r}: config/systems/{name}.yaml does not exist. Write, for example:\n"
            f"{_lines(['systems'], known)}"
        )
    system = merge(_yaml(path), overrides)
    _check_schema(system, "system.schema.yaml", _yaml(path), f"system {name}")
    return system


def _fail(path: list, value: Any, what: str) -> None:
    raise UserError(f"config: {what}. Write, for example:\n{_lines(path, value)}")


def _check_sense(config: dict, systems: dict[str, dict]) -> None:
    """What a schema cannot say: keys that must fit each other."""
    root = config["data_root"]
    if root is not None and not Path(root).is_dir():
        _fail(["data_root"], "/data/BraTS2023", f"data_root {root!r} is no folder that can be read")
    ratios = config["segmentation"]["ratios"]
    if 0 not in ratios:
        what = "segmentation.ratios must hold 0, the real-only arm that all others are compared with"
        _fail(["segmentation", "ratios"], sorted({0, *ratios}), what)
    n_real = config["splits"]["n_real"]
    smallest = min(r for r in [*ratios, *config["segmentation"]["synthetic_only_ratios"], 1] if r > 0)
    if synthetic_count(min(n_real), smallest) == 0:
        what = f"a ratio of {smallest:g} is not one synthetic case for {min(n_real)} real ones"
        _fail(["segmentation", "ratios"], sorted(r for r in ratios if r == 0 or r * min(n_real) >= 1), what)
    if n_real != sorted(n_real):
        _fail(["splits", "n_real"], sorted(n_real), "splits.n_real must rise: each subset lies within the next")
    for block, key in (("preprocessing", "intensity_percentiles"), ("demo_cohort", "tumour_volume_ml")):
        low, high = config[block][key]
        if low >= high:
            _fail([block, key], _yaml(CONFIG / "config.yaml")[block][key], f"{block}.{key} must rise")
    needed = sum(config["splits"][key] for key in ("val", "test")) + n_real[-1]
    if root is None and needed > config["demo_cohort"]["cases"]:
        what = f"splits ask for {needed} patients, but demo_cohort.cases is {config['demo_cohort']['cases']}"
        _fail(["demo_cohort", "cases"], needed, what)
    unknown = sorted(set(config["system_settings"]) - set(config["systems"]))
    if unknown:
        what = f"system_settings names {unknown[0]!r}, which is not among systems"
        _fail(["systems"], [*config["systems"], unknown[0]], what)
    modality = config["evaluation"]["figures"]["modality"]
    if modality not in config["modalities"]:
        what = f"evaluation.figures.modality {modality!r} is not among modalities"
        _fail(["evaluation", "figures", "modality"], config["modalities"][0], what)
    _check_weights(config["evaluation"]["images"], ["evaluation", "images"], "weights", "sha256")
    autoencoders: dict[str, tuple[str, dict]] = {}
    for name, system in systems.items():
        _check_grid(config["preprocessing"]["size"], system["autoencoder"], name)
        loss = system["autoencoder"]["loss"]
        path = ["system_settings", name, "autoencoder", "loss"]
        _check_weights(loss, path, "perceptual_weights", "perceptual_sha256")
        owner, twin = autoencoders.setdefault(system["autoencoder"]["name"], (name, system["autoencoder"]))
        if twin != system["autoencoder"]:
            raise UserError(
                f"config: systems {owner} and {name} share the autoencoder {twin['name']!r}, but set it differently: "
                "give one of them another autoencoder name, or the same settings"
            )


def _check_weights(block: dict, path: list, weights: str, digest: str) -> None:
    if block[weights] == "package":
        return
    name = ".".join(path)
    if not Path(block[weights]).is_file():
        _fail([*path, weights], "package", f"{name}.{weights} names {block[weights]!r}, which is no file")
    if block[digest] is None:
        _fail([*path, digest], "<output of sha256sum>", f"{name}.{digest} must hold the checksum of that weights file")


def _check_grid(size: list[int], autoencoder: dict, name: str) -> None:
    if len(autoencoder["strides"]) != len(autoencoder["channels"]):
        what = f"system {name}: autoencoder.strides must have one entry for each of autoencoder.channels"
        strides = [1] + [2] * (len(autoencoder["channels"]) - 1)
        _fail(["system_settings", name, "autoencoder", "strides"], strides, what)
    reduction = math.prod(autoencoder["strides"])
    fitting = [size[0], *(math.ceil(edge / reduction) * reduction for edge in size[1:])]
    if fitting != size:
        what = (
            f"preprocessing.size {size} does not divide by {reduction}, the product of the strides of {name}'s "
            "autoencoder, along height and width"
        )
        _fail(["preprocessing", "size"], fitting, what)


def resolve(config: dict) -> dict:
    """The checked configuration, with each system's own settings under ``system``: {name: settings}.

    Raises UserError that names the key, what is wrong, and the lines to write.
    """
    defaults = _yaml(CONFIG / "config.yaml")
    plain = {key: copy.deepcopy(value) for key, value in config.items() if key != "system"}
    _check_schema(plain, "config.schema.yaml", defaults, "config")
    systems = {name: load_system(name, plain["system_settings"].get(name) or {}) for name in plain["systems"]}
    _check_sense(plain, systems)
    return {**plain, "system": systems}
