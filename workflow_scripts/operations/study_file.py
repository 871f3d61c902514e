"""study.json in a run's folder: the settings that its files were made with.

Snakemake makes again what a changed setting touches, as long as it remembers how its files were made (.snakemake). Where it
does not, since the folder was renamed or copied or that memory was lost, other settings would go unnoticed.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base.errors import UserError
from ..base.files import read_json, sha256_json, write_json
from ..base.nested import flat
from ..study.files import STUDY as FILE

NOT_COMPARED = ("run", "results", "container", "tracking")  # where it lies, what it runs in, where it is copied to
MOST_SHOWN = 10


def _settings(config: Mapping) -> dict[str, Any]:
    plain = {name: value for name, value in config.items() if name not in NOT_COMPARED}
    return json.loads(json.dumps(plain, sort_keys=True))


def remembered(folder: Path, memory: Path = Path(".snakemake")) -> bool:
    """Whether Snakemake knows how the run's cohort was made; True where there is none yet."""
    made = folder / "cohort" / "cases.tsv"
    name = urlsafe_b64encode(str(made).encode()).decode()
    return not made.is_file() or any(memory.glob("metadata*.db")) or (memory / "metadata" / name).is_file()


def check_settings(folder: Path, config: Mapping) -> None:
    """Raise UserError where the files of the run were made with other settings and Snakemake would not notice.

    config : the whole configuration as the rules read it
    """
    file = folder / FILE
    if not file.is_file() or remembered(folder):
        return
    known = read_json(file)
    if not isinstance(known, dict) or not isinstance(known.get("settings"), dict):
        raise UserError(f"{file} does not hold the settings of the run: delete it, or choose another run")
    before, now = flat(known["settings"]), flat(_settings(config))
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if changed:
        lines = [f"    {name}: {_shown(before, name)} there, {_shown(now, name)} now" for name in changed[:MOST_SHOWN]]
        more = [f"    and {len(changed) - MOST_SHOWN} more"] if len(changed) > MOST_SHOWN else []
        said = "\n".join([*lines, *more])
        raise UserError(
            f"{folder} was made with other settings, and Snakemake does not remember how (the folder was moved, or .snakemake "
            f"is gone), so it would take its files for those of this study:\n{said}\nGo on in one of two ways: write those "
            f"settings, or give this study a folder of its own (--config run=<name>)."
        )


def _shown(settings: Mapping, name: str) -> str:
    text = json.dumps(settings[name]) if name in settings else "absent"
    return text if len(text) <= 100 else f"{text[:100]} ..."


def write_settings(folder: Path, config: Mapping) -> None:
    """Note the settings that the run's files are made with from now on."""
    settings = _settings(config)
    digest = sha256_json(settings)
    file = folder / FILE
    if not file.is_file() or read_json(file).get("sha256") != digest:
        write_json(file, {"sha256": digest, "settings": settings})
