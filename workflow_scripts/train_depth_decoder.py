"""Fine-tune the decoder of a slice autoencoder along depth, with the encoder and its latents as they are.

Writes to --out: model.safetensors (averaged weights of the decoder), model.json, loss.csv; reconstruction.tsv, the
validation cases decoded slice by slice ("slice") and along depth ("depth"), from their latents as encoded and jittered;
cost.tsv, what either decoder costs; and reconstruction.png, a coronal look: real, slice by slice, along depth, the last
two with jitter. Only the train subset is read before the weights are final.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from workflow_scripts.base.cli import Folder, add_subsets, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import atomic, sha256_json, write_tsv
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.base.seeds import seed_of
from workflow_scripts.cohort.subset import Subset, check_apart

# The code that makes the weights; how they are measured afterwards does not change them.
TRAINED_BY = ("workflow_scripts.training.depth_decoder_task", "workflow_scripts.training.loop")
SPEC = ("levels", "kernel_size")


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--autoencoder", action=Folder, required=True, help="folder of train_autoencoder")
    parser.add_argument("--latents", action=Folder, required=True, help="folder of extract_latents")
    add_subsets(parser, "train", "val")
    parser.add_argument("--out", action=Folder, required=True, help="folder of the trained decoder")
    parser.add_argument("--state", type=Path, required=True, help="folder for what a stopped training resumes from")
    args = parser.parse_args(argv)

    import torch

    from workflow_scripts.models.build_autoencoder import build_autoencoder
    from workflow_scripts.models.depth_decoder import build_depth_decoder
    from workflow_scripts.training.case_volumes import CaseVolumes, common_grid
    from workflow_scripts.training.depth_decoder_task import DepthDecoderTask, check_depth_decoder
    from workflow_scripts.training.devices import default_device, use_threads
    from workflow_scripts.training.latents import read_latents
    from workflow_scripts.training.loop import train
    from workflow_scripts.training.losses import ReconstructionLoss
    from workflow_scripts.training.model_files import load_model, load_weights, save_model, weights_digest
    from workflow_scripts.training.settings import TrainSettings
    from workflow_scripts.training.slab_data import SlabData
    from workflow_scripts.training.state import StateFolder, run_digest

    use_threads(args.threads)
    config = dict(args.config)
    seed = config.pop("seed", 0)
    config = check_depth_decoder(config)
    settings = TrainSettings.from_config(config["training"], "depth_decoder.training")
    weights, contract = load_model(args.autoencoder)
    if contract["kind"] != "autoencoder":
        raise UserError(f"{args.autoencoder} holds a {contract['kind']}, not an autoencoder")
    subset, held_out = Subset.open(args.train, "train"), Subset.open(args.val, "val")
    check_apart(subset, held_out)
    case_ids = subset.case_ids
    if case_ids != sorted(contract["training_case_ids"]):
        raise UserError(
            f"{args.autoencoder} was not trained on the train subset of {subset.n_patients} patients: "
            "run `snakemake -R train_autoencoder`"
        )
    shared = common_grid(subset.store, case_ids)
    if (shared["modalities"], shared["grid"]) != (contract["modalities"], contract["grid"]):
        raise UserError(f"{args.autoencoder} was trained on another grid or other modalities than {args.train} holds")
    held_out.check_files()
    latents, _, std = read_latents(args.latents, args.autoencoder, contract)

    channels = len(contract["modalities"]), len(contract["regions"])
    autoencoder = build_autoencoder(contract["spec"], *channels, contract["grid"])
    load_weights(autoencoder, weights, args.autoencoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "depth decoder"))
        module = build_depth_decoder(config, autoencoder)
    if config["slice_layers"] == "fixed":
        module.fix_slice_layers()
    volumes = CaseVolumes(subset.store, case_ids, contract["regions"], settings.devices)
    positions = module.positions(contract["grid"]["size"][0])
    data = SlabData(volumes, latents, positions, config["slab_slices"], module.halo, seed)
    loss = ReconstructionLoss(contract["loss"] | {"kl": 0.0}, channels[0])
    task = DepthDecoderTask(module, data, loss, config["through_plane"], std, config["latent_noise"], settings, seed)
    title = f"depth decoder of {contract['name']}"
    log.info(
        "%s: %.2f M parameters, %.2f M of them along depth, %d training cases",
        *(title, _millions(module), _millions(module.mixers), len(case_ids)),
    )
    files = [
        subset.manifest,
        args.latents / "latents.safetensors",
        args.latents / "latents.json",
        args.autoencoder / "model.json",
    ]
    code = sha256_json([code_digest(module) for module in TRAINED_BY])
    digest = run_digest(config | {"seed": seed, "code": code}, TRAINED_BY[0], *files)
    with StateFolder(args.state, f"depth_decoder_{contract['name']}", digest) as state:
        trained = train(task, settings, state, title)["depth_decoder"]
        # the model too under the lock: a job that waits for it would write the same files at the same time
        args.out.mkdir(parents=True, exist_ok=True)
        with atomic(args.out / "loss.csv") as temporary:
            shutil.copyfile(state.folder / "loss.csv", temporary)
        load_weights(module, trained, args.state)
        decoders = {"slice": autoencoder, "depth": module}
        for decoder in decoders.values():
            decoder.eval().requires_grad_(False).to(default_device())
        spec = {key: config[key] for key in SPEC}
        how = {"latent_noise": config["latent_noise"], "seed": seed, "precision": settings.precision}
        measured, cost = _measured(decoders, held_out, contract, std, spec, how, args.out)
        for name, table in (("reconstruction", measured), ("cost", cost)):
            write_tsv(args.out / f"{name}.tsv", table.assign(n_real=subset.n_patients, autoencoder=contract["name"]))
        same = ("name", "modalities", "regions", "grid", "value_range", "latent_shape", "training_case_ids", "loss")
        save_model(
            args.out,
            trained,
            {key: contract[key] for key in same}
            | {
                "kind": "depth_decoder",
                "spec": spec,
                "autoencoder": contract["spec"],
                "autoencoder_weights_digest": weights_digest(weights),
                **{key: value for key, value in config.items() if key not in SPEC},
                "seed": seed,
                "config_digest": sha256_json(config | {"seed": seed}),
                "code_digest": code,
            },
        )
    log.info("the depth decoder is in %s", args.out)


def _millions(module) -> float:
    return sum(weight.numel() for weight in module.parameters()) / 1e6


def _measured(decoders, held_out, contract, std, spec: dict, how: dict, out: Path):
    """The tables reconstruction and cost of both decoders, on the validation cases; writes reconstruction.png.

    std: of the latents; how: latent_noise, seed and precision.
    """
    import pandas as pd
    from matplotlib.image import imsave

    from workflow_scripts.evaluation import decoders as comparison
    from workflow_scripts.training.case_volumes import stack_channels
    from workflow_scripts.training.devices import autocast, default_device

    precision, store, case_ids = how["precision"], held_out.store, held_out.case_ids
    rows, names = [], (contract["modalities"], contract["regions"])
    for number, case_id in enumerate(case_ids):
        x = stack_channels(store.image(case_id), store.levels(case_id), contract["regions"])  # (M+R, D, H, W)
        with autocast(default_device(), precision):
            encoded = decoders["slice"].encode_volumes(x[None], comparison.SLICES_PER_BATCH)[0]  # (e, D, h, w)
        pictures = [x[: len(names[0])]]
        for level in dict.fromkeys((0.0, float(how["latent_noise"]))):
            z = comparison.jittered(encoded, std, level, how["seed"], "jitter", case_id)
            made = {name: comparison.decode(decoder, z, precision) for name, decoder in decoders.items()}
            rows += comparison.decoder_rows(case_id, made, x, level, *names)
            pictures += [image for image, _ in made.values()]
        if number == 0:
            with atomic(out / "reconstruction.png") as temporary:
                picture = comparison.coronal_strip(pictures, x[len(names[0])] > 0)
                imsave(temporary, picture, cmap="gray", vmin=0, vmax=255, metadata={"Software": None})
            cost = pd.DataFrame(comparison.cost_rows(decoders, encoded, contract, spec, precision))
    table = pd.DataFrame(rows, columns=list(comparison.COLUMNS))
    means = table.groupby(["latent_noise", "metric", "plane", "decoder"], sort=False)["value"].mean().unstack()
    for (level, metric, plane), value in means.iterrows():
        log.info(
            "%d validation cases, latent noise %g: %s (%s) slice by slice %.4f, along depth %.4f",
            *(len(case_ids), level, metric, plane, value["slice"], value["depth"]),
        )
    return table, cost


if __name__ == "__main__":
    run_program(main)
