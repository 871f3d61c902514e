"""The folder in which a training keeps what it needs to resume, and the digest that names it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..base.cli import log
from ..base.errors import UserError
from ..base.files import read_json, sha256_file, sha256_json, write_json
from ..base.nested import flat
from ..base.provenance import code_digest
from . import srun
from .lock import FolderLock, wait_for_job

# Keys that change neither the weights nor the loss curve: a run may resume with other values. (What is in the folder
# that a training starts from does; its digest counts, where it lies does not.)
HARMLESS = ("checkpoint_minutes", "prefetch_batches", "start_from")
ASKED = "asked.json"
MOST_SHOWN = 5
GROWING = (
    ". A training goes on with more steps where its learning rate does not follow their number (`decay: constant`), and it "
    "ended at a multiple of log_every_steps"
)


def without_harmless(value):
    """Settings without those that change nothing."""
    if isinstance(value, dict):
        return {key: without_harmless(item) for key, item in value.items() if key not in HARMLESS}
    return value


def run_digest(config: dict, module: str, *input_files: str | os.PathLike) -> str:
    """Digest (16 hex digits) of everything a training depends on: settings, code, and the bytes of its input files.

    config : the stage's settings; anything else that JSON can say may be added (case ids, content digests)
    module : the program, e.g. "workflow_scripts.programs.generator.train_generator".
    input_files : small files that the training reads. A missing one raises UserError.
    """
    for file in input_files:
        if not Path(file).is_file():
            raise UserError(f"missing file {file}: run the stage that makes it again")
    inputs = [sha256_file(file) for file in input_files]
    return sha256_json({"config": without_harmless(config), "code": code_digest(module), "inputs": inputs})[:16]


def growth_digest(config: dict, module: str, *input_files: str | os.PathLike) -> str | None:
    """`run_digest`, but the same for any number of steps; None where their number changes the first of them."""
    grown = _without_steps(config)
    return run_digest(grown, module, *input_files) if grown != config else None


def _without_steps(value):
    """Settings without the steps of trainings whose learning rate does not follow them."""
    if not isinstance(value, dict):
        return value
    constant = value.get("decay") == "constant"
    return {key: _without_steps(item) for key, item in value.items() if not (constant and key == "steps")}


class StateFolder:
    """``<root>/<stage>/<digest>``, held by one process at a time (see `lock.FolderLock`).

    Raises UserError if another process holds the folder for longer than `wait_seconds` (a stopped job may still be
    saving).
    """

    def __init__(self, root: str | os.PathLike, stage: str, digest: str, wait_seconds: float = 15.0):
        self.folder = Path(root) / stage / digest
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = None
        if srun.rank() > 0:
            wait_for_job(self.folder / ".lock")  # the first task of this job holds it for all
            return
        self._lock = FolderLock(self.folder / ".lock", wait_seconds)
        for left_over in self.folder.glob(".writing-*"):  # of a process that was killed while it wrote
            left_over.unlink(missing_ok=True)

    def asked_for(self, title: str, settings: Mapping, grows: str | None = None, steps: int = 0) -> None:
        """Note what is trained here. An earlier training of the same is gone on from where it is the beginning of this one,
        and the log says which and from where; else it says why not.

        Learning rates, and all that is drawn, follow the settings: steps made under others are no part of this training.

        title : of the training, in messages
        settings : to say what differs
        grows : of `growth_digest`; equal ones differ in their numbers of steps alone
        steps : of this training
        """
        if list(self.folder.glob("checkpoint-*")):
            return
        now = json.loads(json.dumps(settings, default=str))
        write_json(self.folder / ASKED, {"title": title, "settings": now, "grows": grows})
        earlier = []
        for file in self.folder.parent.glob(f"*/{ASKED}"):
            if file.parent != self.folder and list(file.parent.glob("checkpoint-*")):
                with suppress(UserError, KeyError, TypeError, OSError):
                    known = read_json(file)
                    if known["title"] == title:
                        same = grows is not None and known.get("grows") == grows
                        earlier.append((file.stat().st_mtime, file.parent, flat(known["settings"]), same))
        earlier.sort(key=lambda found: found[0], reverse=True)  # the newest first
        if not earlier or any(same and self._take_over(folder, title, steps) for _, folder, _, same in earlier):
            return
        _, folder, before, _ = earlier[0]
        after = flat(now)
        changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
        lines = [f"{name} {before.get(name)!r:.60} there, {after.get(name)!r:.60} now" for name in changed[:MOST_SHOWN]]
        log.warning(
            "%s starts from its first step: the earlier training in %s is another one (%s)%s",
            *(title, folder, "; ".join(lines) or "its code or its input files have changed"),
            GROWING if len(changed) == 1 and changed[0].endswith("training.steps") else "",
        )

    def _take_over(self, earlier: Path, title: str, steps: int) -> bool:
        """Begin with the newest checkpoint of a training of fewer steps. False where it is of no use."""
        from .checkpoint import Checkpoints  # not above: torch, which a digest does not need

        saved = Checkpoints(earlier).load()
        if saved is None or saved["step"] > steps or "players" not in saved:
            return False
        saved.pop("weights", None)
        Checkpoints(self.folder).save(saved | {"finished": False})
        log.info(
            "%s goes on from step %d of the training in %s, whose first steps are its own",
            title,
            saved["step"],
            earlier,
        )
        return True

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock:
            self._lock.release()

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_) -> None:
        self.close()
