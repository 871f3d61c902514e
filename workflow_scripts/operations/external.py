"""External systems before anything runs: are there enough cases in their folders? By names of files, no image is read."""

from pathlib import Path

from ..base.errors import UserError
from ..cohort.layouts import find_cases
from ..study.files import Files
from ..study.settings.study import Study


def check_counts(study: Study, files: Files) -> None:
    """Raise UserError where an external system has fewer cases than its largest arm needs, or none."""
    needed = files.most_synthetic(files.n_real[-1]) if files.external else 0
    for name in files.external:
        folder, modalities = Path(files.config["system"][name]["cases"]), files.config["modalities"]
        where = f"system_settings.{name}.cases {str(folder)!r}"
        try:
            found, refused, _ = find_cases(folder, study.data_set, modalities)
        except UserError as error:
            raise UserError(f"config: {where}: {str(error).replace(f'data_root {folder}', 'the folder')}") from None
        if len(found) < needed:
            ratios = study.segmentation.ratios
            fitting = [ratio for ratio in ratios if ratio * files.n_real[-1] <= len(found)]
            first = f" The first of {len(refused)} that are no whole case: {refused[0]}." if refused else ""
            raise UserError(
                f"config: {where} holds {len(found)} complete cases, but the arms of n_real {files.n_real[-1]} need {needed}."
                f"{first} Put more cases there, or make splits.n_real or the ratios smaller. Write, for example:\n"
                f"    segmentation:\n        ratios: {fitting}"
            )
