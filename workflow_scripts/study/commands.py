"""The command line of a stage's program, made from its rule: named inputs and outputs, and a few settings, as options."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LONGEST = 4000  # characters of an option's values on a command line; Linux takes 131,072 for all together


def options(
    config: Mapping | None, files: Iterable[tuple[str, Any]], settings: Mapping[str, Any], lists: Path, write: bool
) -> str:
    """The options of a program, for a shell.

    config : the stage's settings, given as JSON; None: there is no ``--config``
    files : (name, path or paths); ``synthetic_pairs`` becomes ``--synthetic-pairs a b``, and a name without a path nothing
    settings : likewise; True becomes the option alone; None and False nothing
    lists : folder in which a long list of paths is written down, a line a path, to be given as ``@file``
    write : False for a plan of what would run
    """
    named = [("config", [json.dumps(config, sort_keys=True)])] if config is not None else []
    named += [(name, [found] if isinstance(found, str) else list(found)) for name, found in files]
    for name, value in settings.items():
        if value is not None and value is not False:
            named.append((name, [] if value is True else [str(value)]))
    flags = {name for name, value in settings.items() if value is True}
    parts = []
    for name, values in named:
        if values or name in flags:
            texts = [str(value) for value in values]
            if name != "config" and sum(map(len, texts)) > LONGEST:
                texts = [f"@{_written(texts, lists, write)}"]
            parts.append(f"--{name.replace('_', '-')} {shlex.join(texts)}".rstrip())
    return " ".join(parts)


def _written(texts: list[str], lists: Path, write: bool) -> Path:
    """A file with a line for each text, named after its content. What cannot be written here is missed by its reader."""
    content = "".join(f"{text}\n" for text in texts)
    file = lists / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.txt"
    if write and not file.is_file():
        try:
            lists.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{file.name}")
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(file)
        except OSError:
            pass
    return file
