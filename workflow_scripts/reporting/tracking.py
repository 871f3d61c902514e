"""The trainings of a run in MLflow or Weights & Biases, offline: copied from the run's files into a folder, for their viewers.

A training that is there already is not copied again; one that was made anew is another. TensorBoard reads the run's .state while a
training goes on; this is for those that have ended.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..base.errors import UserError
from ..base.files import read_json, read_tsv, sha256_file

PROJECT = "sliceaug"
MOST_AT_ONCE = 1000  # metrics that MLflow takes in one call
PACKAGES = {"mlflow": "mlflow-skinny", "wandb": "wandb"}
"""Tracker -> the package that has it. None of them is in the lock."""


@dataclass(frozen=True)
class Ended:
    """A training that has ended.

    name : where it is below the run's folder
    digest : of its weights: tells it from one that was made anew
    rows : a row a logged step, the column `step` first
    facts : what it is, and how it was trained
    results : what came out, by name
    """

    name: str
    digest: str
    rows: pd.DataFrame
    facts: dict[str, str]
    results: dict[str, float]

    def metrics(self) -> Iterator[tuple[int, dict[str, float]]]:
        """(step, the numbers of that row)."""
        for row in self.rows.to_dict("records"):
            yield (
                int(row["step"]),
                {str(key): value for key, value in row.items() if key != "step" and math.isfinite(value)},
            )


def ended_trainings(run: Path) -> list[Ended]:
    """All trainings below a run's folder that have ended: autoencoders, generators, arms."""
    found = []
    for curve in sorted([*run.glob("n_real~*/autoencoder/*/loss.csv"), *run.glob("n_real~*/generator/*/loss.csv")]):
        if (curve.parent / "model.json").is_file():
            contract = read_json(curve.parent / "model.json")
            facts = {key: contract.get(key) for key in ("kind", "name", "spec", "training", "seed", "config_digest")}
            found.append(_ended(run, curve, pd.read_csv(curve), facts, {}))
    for curve in sorted(run.glob("n_real~*/segmentation/**/progress.csv")):
        if (curve.parent / "arm.json").is_file():
            arm, table = read_json(curve.parent / "arm.json"), pd.read_csv(curve).rename(columns={"epoch": "step"})
            facts = {key: arm[key] for key in arm if not key.endswith("_ids")}
            scores = curve.with_name("dice.tsv")
            means = read_tsv(scores).groupby("region").dice.mean() if scores.is_file() else {}
            found.append(
                _ended(run, curve, table, facts, {f"dice_{region}": float(mean) for region, mean in means.items()})
            )
    return found


def _ended(run: Path, curve: Path, rows: pd.DataFrame, facts: dict, results: dict[str, float]) -> Ended:
    told = {key: str(value)[:500] for key, value in facts.items() if value is not None}
    digest = sha256_file(curve.with_name("model.safetensors"))[:16]
    return Ended(curve.parent.relative_to(run).as_posix(), digest, rows, told, results)


def to_mlflow(trainings: list[Ended], folder: Path) -> int:
    """Into MLflow's store of files: `MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri FOLDER`. Returns how many were new."""
    os.environ.setdefault(
        "MLFLOW_ALLOW_FILE_STORE", "true"
    )  # a database would be one more package, and one file for all
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    client = MlflowClient(folder.resolve().as_uri())
    known = client.get_experiment_by_name(PROJECT)
    experiment = known.experiment_id if known else client.create_experiment(PROJECT)
    there = {run.data.tags.get("digest") for run in client.search_runs([experiment], max_results=10_000)}
    new = [training for training in trainings if training.digest not in there]
    for training in new:
        run = client.create_run(experiment, run_name=training.name).info.run_id
        values = [Metric(key, value, 0, step) for step, row in training.metrics() for key, value in row.items()]
        values += [Metric(key, value, 0, 0) for key, value in training.results.items()]
        for first in range(0, len(values), MOST_AT_ONCE):
            client.log_batch(run, metrics=values[first : first + MOST_AT_ONCE])
        client.log_batch(run, params=[Param(key, value) for key, value in training.facts.items()])
        client.set_tag(run, "digest", training.digest)  # last: a run that was cut off is copied again
        client.set_terminated(run)
    return len(new)


def to_wandb(trainings: list[Ended], folder: Path) -> int:
    """Into offline runs of Weights & Biases: `wandb sync FOLDER/wandb/offline-run-*`. Returns how many were new."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "copied.txt"
    there = set(done.read_text().split()) if done.is_file() else set()
    new = [training for training in trainings if training.digest not in there]
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, save_code=False)
    for training in new:
        run = wandb.init(
            project=PROJECT, name=training.name, id=training.digest, dir=folder, mode="offline", config=training.facts,
            settings=settings, reinit="finish_previous",
        )  # fmt: skip
        for step, row in training.metrics():
            run.log(row, step=step)
        run.summary.update(training.results)
        run.finish()
        with done.open("a") as stream:
            stream.write(f"{training.digest}\n")
    return len(new)


TRACKERS: dict[str, Callable[[list[Ended], Path], int]] = {"mlflow": to_mlflow, "wandb": to_wandb}


def copy_to(tracker: str, trainings: list[Ended], folder: Path) -> int:
    """Copy trainings into a tracker's folder; returns how many were new. Raises UserError where its package is missing."""
    try:
        return TRACKERS[tracker](trainings, folder)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != tracker:
            raise
        what = f"tracking: {tracker} needs the package {tracker}, which the lock does not hold"
        raise UserError(f"{what}. Install it beside the others: python -m pip install {PACKAGES[tracker]}") from None
