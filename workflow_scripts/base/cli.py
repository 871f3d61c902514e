"""The command line that all programs share: options, plain log lines, and errors that are one sentence."""

import argparse
import errno
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError
from .job_record import begin

log = logging.getLogger("sliceaug")


def _config(text: str) -> dict:
    """A JSON object, or the path of a YAML or JSON file that holds one."""
    try:
        value = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(Path(text).read_text("utf-8"))
    except (OSError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise argparse.ArgumentTypeError(f"neither a JSON object nor a readable YAML file: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("holds no mapping of keys to values")
    return value


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads, 1 or more")
    return int(text)


FILE_SUFFIXES = (".json", ".tsv", ".csv", ".safetensors")


class Folder(argparse.Action):
    """An option whose value is a folder, given by its own path or by those of files in it, the first of which decides."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any):
        super().__init__(option_strings, dest, nargs="+", type=Path, **kwargs)

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        first = values[0]  # an output is not there yet: its name has to say whether it is a file
        is_file = len(values) > 1 or first.is_file() or first.suffix in FILE_SUFFIXES
        setattr(namespace, self.dest, first.parent if is_file else first)


SHARED: dict[str, dict] = {
    **{
        name: {"type": Path, "help": f"manifest.json of the {name} subset"}
        for name in ("train", "val", "test", "others")
    },
    "autoencoder": {"action": Folder, "help": "folder of train_autoencoder"},
    "latents": {"action": Folder, "help": "folder of extract_latents"},
    "model": {"action": Folder, "help": "folder of a trained generator"},
    "reference": {"action": Folder, "help": "folder of memorisation_reference"},
    "plan": {"type": Path, "help": "plan.json of plan_segmentation"},
    "state": {"type": Path, "help": "folder for what a stopped training resumes from"},
    "system": {"help": "name of the generative system"},
}
"""Options that several programs have."""


def program_parser(description: str | None, *shared: str, **paths: str) -> argparse.ArgumentParser:
    """A parser with ``--config`` (dict, {} if absent) and ``--threads`` (int, all cores if absent).

    Required are the options of SHARED that are named, and files or folders of the program's own, each with its help.
    ``@file`` stands for the words in the file's lines: lists grow with the study, and a command line must not.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        fromfile_prefix_chars="@",
    )
    parser.add_argument(
        "--config", type=_config, default={}, help="the stage's settings: JSON, or a YAML/JSON file's path"
    )
    parser.add_argument(
        "--record", type=begin, metavar="LOG", help="log of the job: a JSON beside it says what it ran on"
    )
    parser.add_argument(
        "--threads", type=_threads, default=len(os.sched_getaffinity(0)), help="CPU threads (all of them)"
    )
    for name in shared:
        parser.add_argument(f"--{name}", required=True, **SHARED[name])
    for name, words in paths.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=words)
    return parser


_DISK = {
    errno.ENOSPC: "the disk is full: free space there, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free space there, then run the same command again",
    errno.EROFS: "the file system is read-only: set `results:` in the config to a folder that can be written",
    errno.EACCES: "no permission: check the owner and mode of that path",
    errno.EPERM: "no permission: check the owner and mode of that path",
}


def sentence_of(error: BaseException) -> str | None:
    """What to tell the user of `error`, or None where only a traceback would help."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"{error.filename or 'a file that was being written'}: {_DISK[error.errno]}"
    return None


def run_program(main: Callable[[], None]) -> None:
    """Run a program: log lines on stderr; an error the user can mend becomes one sentence and exit code 2."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.captureWarnings(True)
    warnings.simplefilter("ignore", FutureWarning)  # of libraries among themselves: nothing a user could mend
    for noisy in ("matplotlib", "fontTools", "PIL", "numexpr"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        main()
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr, flush=True)
        sys.exit(2)
