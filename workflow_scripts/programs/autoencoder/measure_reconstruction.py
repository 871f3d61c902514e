"""Measure on the validation cases what an autoencoder gives back, or what its two decoders do.

Without --depth-decoder: --out, a row a case, plane, channel and metric; --picture, a quick look at the first case.
With it: the same for the cases decoded slice by slice ("slice") and along depth ("depth"), from their latents as encoded
and jittered; --cost, what either decoder costs; and a coronal look: real, slice by slice, along depth, the last two with
jitter.
"""

from pathlib import Path

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import atomic, read_json, write_tsv
from workflow_scripts.cohort.subset import Subset, check_apart

SLICES_PER_BATCH = 32  # reconstructed at once


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(
        __doc__, "autoencoder", "train", "val", out="reconstruction.tsv", picture="reconstruction.png"
    )
    parser.add_argument("--depth-decoder", action=Folder, help="folder of train_depth_decoder")
    parser.add_argument("--latents", action=Folder, help="folder of extract_latents, with a depth decoder")
    parser.add_argument("--cost", type=Path, help="cost.tsv, with a depth decoder")
    args = parser.parse_args(argv)
    if len({args.depth_decoder is None, args.latents is None, args.cost is None}) > 1:
        raise UserError("--depth-decoder, --latents and --cost go together")

    from workflow_scripts.training.devices import default_device, use_threads
    from workflow_scripts.training.trained_autoencoder import load_autoencoder

    use_threads(args.threads)
    train, held_out = Subset.open(args.train, "train"), Subset.open(args.val, "val")
    check_apart(train, held_out)
    module, weights, contract = load_autoencoder(args.autoencoder, train)
    module.eval().requires_grad_(False).to(default_device())
    if args.depth_decoder is None:
        table, picture = _measured(module, contract, held_out)
    else:
        table, picture, cost = _compared(args, module, weights, contract, held_out)
        table, cost = (each.assign(n_real=train.n_patients, autoencoder=contract["name"]) for each in (table, cost))
        write_tsv(args.cost, cost)
    write_tsv(args.out, table)
    _save_picture(picture, args.picture)


def _measured(module, contract: dict, held_out: Subset):
    """The table of the autoencoder alone, and a picture of the first case."""
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


def _compared(args, autoencoder, weights: dict, contract: dict, held_out: Subset):
    """The table of both decoders, a picture of the first case, and the table of what they cost."""
    import pandas as pd
    import torch

    from workflow_scripts.evaluation import decoders as comparison
    from workflow_scripts.evaluation.reconstruction import as_released
    from workflow_scripts.training.depth_decoder_files import load_depth_decoder
    from workflow_scripts.training.devices import autocast, default_device
    from workflow_scripts.training.model_files import CONTRACT

    module = load_depth_decoder(args.depth_decoder, autoencoder, weights)
    decoders = {"slice": autoencoder, "depth": module.eval().requires_grad_(False).to(default_device())}
    own = read_json(args.depth_decoder / CONTRACT)
    std = torch.tensor(read_json(args.latents / "latents.json")["std"], dtype=torch.float32)
    precision = own["training"].get("precision", "auto")
    rows, picture = [], None
    for case_id in held_out.case_ids:
        x = _volume(held_out, case_id, contract["masks"])
        with autocast(default_device(), precision):
            encoded = autoencoder.encode_volumes(x[None], comparison.SLICES_PER_BATCH)[0]  # (e, D, h, w)
        images = [x[: len(contract["modalities"])]]
        for level in dict.fromkeys((0.0, float(own["latent_noise"]))):
            z = comparison.jittered(encoded, std, level, own["seed"], "jitter", case_id)
            made = {name: comparison.decode(decoder, z, precision) for name, decoder in decoders.items()}
            rows += comparison.decoder_rows(case_id, made, x, level, contract)
            images += [as_released(*pair, x, contract)[0] for pair in made.values()]
        if picture is None:
            picture = comparison.coronal_strip(images, x[-len(contract["regions"])] > 0)
            cost = pd.DataFrame(comparison.cost_rows(decoders, encoded, contract, own["spec"], precision))
    table = pd.DataFrame(rows, columns=list(comparison.COLUMNS))
    table.insert(1, "patient_id", [held_out.rows[case_id]["patient_id"] for case_id in table["case_id"]])
    means = table.groupby(["latent_noise", "metric", "plane", "decoder"], sort=False)["value"].mean().unstack()
    for (level, metric, plane), value in means.iterrows():
        log.info(
            "%d validation cases, latent noise %g: %s (%s) slice by slice %.4f, along depth %.4f",
            *(len(held_out.case_ids), level, metric, plane, value["slice"], value["depth"]),
        )
    return table, picture, cost


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
