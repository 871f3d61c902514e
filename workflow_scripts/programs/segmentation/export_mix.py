"""Write a mix of the study as an nnU-Net raw data set: imagesTr, labelsTr, dataset.json, splits_final.json, and
provenance.tsv, which says of each case whether it is real or synthetic, of which system, with which audit.

The cases are those that the study's arm trains on: real ones (but for a mix without), and the first by number of the
synthetic ones. Validation: the real validation cases, as in the study. Images are hard links where the file system has
them. Config: modalities, regions, n_real, ratio, synthetic_only, run.
"""

from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.study.arms import synthetic_count
from workflow_scripts.study.settings.export import MixSettings

AUDITED = ("is_copy", "nearest_train_id", "similarity", "margin")
ORIGINS = ("provenance", "source_file", "host", "donor", "use")  # columns of a synthetic case's row, where it has them


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, real="table of export_real", out="dataset.json")
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="tables of the synthetic cases")
    parser.add_argument("--synthetic", type=Path, help="folder of the synthetic cases")
    parser.add_argument("--system", help="name of the system that made them")
    parser.add_argument("--audit", type=Path, help="memorisation.tsv of the system")
    args = parser.parse_args(argv)

    import pandas as pd

    from workflow_scripts.segmentation.raw_dataset import IMAGES, LABELS, cleared, image_names, take, write_description
    from workflow_scripts.study.generators import USE

    settings = MixSettings.read(args.config)
    folder, rows = args.out.parent, []
    for name in ("dataset.json", "provenance.tsv"):
        (folder / name).unlink(missing_ok=True)
    cleared(folder)
    real = read_tsv(args.real)
    for row in real.to_dict("records"):
        if row["split"] == "train" and settings.synthetic_only:
            continue
        for name in (*(f"{IMAGES}/{file}" for file in image_names(row["case_id"], len(settings.modalities))), f"{LABELS}/{row['case_id']}.nii.gz"):  # fmt: skip
            take(args.real.parent / name, folder / name)
        rows.append({"kind": "real", **row})
    rows += _synthetic(args, settings, folder)
    columns = ["case_id", "kind", "split", "source_case_id", "patient_id", "system", *ORIGINS, *AUDITED]
    table = pd.DataFrame(rows).reindex(columns=columns)
    write_tsv(folder / "provenance.tsv", table)
    of_split = {split: list(part.case_id) for split, part in table.groupby("split")}
    uses = sorted({str(use) for use in table[USE].dropna() if use})
    counts = table[table.split == "train"].kind.value_counts()
    words = f"{counts.get('real', 0)} real and {counts.get('synthetic', 0)} synthetic training cases"
    about = {
        "name": folder.name,
        "description": f"SliceAug, run {settings.run}, n_real {settings.n_real}: {words}"
        + (f" of {args.system}" if args.system else "")
        + "; see provenance.tsv",
        **(
            {USE: f"Synthetic cases are {', '.join(uses)}: they show the patients in whom they are made."}
            if uses
            else {}
        ),
    }
    write_description(folder, settings.modalities, settings.regions, of_split["train"], of_split.get("val", []), about)
    log.info("%s: %s", folder, words)


def _synthetic(args, settings: MixSettings, folder: Path) -> list[dict]:
    """Take the synthetic cases of the mix into the folder; their rows. Raises UserError where there are too few."""
    count = synthetic_count(settings.n_real, settings.ratio) if args.system else 0
    if not count:
        return []

    import pandas as pd

    from workflow_scripts.cohort.nifti import SYNTHETIC, read_synthetic_case, read_volume, synthetic_file
    from workflow_scripts.segmentation.raw_dataset import IMAGES, OF_SYNTHETIC, image_names, take, write_label
    from workflow_scripts.study.dataset import MASK

    made = pd.concat([read_tsv(table) for table in args.tables], ignore_index=True).sort_values("number")
    if len(made) < count:
        raise UserError(
            f"{args.system} has {len(made)} synthetic cases, but the mix needs {count}: run `snakemake synthetic`"
        )
    audit = read_tsv(args.audit) if args.audit else pd.DataFrame(columns=["group", "case_id"])
    audit = audit[audit.group == "synthetic"].set_index("case_id")
    rows = []
    for row in made.iloc[:count].to_dict("records"):
        source, case_id = args.synthetic / row["case_id"], f"{OF_SYNTHETIC}{args.system}_{row['case_id']}"
        for modality, name in zip(settings.modalities, image_names(case_id, len(settings.modalities)), strict=True):
            take(synthetic_file(source, row["case_id"], modality), folder / IMAGES / name)
        _, levels = read_synthetic_case(source, row["case_id"], settings.modalities)
        _, affine = read_volume(synthetic_file(source, row["case_id"], MASK))
        write_label(folder, case_id, levels.clip(max=len(settings.regions)), affine, SYNTHETIC)
        origin = {name: row[name] for name in ORIGINS if name in row}
        found = {name: audit.loc[row["case_id"], name] for name in AUDITED if row["case_id"] in audit.index}
        origin = {"provenance": f"run {settings.run}"} | origin
        entry = {"case_id": case_id, "kind": "synthetic", "split": "train", "source_case_id": row["case_id"]}
        rows.append(entry | {"system": args.system, **origin, **found})
    return rows


if __name__ == "__main__":
    run_program(main)
