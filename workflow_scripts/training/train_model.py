"""From a training task to a model folder: what every training program of the project does in the end."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..base.cli import log
from ..base.files import atomic, sha256_json
from ..study.settings.training import TrainSettings
from .model_files import save_model
from .starting import start_from
from .state import StateFolder, without_harmless
from .task import Task

NOT_SETTINGS = (
    *("features", "latent", "latent_shape", "foreground_volume_ml", "min_largest_piece_fraction"),
    *("config_digest", "code_digest"),
)
"""Keys of a contract that follow from other ones."""


def train_model(
    task: Task,
    settings: TrainSettings,
    player: str,
    contract: dict,
    *,
    out: str | os.PathLike,
    state: str | os.PathLike,
    digest: str,
    grows: str | None,
    prefix: str = "",
    besides: Mapping[str, Tensor] | None = None,
) -> None:
    """Train to the end, or go on where a stopped training was, and leave model.safetensors, model.json and loss.csv.

    player : of `task`, whose weights are kept
    contract : of the model; its kind and name name the training in messages, and its folder below `state`
    out : folder of the model
    state : folder for what a stopped training resumes from
    digest : of all that the training depends on, as of `state.run_digest`
    grows : of `state.growth_digest`
    prefix : before the names of the trained weights in the file
    besides : other weights of the file

    Raises UserError and SystemExit as `launch.train`; UserError as `starting.start_from`.
    """
    from .launch import train  # not above: Lightning takes seconds, and programs that only draw cases load this too

    kind, name = contract["kind"], contract["name"]
    if settings.start_from is not None:
        begun = start_from(task.players[player].module, settings.start_from, contract, prefix)
        log.info("%s %s: from the weights of %s", kind.replace("_", " "), name, settings.start_from)
        contract = without_harmless(contract)  # a released model names no path
        contract["started_from"] = [*contract.get("started_from", []), *begun]
        digest = sha256_json([digest, begun])[:16]  # not where they lie, but what they are
        grows = grows and sha256_json([grows, begun])[:16]
    with StateFolder(state, f"{kind}_{name}", digest) as folder:
        asked = {key: value for key, value in contract.items() if key not in NOT_SETTINGS}
        title = f"{kind.replace('_', ' ')} {name}"
        folder.asked_for(title, without_harmless(asked), grows, settings.steps)
        weights = train(task, settings, folder, title)[player]
        # the model too under the lock: a job that waits for it would write the same files at the same time
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        with atomic(out / "loss.csv") as temporary:
            shutil.copyfile(folder.folder / "loss.csv", temporary)
        save_model(out, {f"{prefix}{key}": value for key, value in weights.items()} | dict(besides or {}), contract)
    log.info("the %s is in %s", kind.replace("_", " "), out)
