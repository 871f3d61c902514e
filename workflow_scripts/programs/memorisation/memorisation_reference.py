"""Make the training set that synthetic cases are compared with, and measure how near its own patients are to each other.

Reads the train subset alone, so that the release gate, which refuses copies of training cases, knows no other case.
Config (--config): resolution_mm and max_shift_mm, as in config/README.md.
"""

from dataclasses import replace

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "train")
    parser.add_argument(
        "--out", action=Folder, required=True, help="folder of reference.safetensors and reference.json"
    )
    parser.add_argument(
        "--compared",
        choices=("cases", "tumours"),
        default="cases",
        help="whole cases (the default), or tumours alone, for cases made in training patients on purpose",
    )
    args = parser.parse_args(argv)

    import numpy as np

    from workflow_scripts.base.progress import track
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.memorisation.likeness import blocks_of, coarse_image, coarse_mask
    from workflow_scripts.memorisation.reference import Reference, compare_within, save_reference, view
    from workflow_scripts.study.settings.memorisation import Memorisation

    settings = Memorisation.read(args.config, "memorisation")
    subset = Subset.open(args.train, "train")
    case_ids, store = subset.case_ids, subset.store
    if not case_ids:
        raise UserError(f"{args.train} lists no case to compare with")
    first = store.meta(case_ids[0])
    blocks = blocks_of(first["spacing_mm"], settings.resolution_mm)
    edges = [edge * count for edge, count in zip(first["spacing_mm"], blocks, strict=True)]
    sigma = [settings.resolution_mm / edge for edge in edges]
    description = {"compared": args.compared} | {key: first[key] for key in ("modalities", "size", "spacing_mm")}
    images, masks, patients = [], [], []
    with track(len(case_ids), "memorisation reference", "case") as bar:
        for case_id in case_ids:
            meta = store.meta(case_id)
            if any(meta[key] != first[key] for key in ("modalities", "size", "spacing_mm")):
                raise UserError(
                    f"case {case_id} lies on another grid than {case_ids[0]}: run `snakemake -R preprocess`"
                )
            image, levels = view(description, store.image(case_id), store.levels(case_id))
            images.append(coarse_image(image, blocks, sigma).astype(np.float16))
            masks.append(coarse_mask(levels, blocks).astype(np.float16))
            patients.append(subset.rows[case_id]["patient_id"])
            bar.update()
    description |= {"blocks": list(blocks), "sigma": sigma, "max_shift_mm": settings.max_shift_mm}
    stacked = (np.stack(arrays).astype(np.float32) for arrays in (images, masks))
    reference = Reference(case_ids, patients, *stacked, description)
    rows = compare_within(reference)
    save_reference(args.out, replace(reference, description=description | {"real": rows}))
    log.info(
        "%d training cases on a grid of %s mm; the nearest two patients have similarity %.3f",
        *(len(case_ids), " x ".join(f"{edge:g}" for edge in reference.coarse_spacing_mm)),
        max(row["similarity"] for row in rows),
    )


if __name__ == "__main__":
    run_program(main)
