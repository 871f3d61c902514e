"""Measure on the validation cases what an autoencoder gives back.

--out: a row a case, plane, channel and metric; --picture: a quick look at the first case.
"""

from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.files import atomic, write_tsv
from workflow_scripts.cohort.subset import Subset, check_apart

SLICES_PER_BATCH = 32  # reconstructed at once


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(
        __doc__, "autoencoder", "train", "val", out="reconstruction.tsv", picture="reconstruction.png"
    )
    args = parser.parse_args(argv)

    from workflow_scripts.training.devices import default_device, use_threads
    from workflow_scripts.training.trained_autoencoder import load_autoencoder

    use_threads(args.threads)
    train, held_out = Subset.open(args.train, "train"), Subset.open(args.val, "val")
    check_apart(train, held_out)
    module, _, contract = load_autoencoder(args.autoencoder, train)
    module.eval().requires_grad_(False).to(default_device())
    table, picture = _measured(module, contract, held_out)
    write_tsv(args.out, table)
    _save_picture(picture, args.picture)


def _measured(module, contract: dict, held_out: Subset):
    """The table, and a picture of the first case."""
    import pandas as pd

    from workflow_scripts.evaluation.reconstruction import COLUMNS, as_released, mosaic, reconstruction_rows
    from workflow_scripts.training.autoencoder_task import reconstruct
    from workflow_scripts.training.devices import autocast, default_device

    rows, picture, names = [], None, (contract["modalities"], contract["regions"])
    for case_id in held_out.case_ids:
        x = _volume(held_out, case_id, contract["masks"])
        with autocast(default_device(), contract["training"].get("precision", "auto")):
            image, probabilities = (value[0] for value in reconstruct(module, x[None], SLICES_PER_BATCH))
        volumes = as_released(image, probabilities, x, contract)
        rows += reconstruction_rows(case_id, *volumes, *names)
        picture = mosaic(*volumes) if picture is None else picture
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for (metric, channel), value in table.groupby(["metric", "channel"], sort=False)["value"].mean().items():
        log.info("%d validation cases: %s of %s %.3f", len(held_out.case_ids), metric, channel, value)
    return table, picture


def _volume(held_out: Subset, case_id: str, masks):
    """Image and masks of a case, as the autoencoder takes them: (M+R, D, H, W)."""
    from workflow_scripts.training.case_volumes import stack_channels

    return stack_channels(held_out.store.image(case_id), held_out.store.levels(case_id), masks)


def _save_picture(picture, path: Path) -> None:
    """Write uint8 (height, width), grey, or (height, width, 3)."""
    from matplotlib.image import imsave

    with atomic(path) as temporary:
        imsave(temporary, picture, cmap="gray", vmin=0, vmax=255, metadata={"Software": None})


if __name__ == "__main__":
    run_program(main)
