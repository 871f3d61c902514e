"""release.json in a generator's folder: how the study released its cases, which holds for every later draw.

Sampler and quality gate, and the training set that copies are refused against, with the rate of false alarms: a model folder
that is carried elsewhere makes the same cases there, and releases no copy.
"""

import os
import shutil
from pathlib import Path

from ..base.errors import UserError
from ..base.files import atomic, read_json, sha256_file, sha256_json, write_json
from ..study.settings.base import read_block
from ..study.settings.synthesis import SynthesisSettings

RELEASE, COPIES = "release.json", "copies"
OWN_DIGEST = "release_sha256"  # of the others: a digit that changed on the way is no other gate
ARRAYS, DESCRIPTION = "reference.safetensors", "reference.json"  # of the training set (see `reference`)


def write_release(
    model: str | os.PathLike, synthesis: dict, reference: str | os.PathLike | None, false_positive_rate: float | None
) -> None:
    """Write release.json into the folder `model`, and the training set `reference` (of memorisation_reference) below it.

    synthesis : settings of `SynthesisSettings`
    reference, false_positive_rate : None where the study refuses no copies
    """
    model = Path(model)
    (model / RELEASE).unlink(missing_ok=True)
    digests = {}
    for name in (ARRAYS, DESCRIPTION) if reference is not None else ():
        (model / COPIES).mkdir(exist_ok=True)
        with atomic(model / COPIES / name) as temporary:
            shutil.copyfile(Path(reference) / name, temporary)
        digests[name] = sha256_file(model / COPIES / name)
    rate = false_positive_rate if digests else None
    release = {"synthesis": synthesis, "false_positive_rate": rate, "copies": digests}
    write_json(model / RELEASE, release | {OWN_DIGEST: sha256_json(release)})


def read_release(model: str | os.PathLike, refusing: bool = True) -> tuple[dict, Path | None, float | None]:
    """Settings of synthesis, the folder of the training set that copies are refused against, and the rate of false alarms.

    All are empty or None for a folder without release.json, and the latter two where copies are not asked for (`refusing`).
    Raises UserError where it is damaged, or the training set is not the one that it names.
    """
    file = Path(model) / RELEASE
    if not file.is_file():
        return {}, None, None
    release = read_json(file)
    try:
        if release.pop(OWN_DIGEST, None) != sha256_json(release):
            what = "was changed since the study wrote it (its digest differs, or is not there)"
            again = "copy the model's folder again, or make it anew with `snakemake -R gather_synthetic`"
            raise UserError(f"{file} {what}: {again}; --config of `synthesize` sets other gates and samplers")
        synthesis, rate, digests = dict(release["synthesis"]), release["false_positive_rate"], dict(release["copies"])
        valid = set(digests) in ({ARRAYS, DESCRIPTION}, set()) and (not digests or 0 < float(rate) < 1)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise UserError(f"{file} does not say how cases are released: copy the model's folder again")
    read_block(SynthesisSettings, synthesis, "synthesis", title=str(file))
    if not refusing:
        return synthesis, None, None
    for name, digest in digests.items():
        path = Path(model) / COPIES / name
        if not path.is_file() or sha256_file(path) != digest:
            what = f"{path} is missing or not the file that {RELEASE} names, so copies of training cases cannot be told"
            raise UserError(f"{what}: copy the model's folder again, or allow copies by --allow-copies")
    return synthesis, Path(model) / COPIES if digests else None, rate
