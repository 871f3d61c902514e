"""Encode and decode the other patients of the ladder: what a perfect generator of these latents would make of new patients.

Writes a folder a case beside --table, cut to the foreground and in the form of synthetic cases, and the table: case_id,
number.
"""

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.files import write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.subset import Subset, check_apart


def main(argv: list[str] | None = None) -> None:
    table = "table of the cases, beside their folders"
    args = program_parser(__doc__, "autoencoder", "train", "others", table=table).parse_args(argv)

    import pandas as pd

    from workflow_scripts.cohort.nifti import write_case
    from workflow_scripts.diffusion.generator import Sample
    from workflow_scripts.diffusion.synthesis import cut_to_foreground, foreground_of, grid_affine
    from workflow_scripts.study.dataset import parse_written
    from workflow_scripts.study.settings.autoencoder import LatentsStage
    from workflow_scripts.training.autoencoder_task import reconstruct
    from workflow_scripts.training.case_volumes import stack_channels
    from workflow_scripts.training.devices import autocast, default_device, describe, resolve_precision, use_threads
    from workflow_scripts.training.trained_autoencoder import load_autoencoder

    use_threads(args.threads)
    slices_per_batch = LatentsStage.read(args.config, "latents").slices_per_batch
    train, others = Subset.open(args.train, "train"), Subset.open(args.others, "others")
    check_apart(train, others)
    module, _, contract = load_autoencoder(args.autoencoder, train)
    device, precision = default_device(), contract["training"].get("precision", "auto")
    module.eval().requires_grad_(False).to(device)
    written, affine = parse_written(contract["written"], args.autoencoder), grid_affine(contract["grid"])
    log.info("%d other cases, on %s", len(others.case_ids), describe(device, resolve_precision(precision, device)))
    with track(len(others.case_ids), "reconstructing", "case") as bar:
        for case_id in others.case_ids:
            image, levels = others.store.image(case_id), others.store.levels(case_id)
            x = stack_channels(image, levels, contract["masks"])  # (M+R, D, H, W)
            with autocast(device, precision):
                decoded = reconstruct(module, x[None], slices_per_batch)
            sample = Sample.of(*(value[0].float().cpu().numpy() for value in decoded), contract["regions"])
            foreground = foreground_of(sample, written.background)
            made = cut_to_foreground(sample.image, sample.levels, foreground)
            write_case(args.table.parent / case_id, case_id, *made, affine, contract["modalities"], written)
            bar.update()
    write_tsv(args.table, pd.DataFrame({"case_id": others.case_ids, "number": range(len(others.case_ids))}))


if __name__ == "__main__":
    run_program(main)
