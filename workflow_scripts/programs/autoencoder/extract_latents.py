"""Encode the train subset: posterior means, of slices stacked to volumes or of whole volumes, and their scale.

Writes to --out: latents.safetensors (case id -> (e, D, h, w) fp32) and latents.json (the autoencoder they belong to;
mean and standard deviation of each channel over the train subset).
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

    from workflow_scripts.study.settings.autoencoder import Latents
    from workflow_scripts.training.case_volumes import stack_channels
    from workflow_scripts.training.devices import default_device, describe, use_threads
    from workflow_scripts.training.model_files import contract_digest
    from workflow_scripts.training.trained_autoencoder import load_autoencoder

    use_threads(args.threads)
    slices_per_batch = Latents.read(args.config, "latents").slices_per_batch
    subset = Subset.open(args.train, "train")
    store, case_ids = subset.store, subset.case_ids
    module, _, contract = load_autoencoder(args.autoencoder, subset)
    device = default_device()
    module.eval().to(device)
    log.info("latents of %d cases, on %s", len(case_ids), describe(device, "32"))

    latents = {}
    with track(len(case_ids), "encoding", "case") as bar:
        for case_id in case_ids:
            x = stack_channels(store.image(case_id), store.levels(case_id), contract["regions"])  # (M+R, D, H, W)
            latents[case_id] = module.encode_volumes(x[None], slices_per_batch)[0]
            bar.update()
    stacked = torch.stack(list(latents.values())).double()  # (n, e, D, h, w)
    mean, std = stacked.mean(dim=(0, 2, 3, 4)), stacked.std(dim=(0, 2, 3, 4), correction=0)
    if not torch.isfinite(stacked).all() or not (std > 0).all():
        raise UserError(f"{args.autoencoder} gives latents that are constant or not finite: train it longer, or again")
    with atomic(args.out / "latents.safetensors") as temporary:
        save_file(latents, temporary)
    write_json(
        args.out / "latents.json",
        {
            "autoencoder_digest": contract_digest(args.autoencoder),
            "shape": contract["latent_shape"],
            "mean": mean.tolist(),
            "std": std.tolist(),
            "case_ids": case_ids,
            "n_real": subset.n_patients,
        },
    )
    log.info("latents of %d cases are in %s", len(case_ids), args.out)


if __name__ == "__main__":
    run_program(main)
