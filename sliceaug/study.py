"""The results of a study, or of the pooled studies of all folds, as data frames."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv

from .generator import Generator

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = "study.json"


def read_study(folder: str | os.PathLike[str]) -> Study:
    """The study in `folder`, results/<run>, or what `sliceaug pool-folds` wrote. Files are read as they are asked for.

    Raises UserError where the folder holds no study.
    """
    return Study(Path(folder))


class Study:
    """A study's folder. What has not been made yet raises UserError with the command that makes it.

    Attributes
    ----------
    folder : Path
    """

    def __init__(self, folder: Path):
        self.folder = folder
        pooled = (folder / "scores.tsv").is_file() and (folder / "tables").is_dir()
        if not (folder / SETTINGS).is_file() and not pooled:
            found = [path.parent.name for path in sorted(folder.glob(f"*/{SETTINGS}"))]
            hint = f"; {', '.join(found[:3])} in it is one" if found else ""
            raise UserError(
                f"{folder} holds no study: {SETTINGS} is not in it{hint}. Give the folder results/<run> of a run"
            )

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The whole configuration that the files were made with. Of pooled folds there is none: each fold's study has it."""
        return dict(read_json(self.folder / SETTINGS)["settings"])

    @property
    def tables(self) -> list[str]:
        """Names of the tables that have been made."""
        return sorted(path.stem for path in (self.folder / "tables").glob("*.csv"))

    def table(self, name: str, words: bool = False) -> pd.DataFrame:
        """A table of the study, every number of it: `tables` and the README of results/ list them.

        words : where a column of numbers holds a word, which says why there is none ("not measured"), keep it; else it is NaN
        """
        import pandas as pd

        from workflow_scripts.reporting.registry import TABLES
        from workflow_scripts.reporting.tables.cells import read_mixed_csv

        if name not in TABLES:
            raise UserError(f"a study has no table {name!r}: it has {', '.join(TABLES)}")
        made = read_mixed_csv(self._made(self.folder / "tables" / f"{name}.csv", "tables"))
        for column in made.columns:
            numbers = [isinstance(value, int | float) for value in made[column]]
            if any(numbers) and not words:
                made[column] = [value if known else None for value, known in zip(made[column], numbers, strict=True)]
            made[column] = made[column].infer_objects() if words else pd.Series(list(made[column]))
        return made

    @property
    def ladder(self) -> pd.DataFrame:
        """A row a rung and region: Dice (share) and its differences to real patients alone, to the rung above, with intervals."""
        return self.table("ladder")

    @property
    def exchange(self) -> pd.DataFrame:
        """A row an arm and region: how many further real patients it is worth."""
        return self.table("exchange")

    @property
    def ratios(self) -> pd.DataFrame:
        """A row an arm and region: Dice (share), HD95 (mm), lesion-wise scores, differences, intervals, corrected p."""
        return self.table("augmentation_ratio")

    @property
    def dice(self) -> pd.DataFrame:
        """A row an arm, seed, test case and region: dice, hd95_mm, volumes in ml, lesion-wise scores, onset of the training."""
        from workflow_scripts.evaluation.scores import read_scores

        pooled = self.folder / "scores.tsv"
        whole = pooled if pooled.is_file() else self.folder / "evaluation" / "scores.tsv"
        return read_scores([self._made(whole, str(whole))])

    @property
    def cases(self) -> pd.DataFrame:
        """A row a case of the cohort: ids, files, volumes in ml, digests."""
        return self._cohort("cases")

    @property
    def rejected(self) -> pd.DataFrame:
        """A row a refused case: file, reason, kind."""
        return self._cohort("rejected")

    @property
    def remarks(self) -> pd.DataFrame:
        """What is odd about the cohort as a whole."""
        return self._cohort("remarks")

    @property
    def splits(self) -> pd.DataFrame:
        """A row a case and set that it is in: case_id; subset (test, val, train, others, unused); n_real, of train and others."""
        import pandas as pd

        found = read_json(self._made(self.folder / "cohort" / "splits.json", "cohort"))
        rows: list[tuple[str, str, int | None]] = []
        for subset in ("test", "val", "unused"):
            rows += [(case_id, subset, None) for case_id in found.get(subset, [])]
        for subset in ("train", "others"):
            rows += [(case, subset, int(size)) for size, cases in found.get(subset, {}).items() for case in cases]
        return pd.DataFrame(rows, columns=["case_id", "subset", "n_real"]).astype({"n_real": "Int64"})

    def synthetic(self, system: str, n_real: int, rejected: bool = False) -> pd.DataFrame:
        """A row a synthetic case of a system: requested and measured tumours; or a row a refused draw, with the reason."""
        name = "rejected.tsv" if rejected else "cases.tsv"
        return read_tsv(self._made(self.folder / f"n_real~{n_real}" / "synthetic" / system / name, "synthetic"))

    def generator(self, system: str, n_real: int, **options: Any) -> Generator:
        """A trained generator of the study: `options` as of `Generator.load`."""
        folder = self.folder / f"n_real~{n_real}"
        model = self._made(folder / "generator" / system / "model.json", "generator")
        hosts = folder / "train" / "manifest.json"
        return Generator.load(model.parent, **({"train": hosts} if hosts.is_file() else {}) | options)

    def _cohort(self, name: str) -> pd.DataFrame:
        return read_tsv(self._made(self.folder / "cohort" / f"{name}.tsv", "cohort"))

    def _made(self, file: Path, target: str) -> Path:
        if not file.is_file():
            raise UserError(f"{file} has not been made yet: run the study to it, `snakemake --cores all {target}`")
        return file
