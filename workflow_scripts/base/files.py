"""Files that appear whole or not at all, and the two plain formats of the project: JSON and tab-separated tables."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .leftovers import PREFIX, sweep

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it is flushed to disk and renamed to `path`.

    The temporary name keeps the suffixes of `path` (NIfTI and NumPy writers look at them). On an exception the
    temporary file is removed and `path` is left as it was. What a killed process left in that folder is swept after a day.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes[-2:])
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PREFIX, suffix=suffix)
    temporary = Path(name)
    sweep(path.parent, now=os.fstat(handle).st_mtime)
    os.close(handle)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes 0600: a group could not read its own results
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.filename is None:  # of a full disk: the message names what was being written
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Flush the names in a folder: after a loss of power a renamed file would have its former name."""
    with suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused: they are no JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file. Raises UserError that names the file when it is missing or no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"missing file {path}: run the stage that makes it again") from None
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number of 5,000 digits, brackets without end
        raise UserError(f"{path} is no JSON file: {error}") from None


def write_tsv(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write a table, atomically; floats in the shortest form that reads back to the same number."""
    with atomic(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="", lineterminator="\n")


def read_tsv(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table written by `write_tsv`. Columns that end in ``_id``, ``_path``, ``file``, ``note``, ``reason``
    or ``digest`` stay text ("" where empty). Raises UserError that names the file when it cannot be read."""
    import pandas as pd

    try:
        header = pd.read_csv(path, sep="\t", nrows=0).columns
        text = [name for name in header if name.endswith(("_id", "_path", "file", "note", "reason", "digest"))]
        # In text nothing is missing: pandas would read a case that is called NA as absent.
        missing = {name: ["", "nan"] for name in header if name not in text}
        return pd.read_csv(
            path,
            sep="\t",
            dtype=dict.fromkeys(text, str),
            na_values=missing,
            keep_default_na=False,
            float_precision="round_trip",
        )
    except FileNotFoundError:
        raise UserError(f"missing table {path}: run the stage that makes it again") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no tab-separated table: {error}") from None


def sha256_file(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in blocks."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
