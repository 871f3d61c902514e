"""Pool the studies of all folds (`splits.folds`): scores of every patient, each tested once, and their tables.

  python -m workflow_scripts.programs.reporting.pool_folds --runs results/mine_0 results/mine_1 results/mine_2 --out results/mine

Writes scores.tsv and the tables that are made of scores alone, as CSV, Markdown and LaTeX. The settings are those of the runs.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pandas as pd

from workflow_scripts.base.cli import log, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, write_text, write_tsv
from workflow_scripts.evaluation.scores import read_scores
from workflow_scripts.operations.study_file import FILE
from workflow_scripts.reporting.looks import use_looks
from workflow_scripts.reporting.registry import TABLES
from workflow_scripts.study.blocks import looks
from workflow_scripts.study.settings.study import SIMULATED

SCORES = "evaluation/scores.tsv"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of the runs, one for each fold")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    settings = common_settings(args.runs)
    scores = pooled(sorted(args.runs, key=fold_of))
    write_tsv(args.out / "scores.tsv", scores)
    use_looks(looks(settings)["looks"])
    names = [name for name, table in TABLES.items() if table.inputs == ("scores",)]
    for name in names:
        table = import_module(f"workflow_scripts.reporting.tables.{name}").TABLE
        block = TABLES[name].block(settings)
        made = table.make({"scores": [args.out / "scores.tsv"]}, block)
        for suffix, text in table.texts(made, block, settings["data_root"] == SIMULATED).items():
            write_text(args.out / "tables" / f"{name}{suffix}", text)
    cases, patients = scores.case_id.nunique(), scores.patient_id.nunique()
    log.info("%d folds, %d test cases of %d patients: %s", len(args.runs), cases, patients, ", ".join(names))


def fold_of(run: Path) -> int:
    """Number of the fold of a run."""
    return read_json(run / FILE)["settings"]["splits"]["fold"]


def common_settings(runs: Sequence[Path]) -> dict:
    """The settings of the runs. Raises UserError unless they are those of all folds of one study."""
    found = [read_json(run / FILE)["settings"] for run in runs]
    folds = [one["splits"]["fold"] for one in found]
    wanted = found[0]["splits"]["folds"]
    if wanted is None or sorted(folds) != list(range(wanted)):
        what = (
            f"the runs are of folds {folds} of {wanted}" if wanted else f"{runs[0]} is one study, without splits.folds"
        )
        raise UserError(f"{what}: give one run for each fold")
    plain = [{**one, "splits": {**one["splits"], "fold": 0}} for one in found]
    for run, one in zip(runs, plain, strict=True):
        if changed := sorted(name for name in {*one, *plain[0]} if one.get(name) != plain[0].get(name)):
            raise UserError(
                f"{run} has other settings than {runs[0]}: {', '.join(changed)}. Only splits.fold may differ"
            )
    return found[0]


def pooled(runs: Sequence[Path]) -> pd.DataFrame:
    """The scores of all folds, with the column fold. Raises UserError if a patient is tested in two of them."""
    tested: dict[str, Path] = {}
    folds = [read_scores([run / SCORES]).assign(fold=number) for number, run in enumerate(runs)]
    for run, scores in zip(runs, folds, strict=True):
        for patient in scores.patient_id.unique():
            if tested.setdefault(patient, run) != run:
                what = f"patient {patient} is tested in {tested[patient]} and in {run}"
                raise UserError(f"{what}: the cohort has changed between the folds. Run them again on the same cases")
    return pd.concat(folds, ignore_index=True)


if __name__ == "__main__":
    run_program(main)
