"""The datasheet of a set of synthetic cases, as Croissant 1.0 metadata (JSON-LD; MLCommons, docs.mlcommons.org/croissant).

It holds no URL and no date of publication, which whoever publishes the set has to add, and no licence of its own: that
rests with the owner of the training cases.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ..base.files import sha256_file
from ..study.generators import AUGMENTATION_ONLY, PROVENANCE, USE
from ..study.settings.export import DatasheetSettings

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_CR = ("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes")
_CR += ("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex")
_CR += ("repeated", "replace", "separator", "source", "subField", "transform")
CONTEXT: dict[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{name: f"cr:{name}" for name in _CR},
}
"""The context that the format's specification asks for."""
LICENCE = "Not stated here: the owner of the training cases decides how cases made from them may be used."


def croissant(
    settings: DatasheetSettings, cases: Path, table: pd.DataFrame, refused: pd.DataFrame, audit: pd.DataFrame
) -> dict:
    """The metadata of the set whose `cases` (cases.tsv) hold `table`.

    refused : rejected.tsv; audit : memorisation_summary.tsv of the system
    """
    files = {"@type": "cr:FileObject", "@id": "cases.tsv", "name": "cases.tsv", "contentUrl": "cases.tsv"}
    files |= {"encodingFormat": "text/tab-separated-values", "sha256": sha256_file(cases)}
    files |= {"description": "A row a case: requested and measured tumours, and what it is made of."}
    images = {"@type": "cr:FileSet", "@id": "volumes", "name": "volumes", "encodingFormat": "application/gzip"}
    images |= {"includes": "*/*.nii.gz", "description": _of_volumes(settings)}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{settings.run}_{settings.system}_n{settings.n_real}",
        "description": " ".join(_sentences(settings, table, refused)),
        "creator": {"@type": "sc:SoftwareApplication", "name": "SliceAug"},
        "license": LICENCE,
        "isLiveDataset": False,
        "rai:dataCollection": _made_by(settings, table),
        "rai:dataUseCases": f"Training of segmenters beside real cases; {_use(table) or 'not for diagnosis'}.",
        "rai:dataLimitations": "Synthetic cases are no evidence about patients: test on real ones alone.",
        "rai:personalSensitiveInformation": " ".join(_of_audit(audit, table)),
        "distribution": [files, images],
        "recordSet": [_records(table)],
    }


def _records(table: pd.DataFrame) -> dict:
    """The columns of cases.tsv."""
    kinds = {"i": "sc:Integer", "f": "sc:Float", "b": "sc:Boolean"}
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"cases/{name}",
            "name": name,
            "dataType": kinds.get(table[name].dtype.kind, "sc:Text"),
            "source": {"fileObject": {"@id": "cases.tsv"}, "extract": {"column": name}},
        }
        for name in table.columns
    ]
    return {"@type": "cr:RecordSet", "@id": "cases", "name": "cases", "key": {"@id": "cases/case_id"}, "field": fields}


def _use(table: pd.DataFrame) -> str:
    return AUGMENTATION_ONLY if USE in table else ""


def _made_by(settings: DatasheetSettings, table: pd.DataFrame) -> str:
    patients = f"{settings.n_real} {'simulated' if settings.simulated else 'real'} training patients"
    if PROVENANCE in table:
        what = "Provenance: external. The cases were made by somebody else's generator, from data that are not known here, and "
        return f"{what}read, checked and put through the gates of {patients}."
    return f"Made by the system {settings.system} ({settings.label}; kind {settings.kind}) from {patients}."


def _sentences(settings: DatasheetSettings, table: pd.DataFrame, refused: pd.DataFrame) -> list[str]:
    said = [f"{len(table)} synthetic cases, images with masks.", _made_by(settings, table)]
    said.append(f"The quality gate and the check for copies refused {len(refused)} others.")
    if use := _use(table):
        said.append(f"Every case is {use}: it is made in a training patient, whose own image it shows.")
    return said


def _of_volumes(settings: DatasheetSettings) -> str:
    grid = f"{' x '.join(map(str, settings.size))} voxels of {' x '.join(f'{mm:g}' for mm in settings.spacing_mm)} mm"
    channels = f"channels {', '.join(settings.modalities)} (0 to 10000, background 0) and a mask of the nested regions "
    return f"NIfTI files, a folder a case; {grid} (depth, height, width); {channels}{', '.join(settings.regions)}."


def _of_audit(audit: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What the memorisation audit found, in sentences: a row a measure and origin of its threshold."""
    said = ["Whether cases are copies of training cases was measured (memorisation audit):"]
    for row in audit.to_dict("records"):
        said.append(
            f"by {row['measure']}, thresholds from {row['thresholds_from']}: {row['copies']} of {row['n_synthetic']} are, "
            f"{row['held_out_above']} of {row['n_held_out']} held-out patients would be called so;"
        )
    said.append(f"draws refused before as copies: {int(audit.draws_refused.iloc[0]) if len(audit) else 0}.")
    return said


def model_card(contract: Mapping, release: Mapping, digest: str, simulated: bool) -> str:
    """A trained generator's card, in Markdown. contract: model.json; release: release.json; digest: of the contract."""
    generator, grid = contract["generator"], contract["grid"]
    patients = f"{len(contract['training_case_ids'])} {'simulated' if simulated else 'real'} cases"
    training = contract.get("training") or {}
    conditions = contract["features"]
    low_high = zip(conditions["names"], conditions["min"], conditions["max"], strict=True)
    copies = release.get("false_positive_rate")
    lines = [
        f"# {contract['name']}",
        "",
        f"A generator of images with tumour masks, of kind `{generator['kind']}`, made by SliceAug from {patients}. "
        "It is for research on data augmentation, and not for diagnosis.",
        "",
        "## What it makes",
        "",
        f"- Channels: {', '.join(contract['modalities'])}; nested regions: {', '.join(contract['regions'])}.",
        f"- Grid: {' x '.join(map(str, grid['size']))} voxels of {' x '.join(f'{mm:g}' for mm in grid['spacing_mm'])} mm "
        "(depth, height, width).",
        "- Asked for by these conditions of the tumour, within the range of its training cases:",
        "",
        "| condition | lowest | highest |",
        "|---|---|---|",
        *(f"| {name} | {low:.4g} | {high:.4g} |" for name, low, high in low_high),
        "",
        "## How it was made",
        "",
        f"- Autoencoder: {(contract.get('autoencoder') or {}).get('kind', 'none')}.",
        f"- Training: {training.get('steps', 'none')} steps, seed {contract['seed']}."
        if training
        else "- It learns nothing.",
        *(
            f"- The first weights of its {start['kind']} were those of `{start['name']}`, trained on "
            f"{len(start['training_case_ids'])} other cases, which no audit of copies looks at."
            for start in contract.get("started_from", [])
        ),
        f"- Digests: configuration {contract['config_digest'][:16]}, code {contract['code_digest']}, contract {digest[:16]}.",
        "",
        "## How its cases are released",
        "",
        "- Sampler and quality gate: `release.json`, which every later draw goes by.",
        f"- Copies of training cases are {'refused' if copies else 'not refused'}"
        + (f", at a false-alarm rate of {copies:g}." if copies else ": every set needs an audit of its own."),
        "- What a generator has learned from patients may still point to them: ask the owner of the training cases before the "
        "weights leave their place. `model.json` lists the ids of those cases.",
        "",
        "```bash",
        "python -m workflow_scripts.programs.synthesis.synthesize --model <this folder> --count 50 --out DIR",
        "python -m monai.bundle run --bundle_root <this folder> --config_file <this folder>/configs/inference.json --count 50  # with the package fire",
        "```",
        "",
    ]
    return "\n".join(lines)
