"""Encode the train subset: posterior means, of slices stacked to volumes or of whole volumes, and their scale.

Writes to --out: latents.safetensors (case id -> (e, D, h, w) fp32; where `variants` are asked for, also those of the
case's changed copies, with the copies' own measured conditions) and latents.json (the autoencoder they belong to; mean and
standard deviation of each channel over the train subset).
"""

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import atomic, write_json
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.subset import Subset


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "autoencoder", "train")
    parser.add_argument("--out", action=Folder, required=True, help="folder of the latents")
    args = parser.parse_args(argv)

    import torch
    from safetensors.torch import save_file

    from workflow_scripts.study.settings.autoencoder import LatentsStage
    from workflow_scripts.training.case_volumes import stack_channels
    from workflow_scripts.training.devices import default_device, describe, use_threads
    from workflow_scripts.training.latents import CHANGES, CONDITIONS, LATENTS
    from workflow_scripts.training.model_files import contract_digest
    from workflow_scripts.training.trained_autoencoder import load_autoencoder
    from workflow_scripts.training.variants import variants_of

    use_threads(args.threads)
    settings = LatentsStage.read(args.config, "latents")
    subset = Subset.open(args.train, "train")
    store, case_ids = subset.store, subset.case_ids
    module, _, contract = load_autoencoder(args.autoencoder, subset)
    device = default_device()
    module.eval().to(device)
    log.info("latents of %d cases, on %s", len(case_ids), describe(device, "32"))

    def encode(image, levels) -> torch.Tensor:
        x = stack_channels(image, levels, contract["masks"])  # (M+R, D, H, W)
        return module.encode_volumes(x[None], settings.slices_per_batch)[0]

    latents, copies = {}, {}
    with track(len(case_ids), "encoding", "case") as bar:
        for case_id in case_ids:
            latents[case_id] = encode(store.image(case_id), store.levels(case_id))
            made = list(variants_of(store, case_id, contract["regions"], settings))
            if made:
                copies[LATENTS + case_id] = torch.stack([encode(one.image, one.levels) for one in made])
                copies[CONDITIONS + case_id] = torch.stack([one.conditions for one in made])
                copies[CHANGES + case_id] = torch.stack([one.label for one in made])
            bar.update()
    stacked = torch.stack(list(latents.values())).double()  # (n, e, D, h, w)
    mean, std = stacked.mean(dim=(0, 2, 3, 4)), stacked.std(dim=(0, 2, 3, 4), correction=0)
    if not torch.isfinite(stacked).all() or not (std > 0).all():
        raise UserError(f"{args.autoencoder} gives latents that are constant or not finite: train it longer, or again")
    with atomic(args.out / "latents.safetensors") as temporary:
        save_file(latents | copies, temporary)
    write_json(
        args.out / "latents.json",
        {
            "autoencoder_digest": contract_digest(args.autoencoder),
            "shape": contract["latent_shape"],
            "mean": mean.tolist(),
            "std": std.tolist(),
            "positional_mean": settings.positional_mean,
            "case_ids": case_ids,
            "n_real": subset.n_patients,
        },
    )
    log.info("latents of %d cases are in %s", len(case_ids), args.out)


if __name__ == "__main__":
    run_program(main)
